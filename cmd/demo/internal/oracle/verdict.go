package oracle

import "github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"

// Verdict is what the counters and the overlap detector say together.
type Verdict struct {
	Grants      uint64 // read-modify-writes that the workers saw confirmed
	Resolved    uint64 // writes in doubt that turned out to have arrived
	Counted     uint64 // the sum of the counters
	LostUpdates uint64 // increments that another holder's write swallowed
	Torn        uint64 // writes that were stale on arrival
	Overlaps    uint64 // holders that met another live holder in the shared table
	Misfits     uint64 // writes that are missing or that nobody made: the proof itself is broken
	Violations  uint64 // each overlap once, by whichever of the above saw most of them on its key
	Explained   uint64 // of Violations, those on keys where a holder wrote while its lock was being lost
	BadKeys     int
	Keys        int
	Complete    bool // every worker process has told its grants
}

// Judge compares the database's rows with what each worker process reported, key by key.
func Judge(rows []Row, workers [][]wire.KeyCount) Verdict {
	v := Verdict{Keys: len(rows), Complete: true}
	for key, row := range rows {
		var seen wire.KeyCount
		for _, counts := range workers {
			if key < len(counts) {
				seen.Grants += counts[key].Grants
				seen.Uncertain += counts[key].Uncertain
				seen.Overlaps += counts[key].Overlaps
				seen.Exposed += counts[key].Exposed
			}
		}
		v.Grants += seen.Grants
		v.Counted += row.N
		v.Torn += row.Torn
		v.Overlaps += seen.Overlaps

		// A write in doubt may have arrived or not; the server's own count of writes says how many did.
		var resolved, misfit uint64
		switch {
		case row.Writes < seen.Grants:
			misfit = seen.Grants - row.Writes
		case row.Writes > seen.Grants+seen.Uncertain:
			resolved = seen.Uncertain
			misfit = row.Writes - seen.Grants - seen.Uncertain
		default:
			resolved = row.Writes - seen.Grants
		}
		v.Resolved += resolved
		v.Misfits += misfit

		expected := seen.Grants + resolved
		swallowed := max(expected, row.N) - min(expected, row.N)
		v.LostUpdates += swallowed
		if bad := max(swallowed, row.Torn, seen.Overlaps, misfit); bad > 0 {
			v.Violations += bad
			// One late write makes one write stale, its own or the next one's, but may swallow several.
			if row.Torn <= seen.Exposed && seen.Overlaps == 0 && misfit == 0 {
				v.Explained += bad
			}
			v.BadKeys++
		}
	}
	return v
}

// JudgeServerOnly is the verdict where a worker process ended without telling its grants: what the server counted by
// itself can still show a violation, but not that there was none.
func JudgeServerOnly(rows []Row) Verdict {
	v := Verdict{Keys: len(rows)}
	for _, row := range rows {
		v.Counted += row.N
		v.Torn += row.Torn
		swallowed := max(row.Writes, row.N) - min(row.Writes, row.N)
		v.LostUpdates += swallowed
		if bad := max(swallowed, row.Torn); bad > 0 {
			v.Violations += bad
			v.BadKeys++
		}
	}
	return v
}
