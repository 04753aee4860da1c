package oracle

// Seen is what one worker process knows about one key.
type Seen struct {
	Grants    uint64 `json:"g"`           // read-modify-writes whose write the server confirmed
	Uncertain uint64 `json:"u,omitempty"` // writes that were sent and whose answer never came
	Overlaps  uint64 `json:"o,omitempty"` // holders that met another one, and neither's lock was lost
	Changed   uint64 `json:"c,omitempty"` // readers that saw the counter change, and whose lock was not lost
	Exposed   uint64 `json:"x,omitempty"` // holders that wrote, and then heard that their lock was or may have been lost
}

// Verdict is what the counters and the overlap detector say together.
type Verdict struct {
	Grants      uint64 // read-modify-writes that the workers saw confirmed
	Resolved    uint64 // writes in doubt that turned out to have arrived
	Counted     uint64 // the sum of the counters
	LostUpdates uint64 // increments that another holder's write swallowed
	Torn        uint64 // writes that were stale on arrival
	Overlaps    uint64 // holders that met another live holder in the shared table
	Changed     uint64 // readers whose counter changed while they held
	Misfits     uint64 // writes that are missing or that nobody made: the proof itself is broken
	Violations  uint64 // each overlap once, by whichever of the above saw most of them on its key
	Explained   uint64 // of Violations, those on keys where a holder wrote while its lock was being lost
	BadKeys     int
	Keys        int
	Complete    bool // every worker process has told its grants
}

// Judge compares the database's rows with what each worker process saw, key by key. Where one ended without telling it
// (nil), what the server counted by itself can still show a violation, but not that there was none.
func Judge(rows []Row, workers [][]Seen) Verdict {
	v := Verdict{Keys: len(rows), Complete: true}
	for _, keys := range workers {
		v.Complete = v.Complete && keys != nil
	}
	for key, row := range rows {
		var seen Seen
		if v.Complete {
			for _, keys := range workers {
				seen.Grants += keys[key].Grants
				seen.Uncertain += keys[key].Uncertain
				seen.Overlaps += keys[key].Overlaps
				seen.Changed += keys[key].Changed
				seen.Exposed += keys[key].Exposed
			}
		} else {
			seen.Uncertain = row.Writes // all that arrived count
		}
		v.add(row, seen)
	}
	if !v.Complete {
		v.Resolved, v.Explained = 0, 0
	}
	return v
}

func (v *Verdict) add(row Row, seen Seen) {
	v.Grants += seen.Grants
	v.Counted += row.N
	v.Torn += row.Torn
	v.Overlaps += seen.Overlaps
	v.Changed += seen.Changed

	// A write in doubt may have arrived or not; the server's own count of writes says how many did.
	arrived := min(max(row.Writes, seen.Grants), seen.Grants+seen.Uncertain)
	misfit := apart(row.Writes, arrived)
	v.Resolved += arrived - seen.Grants
	v.Misfits += misfit
	swallowed := apart(arrived, row.N)
	v.LostUpdates += swallowed
	if bad := max(swallowed, row.Torn, seen.Overlaps, seen.Changed, misfit); bad > 0 {
		v.Violations += bad
		// One late write makes one write stale, its own or the next one's, but may swallow several. Any number of readers
		// may see it, and one whose answer never came may be the latest of all.
		late := seen.Exposed + seen.Uncertain
		if row.Torn <= seen.Exposed && seen.Overlaps == 0 && misfit == 0 && (seen.Changed == 0 || late > 0) {
			v.Explained += bad
		}
		v.BadKeys++
	}
}

func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }
