package manager

import (
	"context"
	"time"
)

// Observer is told of acquisitions and of the ends of holds: for traces, metrics, an audit. See [WithObserver].
type Observer interface {
	// Begin is called by each acquisition when it begins, on the caller's goroutine and with the caller's context: to read from it, say,
	// the span that it is a part of. What it returns comes with the events as About. It should be quick: the acquisition waits for it.
	Begin(ctx context.Context) any
	// Acquired is called when an acquisition has returned, granted or not.
	Acquired(a *Acquisition)
	// Ended is called when a hold has ended, however it ended.
	Ended(h *Hold)
}

// Acquisition is one call of Acquire or its like that has returned.
type Acquisition struct {
	About any // what Begin returned
	// Key is what was asked for; of a set of keys it is the first by id. ID is its number at the server.
	Key string
	ID  int64
	// Keys is how many keys were asked for, Slots how many slots the key has: 0 unless one was asked for.
	Keys, Slots int
	// Shared: the lock was asked for in shared mode. Leads: Elect asked for it.
	Shared, Leads bool
	// Begin and End are those of the call.
	Begin, End time.Time
	// Err is nil where the lock was granted, else as the caller got it: an [*AcquireError].
	Err error
	// Local: another caller in this process handed the lock on, or shares it. Else the server granted it.
	Local bool
	// Hold is what has begun; nil where Err is not. Ended is called with this pointer.
	Hold *Hold
}

// Hold is the hold of a lock, a set or a slot. Its fields but Data do not change after the call that it is given to.
type Hold struct {
	Acquisition *Acquisition
	// Begin is when the lock was granted, End when the hold was over; End is zero until then.
	Begin, End time.Time
	// Err says how it ended, as [Lock.Err] does: [ErrReleased], [ErrLost], [ErrClosed], or the context's.
	Err error
	// Data is the observer's own, to keep something from Acquired to Ended.
	Data any
}

// WithObserver has o told of each acquisition and of the end of each hold: by Acquire, TryAcquire, Do and Key, in both modes, and by sets,
// slots, Once and Elect. Acquired and Ended are called on one goroutine, one call after the other, in the order in which things happened to
// a hold. No lock waits for them. An observer that is too slow for a burst of some thousand events loses what comes then;
// [Stats].ObserverDropped counts it, and so it does calls that panic. Without an observer nothing is spent.
//
// Close waits a second for what has yet to be told.
func WithObserver(o Observer) Option { return func(c *config) { c.observer = o } }

// observing tells the observer.
type observing struct {
	aside
	observer Observer // nil: nobody is told
}

// observingRoom is a burst of events.
const observingRoom = 4096

func (o *observing) start(observer Observer) {
	if o.observer = observer; observer != nil {
		o.aside.start(observingRoom)
	}
}

// begin is called by an acquisition when it begins. The result is nil where nobody observes, and then finish does nothing.
func (o *observing) begin(ctx context.Context, a Acquisition) *Acquisition {
	if o.observer == nil || ctx == nil {
		return nil
	}
	observed := a // a copy: without an observer nothing is allocated
	observed.About, observed.Begin = o.observer.Begin(ctx), time.Now()
	return &observed
}

// finish is called by the acquisition when it is over. lead is the lock whose end is the hold's; nil where none was granted.
func (o *observing) finish(a *Acquisition, lead *Lock, err error) {
	if a == nil {
		return
	}
	a.End, a.Err = time.Now(), err
	if err == nil {
		a.Local = lead.claim.Local
		a.Hold = &Hold{Acquisition: a, Begin: lead.claim.Granted}
	}
	o.do(func() { o.observer.Acquired(a) })
	if err != nil {
		return
	}
	lead.observed.Store(a.Hold)
	if over := lead.claim.Over(); over != nil { // before holdEnds could see that it is observed
		lead.observedEnd(over)
	}
}

// observedEnd tells the observer of the hold's end, once. Where the hold has ended while it was handed to the caller, two goroutines call it.
func (l *Lock) observedEnd(cause error) {
	if l.observed.Load() == nil {
		return
	}
	h := l.observed.Swap(nil) //arch:publishes that the end has been told: the first caller tells it
	if h == nil {
		return
	}
	if lost := l.lost.Load(); lost != nil {
		cause = *lost
	}
	o, end := &l.manager.observing, time.Now()
	o.do(func() {
		h.End, h.Err = end, cause // here, since the observer may be reading the others
		o.observer.Ended(h)
	})
}
