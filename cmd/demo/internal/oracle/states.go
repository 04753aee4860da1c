package oracle

// Stage is how far a caller is with a key.
type Stage int

// The stages of an acquisition: from the request to its answer, and from the grant to the end of the release.
const (
	Waits Stage = iota
	Writes
	Reads
	stages
)

// Begin counts a caller that enters a stage.
func (s *Slots) Begin(key int, stage Stage) { s.slots[key].stages[stage].Add(1) }

// End counts it out again. A process that was killed never does.
func (s *Slots) End(key int, stage Stage) { s.slots[key].stages[stage].Add(-1) }

// States is how many keys are in each state at one moment, over all processes. Each key counts once.
type States struct {
	Contended int `json:"contended"` // held, and others wait
	Held      int `json:"held"`      // by a writer, and nobody waits
	Shared    int `json:"shared"`    // by readers, and nobody waits
	Handover  int `json:"handover"`  // waited for and not held: on the way to the next holder
	Free      int `json:"free"`
}

// States looks at all keys, one after the other, while the processes work.
func (s *Slots) States() States {
	var all States
	for i := range s.slots {
		at := &s.slots[i].stages
		waited, written, read := at[Waits].Load() > 0, at[Writes].Load() > 0, at[Reads].Load() > 0
		switch {
		case (written || read) && waited:
			all.Contended++
		case written:
			all.Held++
		case read:
			all.Shared++
		case waited:
			all.Handover++
		default:
			all.Free++
		}
	}
	return all
}
