package history

import (
	"slices"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Book takes the records of all processes and checks them while they come, so that a long run needs no more memory than
// a short one. Its methods may be called from any goroutine.
type Book struct {
	mu       sync.Mutex
	rules    rules
	keys     []keyBook
	open     map[uint64]*Hold // asked for, and not over
	told     []told
	start    int64
	verdict  Verdict
	timeline Timeline
	finished bool
}

// keyBook is what is known of one key and not checked yet.
type keyBook struct {
	done    []*Hold // over
	checked int64   // the last grant that has been checked
	active  []*Hold // checked, and still believed in at the last grant that has been checked
	zombies []*Hold // whose write may have come after their hold's end
}

// New begins a book.
func New(p *plan.Plan) *Book {
	return &Book{
		rules: rules{trust: int64(p.Trust()), patience: int64(p.Timeout / 2)}, keys: make([]keyBook, p.Keys), open: make(map[uint64]*Hold),
		timeline: newTimeline(p), verdict: newVerdict(),
	}
}

// Start says when the load begins: what is reported counts from there.
func (b *Book) Start(at int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.start = at
}

// Begin adds a fault before it is carried out. Change tells the rest.
func (b *Book) Begin(f *Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules.faults = append(b.rules.faults, f)
}

// Change lets change what is known of a fault.
func (b *Book) Change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// Faults are those that were begun.
func (b *Book) Faults() []*Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.rules.faults)
}

// Add takes records of one process.
func (b *Book) Add(records []event.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range records {
		b.add(&records[i])
	}
}

func (b *Book) add(r *event.Record) {
	switch r.Kind {
	case event.Beat:
		return
	case event.Stalled:
		process, _ := r.Owner()
		b.rules.stalls = append(b.rules.stalls, stall{process, r.Call, r.Return})
		return
	default:
	}
	if int(r.Key) >= len(b.keys) {
		b.verdict.problem("a record of key %d, of which there are %d", r.Key, len(b.keys))
		return
	}
	h := b.open[r.Handle]
	if r.Kind == event.Asked {
		process, generation := r.Owner()
		b.open[r.Handle] = &Hold{Handle: r.Handle, Key: int(r.Key), Process: process, Generation: generation,
			Flags: r.Flags, Asked: r.Call}
		return
	}
	if h == nil {
		b.verdict.problem("a record of kind %d of an acquisition that nobody began", r.Kind)
		return
	}
	b.apply(h, r)
	if h.over() {
		b.close(h)
	}
}

// apply adds what a record says of its hold.
func (b *Book) apply(h *Hold, r *event.Record) {
	switch r.Kind {
	case event.Granted:
		h.Granted = r.Return
		h.Flags |= r.Flags
		b.verdict.granted(h)
		b.timeline.grant(h, r.Return-b.start)
	case event.Refused:
		b.verdict.refused(h, r)
		delete(b.open, h.Handle)
	case event.Held:
		h.Looked = max(h.Looked, r.Call)
	case event.Wrote:
		h.WroteFrom, h.WroteBy, h.Wrote = r.Call, r.Return, r.Outcome
		h.Looked = max(h.Looked, r.Call)
		b.verdict.wrote(r)
		if r.Flags&event.Torn != 0 {
			h.torn = append(h.torn, *r)
		}
	case event.Letting:
		h.Letting = r.Call
	case event.Let:
		h.LetBy, h.Let, h.Cause = r.Return, r.Outcome, r.Cause
		b.verdict.released(h)
		if r.Outcome == event.Gone {
			b.loss(h, r.Return, r.Cause)
		}
	case event.Lost:
		h.Looked = max(h.Looked, r.Call)
		h.Told, h.Cause = r.Return, r.Cause
		b.loss(h, r.Return, r.Cause)
	case event.Asked, event.Beat, event.Stalled:
	}
}

// close files a hold that is over.
func (b *Book) close(h *Hold) {
	delete(b.open, h.Handle)
	k := &b.keys[h.Key]
	if h.Granted <= k.checked {
		b.verdict.problem("key %d: a hold of process %d was recorded too late to be checked", h.Key, h.Process)
		return
	}
	k.done = append(k.done, h)
}

// told is a loss that a holder was told of. It is judged at the end, when all is known of the faults.
type told struct {
	hold  *Hold
	at    int64
	cause event.Cause
}

func (b *Book) loss(h *Hold, at int64, cause event.Cause) {
	b.told = append(b.told, told{h, at, cause})
}

func (b *Book) judgeLosses() {
	for _, t := range b.told {
		l := Loss{Key: t.hold.Key, Process: t.hold.Process, At: time.Duration(t.at - b.start), Cause: t.cause.String()}
		l.Stalled = b.rules.stalled(t.hold, t.at)
		if f := b.rules.explain(t.hold, t.at, t.cause); f != nil {
			l.Fault, l.Kind, l.After = f.N, f.Kind, f.toldAfter(t.at)
			l.Late = !l.Stalled && int64(l.After) > b.rules.trust+slack && f.Kind != plan.FreezeWorker && t.hold.Granted < f.Begin
		}
		b.verdict.lost(l)
	}
}

// Died tells that an incarnation of a process was killed at a time, and that its sessions are gone by another. What it
// was waiting for has an unknown outcome, which makes nothing illegal; what it held ends by itself.
func (b *Book) Died(process, generation int, gone int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.open {
		if h.Process != process || h.Generation != generation {
			continue
		}
		if h.Granted == 0 {
			b.verdict.Operations.acquire(event.Unknown, h.Flags)
			delete(b.open, h.Handle)
			continue
		}
		h.Gone = gone
		b.verdict.Killed++
		b.close(h)
	}
}

// Counts is how the load goes.
type Counts struct {
	Operations Operations
	Losses     int
	Overlaps   int
	Violations int
	Waiting    int
	Holding    int
}

// Counts is for the progress display.
func (b *Book) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &b.verdict
	c := Counts{Operations: v.Operations, Losses: len(b.told), Overlaps: len(v.Overlaps), Violations: v.count}
	for _, h := range b.open {
		if h.Granted == 0 {
			c.Waiting++
		} else {
			c.Holding++
		}
	}
	return c
}
