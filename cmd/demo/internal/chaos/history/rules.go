package history

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// rules are what a history is judged by.
type rules struct {
	trust    int64
	patience int64 // a longer stall may delay an answer past the health timeout
	faults   []*plan.Fault
	stalls   []stall
	closed   int64 // when the processes began to close what they have; never while they do not
}

// stall is a time in which a process, or the server (0), got no further because the machine was busy.
type stall struct {
	process  int
	from, to int64
}

// delays reports whether a stall may have cost a hold its session.
func (r *rules) delays(s stall, h *Hold) bool {
	return (s.process == 0 || s.process == h.Process) && s.to-s.from > r.patience
}

// stalled reports whether a stall was long enough, and at the right time, to explain a loss.
func (r *rules) stalled(h *Hold, told int64) bool {
	return slices.ContainsFunc(r.stalls, func(s stall) bool {
		return r.delays(s, h) && s.from < told && s.to > told-r.trust
	})
}

// unplanned returns the stalls that no fault explains: their number, and the longest.
func (r *rules) unplanned() (n int, longest time.Duration) {
	for _, s := range r.stalls {
		if s.to-s.from <= r.patience || slices.ContainsFunc(r.faults, func(f *plan.Fault) bool {
			return f.Kind.Class() != plan.Harmless && f.Begin > 0 && s.from <= r.reach(f) && s.to >= f.Begin
		}) {
			continue
		}
		n++
		longest = max(longest, time.Duration(s.to-s.from))
	}
	return n, longest
}

// slack is the delay that the scheduler may add to a notification: few processors run many processes here.
const slack = int64(500 * time.Millisecond)

func hits(f *plan.Fault, process int) bool { return f.Target == 0 || f.Target == process }

// reach is the last moment at which a fault explains what happens.
func (r *rules) reach(f *plan.Fault) int64 {
	if f.Healed == 0 {
		return never
	}
	return f.Healed + r.trust + slack
}

// endedByServer returns the fault that made the server end the hold's session by the given time, or nil.
func (r *rules) endedByServer(h *Hold, by int64) *plan.Fault {
	if !h.lost() {
		return nil
	}
	for _, f := range r.faults {
		if f.Kind.Class() == plan.ServerEnds && hits(f, h.Process) && f.Begin > 0 && f.Begin <= by && r.reach(f) >= h.Granted {
			return f
		}
	}
	return nil
}

// endFrom is the earliest moment at which the hold may have ended. Where the server ended its session that is before its
// holder stopped believing.
func (r *rules) endFrom(h *Hold) int64 {
	from := h.believedUntil()
	if f := r.endedByServer(h, from); f != nil {
		from = min(from, max(f.Begin, h.Asked))
	}
	return max(from, r.keptUntil(h))
}

// keptUntil is the latest moment until which the key stayed locked for a hold with a minimum, or of Once, although it was over: until
// then, or until something may have ended the session that nobody heard of, since nobody held any more. 0 if the hold has none.
func (r *rules) keptUntil(h *Hold) int64 {
	if h.Keep == 0 || h.lost() {
		return 0
	}
	until := min(h.Keep, r.closed)
	for _, f := range r.faults {
		if f.Kind.Class() != plan.Harmless && hits(f, h.Process) && f.Begin > 0 && r.reach(f) >= h.Granted {
			until = min(until, max(f.Begin, h.Granted))
		}
	}
	for _, s := range r.stalls {
		if r.delays(s, h) && s.to >= h.Granted {
			until = min(until, max(s.from, h.Granted))
		}
	}
	return until
}

// explain returns the last fault that may have caused a loss, or nil.
func (r *rules) explain(h *Hold, told int64, cause Cause) *plan.Fault {
	for _, f := range slices.Backward(r.faults) {
		if f.Begin > 0 && f.Begin <= told && told <= r.reach(f) && hits(f, h.Process) && mayCause(f.Kind, cause) {
			return f
		}
	}
	return nil
}

func mayCause(kind plan.Kind, cause Cause) bool {
	class := kind.Class()
	switch cause {
	case ByServer, ByConnection, ByRecovery, ByDoubt:
		return class == plan.ServerEnds || class == plan.Silence
	case BySilence:
		// A whole server that goes down may take longer to close all connections than an answer may take.
		return class == plan.Silence || class == plan.ServerEnds && kind != plan.Terminate
	case ByKeeper:
		return class == plan.KeeperFails
	default: // another backend, a close or an unknown cause: no fault leads to it
		return false
	}
}

// toldAfter is how long a loss took to be told: since the fault began; for a silence since it was in place; for a frozen
// worker since it was woken.
func toldAfter(f *plan.Fault, told int64) time.Duration {
	from := f.Begin
	switch {
	case f.Kind == plan.FreezeWorker && f.End > 0:
		from = f.End
	case f.Kind.Class() == plan.Silence && f.Active > 0:
		from = f.Active
	}
	return time.Duration(max(0, told-from))
}

// lateLook returns a silence in which the hold was believed in for longer than the trust, or nil. It allows no slack: the
// last answered statement was sent before the fault was in place.
func (r *rules) lateLook(h *Hold) *plan.Fault {
	if h.Use == plan.Tx || h.Use == plan.SharedTx { // it is not by trust that they believe
		return nil
	}
	for _, f := range r.faults {
		deadline := f.Active + r.trust
		if f.Kind.Class() != plan.Silence || !hits(f, h.Process) || h.Process == 0 || f.Active == 0 || f.End < deadline ||
			h.Looked <= deadline {
			continue
		}
		// A hold that was granted during the fault was passed on within its process, on a session that is silent.
		if h.Granted < f.Active || h.Granted < f.End && h.Looked < f.End {
			return f
		}
	}
	return nil
}

// conflicts returns those of the active holds that must not be there when another one is granted: all of another kind, and those that
// are too many. Of these it takes first whose session the server ended.
func (r *rules) conflicts(active []*Hold, h *Hold) (against []*Hold) {
	var with []*Hold
	for _, before := range active {
		switch {
		case before.Room != h.Room:
			against = append(against, before)
		case r.endedByServer(before, h.Granted) != nil:
			with = slices.Insert(with, 0, before)
		default:
			with = append(with, before)
		}
	}
	return append(against, with[:max(0, len(with)+1-h.Room)]...)
}
