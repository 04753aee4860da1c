// Package history checks the recorded history of a chaos run.
//
// A hold is believed in from its grant to the call of its release, or to the last look (lock.Err) that said "held". Two
// holds of one key that are believed in at the same time overlap. An overlap is excused only if a fault made the server
// end the earlier hold's session, whose holder was then told of the loss, and for no longer than the trust. A silence (a
// partition, a freeze of either side) excuses nothing.
//
// Porcupine checks the same history with a model of a lock for each key. A grant takes effect between the call and the
// return of the acquisition. A hold ends between call and return of its release, or between the last look that said "held"
// and the one that said "lost"; if the server ended its session, at any time from that fault on. An operation of unknown
// outcome may have happened at any later time. An acquisition that may or may not have happened is left out: it makes no
// history illegal that is legal without it.
//
// # Kinds of locks
//
// Each hold says for how many holders its key has room: one, n who have a slot each, or all who share it. It conflicts with holds
// of another kind, and with those of its own that are too many. A set of keys is one hold of each of them, which are granted
// together. A hold of a transaction's lock is believed in until the last of its statements that succeeded was sent, or to its commit. A
// leader is a holder from the beginning of its function to the end of that, or to the end of its context if it resigns. What
// happens to a transaction's own session is no loss, since the library promises nothing about it.
//
// A minimum hold keeps its key locked until its time is over, although its holder has released it and hears of nothing. So the key must not
// be granted before, but after a fault or a stall that may have ended the session. With Once each key and period has a
// lock, which stays for ever.
//
// # Windows
//
// Two steps keep the search short. They change no verdict, which a test tries on random histories. If an acquisition is
// called before all holds that were granted earlier may have ended, and returns after that, its call is moved up to that
// moment: if it took effect before, either too many would hold at once, or it would do as well later. And a key's history is
// cut where all holds so far may have ended before the next grant: the window before ends free, the next begins free.
package history

import (
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Book takes the records of all processes and checks them as they come, so that a long run needs no more memory than a
// short one. Its methods may be called from any goroutine.
type Book struct {
	mu      sync.Mutex
	rules   rules
	keys    int
	locks   map[lock]*lockBook
	open    map[uint64]*Hold // requested, and not over
	start   int64
	verdict Verdict
}

// lockBook is what is known of one lock and not checked yet.
type lockBook struct {
	done    []*Hold // over
	checked int64   // the last grant that has been checked
	active  []*Hold // checked, and still believed in, or kept, at that grant
	zombies []*Hold // their write may have come after their end
}

// New begins a book.
func New(p *plan.Plan) *Book {
	return &Book{rules: rules{trust: int64(p.Trust()), patience: int64(p.Timeout / 2), closed: never}, keys: p.Keys + plan.SlotKeys,
		locks: make(map[lock]*lockBook), open: make(map[uint64]*Hold), verdict: newVerdict(p)}
}

// Start sets the time that reported times count from.
func (b *Book) Start(at int64) { b.Change(func() { b.start = at }) }

// Close says when the processes began to close what they have.
func (b *Book) Close(at int64) { b.Change(func() { b.rules.closed = at }) }

// Begin adds a fault before it is made.
func (b *Book) Begin(f *plan.Fault) { b.Change(func() { b.rules.faults = append(b.rules.faults, f) }) }

// Change calls change, which may change faults of the book.
func (b *Book) Change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// Progress is the state of the load at one moment.
type Progress struct {
	Operations, Losses, Overlaps, Violations, Waiting, Holding int

	Faults int // that were begun
	Now    plan.Fault
}

// Progress returns the state of the load. Now is the zero fault if there is none.
func (b *Book) Progress() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &b.verdict
	p := Progress{Operations: v.Operations.All, Losses: len(v.LossList), Overlaps: len(v.OverlapList), Violations: v.Violations,
		Faults: len(b.rules.faults), Holding: b.holders(0)}
	p.Waiting = len(b.open) - p.Holding
	if p.Faults > 0 && b.rules.faults[p.Faults-1].Healed == 0 {
		p.Now = *b.rules.faults[p.Faults-1]
	}
	return p
}

// Holders returns how many holds a process has now, as far as is recorded; for 0, how many there are in all.
func (b *Book) Holders(process int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holders(process)
}

func (b *Book) holders(process int) (n int) {
	for _, h := range b.open {
		if h.Granted > 0 && (process == 0 || h.Process == process) {
			n++
		}
	}
	return n
}

// Add takes a record.
func (b *Book) Add(r Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	process, _ := r.Owner()
	h := b.open[r.Handle]
	switch {
	case r.Kind == Stalled:
		b.rules.stalls = append(b.rules.stalls, stall{process, r.Call, r.Return})
	case int(r.Key) >= b.keys:
		b.verdict.problem("a record of key %d, of which there are %d", r.Key, b.keys)
	case r.Kind == Asked:
		b.open[r.Handle] = &Hold{Handle: r.Handle, lock: lock{int(r.Key), r.Period}, Process: process, Flags: r.Flags,
			Use: plan.Uses[int(r.Use)%len(plan.Uses)].Use, Room: max(1, int(r.Room)), Asked: r.Call, Keep: r.Return}
	case h == nil:
		b.verdict.problem("a record of kind %d of an acquisition that nobody began", r.Kind)
	default:
		b.apply(h, &r)
		if h.over() {
			b.close(h)
		}
	}
}

// apply adds a record to its hold.
func (b *Book) apply(h *Hold, r *Record) {
	v := &b.verdict
	switch r.Kind {
	case Granted:
		h.Granted = r.Return
		v.Grants++
		v.Operations.acquire(OK, h.Flags)
		v.Operations.Grants[string(h.Use)]++
		v.Timeline.grant(h, r.Return-b.start)
	case Refused:
		v.Operations.acquire(r.Outcome, h.Flags)
		delete(b.open, h.Handle)
	case Held:
		h.Looked = max(h.Looked, r.Call)
	case Wrote:
		h.WroteFrom, h.WroteBy, h.Wrote = r.Call, r.Return, r.Outcome
		h.Looked = max(h.Looked, r.Call)
		v.Operations.Write[r.Outcome.String()]++
		if r.Flags&Torn != 0 {
			h.torn = append(h.torn, *r)
		}
	case Reread:
		h.torn = append(h.torn, *r)
	case Letting:
		h.Letting = r.Call
	case Let:
		h.LetBy, h.Let = r.Return, r.Outcome
		v.Operations.All++
		v.Operations.Release[r.Outcome.String()]++
		if r.Outcome == Gone {
			b.loss(h, r)
		}
	case Lost:
		h.Looked, h.Told = max(h.Looked, r.Call), r.Return
		if r.Cause != ByStatement {
			b.loss(h, r)
		}
	case Asked, Stalled:
	}
}

// loss lists a loss. It is judged at the end, when the faults are fully known.
func (b *Book) loss(h *Hold, r *Record) {
	b.verdict.LossList = append(b.verdict.LossList, Loss{Key: h.Key, Process: h.Process, At: time.Duration(r.Return - b.start),
		Cause: r.Cause.String(), hold: h, told: r.Return, cause: r.Cause})
}

// close files a hold that is over.
func (b *Book) close(h *Hold) {
	delete(b.open, h.Handle)
	k := b.locks[h.lock]
	if k == nil {
		k = &lockBook{}
		b.locks[h.lock] = k
	}
	if h.Granted <= k.checked {
		b.verdict.problem("key %d: a hold of process %d was recorded too late to be checked", h.Key, h.Process)
		return
	}
	k.done = append(k.done, h)
}

// Died says that an incarnation of a process was killed, and that its sessions had ended at the given time. Its pending
// acquisitions have an unknown outcome, which makes nothing illegal.
func (b *Book) Died(process, generation int, gone int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.open {
		if p, g := (&Record{Handle: h.Handle}).Owner(); p != process || g != generation {
			continue
		}
		if h.Granted == 0 {
			b.verdict.Operations.acquire(Unknown, h.Flags)
			delete(b.open, h.Handle)
			continue
		}
		h.Gone = gone
		b.verdict.Killed++
		b.close(h)
	}
}
