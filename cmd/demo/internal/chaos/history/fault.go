package history

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Fault is a step of the schedule as it was carried out.
type Fault struct {
	plan.Step
	Begin  int64 // before anything was done
	Active int64 // when it was in place
	End    int64 // before it was taken back
	Healed int64 // when everything worked again
	Hit    int   // holds that there were when it began
	Note   string
	Failed string // why it could not be carried out
}

func (f *Fault) class() plan.Class { return plan.ClassOf(f.Kind) }

// hits reports whether a fault concerns a process.
func (f *Fault) hits(process int) bool { return f.Target == 0 || f.Target == process }

// rules are what a history is judged by.
type rules struct {
	trust    int64
	patience int64 // a stall that lasts longer may cost an answer its time
	faults   []*Fault
	stalls   []stall
}

// stall is a time in which a process, or the server for all that anybody could see (0), did not get on, although no fault
// had been made: the machine was busy elsewhere.
type stall struct {
	process  int
	from, to int64
}

// stalled reports whether a stall was long enough, and at the right time, for a loss.
func (r *rules) stalled(h *Hold, told int64) bool {
	for _, s := range r.stalls {
		if (s.process == 0 || s.process == h.Process) && s.to-s.from > r.patience && s.from < told && s.to > told-r.trust {
			return true
		}
	}
	return false
}

// slack is what scheduling may add to a time that is told: two processors run many processes here.
const slack = int64(500 * time.Millisecond)

// endedByServer is the fault that made the server end the hold's session at or before the given time, nil where none did.
func (r *rules) endedByServer(h *Hold, by int64) *Fault {
	if !h.lost() {
		return nil
	}
	for _, f := range r.faults {
		if f.class() == plan.ServerEnds && f.hits(h.Process) && f.Begin > 0 && f.Begin <= by && r.reach(f) >= h.Granted {
			return f
		}
	}
	return nil
}

// reach is how long a fault may explain what happens.
func (r *rules) reach(f *Fault) int64 {
	if f.Healed == 0 {
		return never
	}
	return f.Healed + r.trust + slack
}

// explain finds the fault that a loss comes from, nil where none explains it.
func (r *rules) explain(h *Hold, told int64, cause event.Cause) *Fault {
	for _, f := range slices.Backward(r.faults) {
		if f.Begin == 0 || f.Begin > told || told > r.reach(f) || !f.hits(h.Process) {
			continue
		}
		if mayCause(f.Kind, cause) {
			return f
		}
	}
	return nil
}

func mayCause(kind plan.Kind, cause event.Cause) bool {
	class := plan.ClassOf(kind)
	switch cause {
	case event.ByServer, event.ByConnection, event.ByRecovery:
		return class == plan.ServerEnds || class == plan.Silence
	case event.BySilence:
		return class == plan.Silence || goesDown(kind)
	case event.ByDoubt:
		return class == plan.ServerEnds || class == plan.Silence
	case event.ByKeeper:
		return class == plan.KeeperFails
	default: // another backend, a close, or a cause that nobody knows: nothing here may lead to it
		return false
	}
}

// goesDown: the whole server ends, which takes it longer than an answer may take on a busy machine: it need not have
// closed every connection by then.
func goesDown(kind plan.Kind) bool {
	return slices.Contains([]plan.Kind{plan.FastRestart, plan.ImmediateRestart, plan.Promote, plan.KillBackend}, kind)
}

// toldAfter is how long it took to tell of a loss: from the fault's beginning, or from its being in place where the
// client stops hearing; a frozen worker's time begins when it wakes.
func (f *Fault) toldAfter(told int64) time.Duration {
	from := f.Begin
	switch {
	case f.Kind == plan.FreezeWorker && f.End > 0:
		from = f.End
	case f.class() == plan.Silence && f.Active > 0:
		from = f.Active
	}
	return time.Duration(max(0, told-from))
}

// lateLook is a silence in which the hold was believed in for longer than the trust lasts, nil where there is none. The
// last answered statement was sent before the fault was in place, so no slack is due.
func (r *rules) lateLook(h *Hold) *Fault {
	for _, f := range r.faults {
		if f.class() != plan.Silence || !f.hits(h.Process) || h.Process == 0 || f.Active == 0 || f.End == 0 {
			continue
		}
		deadline := f.Active + r.trust
		if f.End >= deadline && h.Granted < f.Active && h.Looked > deadline {
			return f
		}
		if f.End >= deadline && h.Granted >= f.Active && h.Granted < f.End && h.Looked > deadline && h.Looked < f.End {
			return f // handed on within the process, on a session that is silent
		}
	}
	return nil
}

// countStalls counts those stalls that no fault of ours made.
func (b *Book) countStalls() {
	for _, s := range b.rules.stalls {
		ours := false
		for _, f := range b.rules.faults {
			class := f.class()
			ours = ours || class != plan.Harmless && f.Begin > 0 && s.from <= b.rules.reach(f) && s.to >= f.Begin
		}
		if !ours && s.to-s.from > b.rules.patience {
			b.verdict.Stalls++
			b.verdict.LongestStall = max(b.verdict.LongestStall, time.Duration(s.to-s.from))
		}
	}
}
