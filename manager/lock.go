package manager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// Lock is a hold of a key's lock. Its methods may be called from any goroutine, at any time.
type Lock struct {
	claim   actor.Claim
	manager *Manager
	parent  parent   // the context that the lock was acquired with
	outer   *Lock    // the hold whose context that is, or is derived from; nil if there is none
	set     *LockSet // that it is the lead of
	fence   *fence   // nil: it has no token of its own

	stop     func() bool    // takes the registration with the parent back; nil where the parent never ends
	touching sync.WaitGroup // one as long as the registration may touch the parent
	detached bool           // the hold does not end with that context

	acquired  atomic.Bool                 // written by acquire, when all above has been written
	leading   atomic.Bool                 // written by Elect, when a term begins
	releasing atomic.Bool                 // written by the first Release
	txLeft    atomic.Bool                 // written by holdEnds: the hold was released while a transaction was open
	hold      atomic.Pointer[holdContext] // written by whoever first asks for the hold's context
	lost      atomic.Pointer[error]       // written by Err: the loss that it saw before the keeper, and which stays the end of the hold
	observed  atomic.Pointer[Hold]        // written by the acquirer, and by whoever tells the observer that the hold has ended; nil: nobody is told
	tx        atomic.Pointer[pg.Tx]       // written by BeginTx: the latest
}

// Key is the name that was locked.
func (l *Lock) Key() string { return l.claim.Name }

// ID is the lock's number at the server: pg_locks shows its high half as classid, its low half as objid. It is [Key.ID].
func (l *Lock) ID() int64 {
	if l.set != nil { // of both ids: it may be the lead by the other
		return l.manager.Key(l.claim.Name).id
	}
	return l.claim.ID
}

// Context is the hold's: it has the values of the context that the lock was acquired with, and ends with the hold. Its cause is
// then [ErrReleased], [ErrClosed], the acquiring context's own, or one that errors.Is finds to be [ErrLost]. Work under the lock
// should use it. An Acquire of the same key with it, or with a context derived from it, returns [ErrHeld]: locks are not
// reentrant.
func (l *Lock) Context() context.Context { return l.holdContext() }

// Done is closed when the hold has ended, however it ended; Err says why.
func (l *Lock) Done() <-chan struct{} { return l.holdContext().Done() }

// Err is nil while the lock is held, and afterwards says how the hold ended. It compares the clock itself: in a process that was
// stopped for longer than its session is trusted it says so before any timer has fired.
func (l *Lock) Err() error {
	if lost := l.lost.Load(); lost != nil {
		return *lost
	}
	if err := l.claim.Over(); err != nil {
		return err
	}
	gone := l.claim.Session.Lost() // known to the session before the keeper hears
	if gone == nil && !time.Now().Before(l.claim.Session.TrustedUntil()) {
		gone = errSilence
	}
	if gone == nil && l.set != nil {
		gone = l.set.gone(time.Now())
	}
	if gone == nil {
		return nil
	}
	if err := l.claim.Over(); err != nil { // it was ended meanwhile, and that says more
		return err
	}
	err := fmt.Errorf("%w: %w", ErrLost, gone)
	l.lost.Store(&err)
	if h := l.hold.Load(); h != nil {
		h.cancel(err)
	}
	return err
}

var errSilence = errors.New("nothing was heard from the server in time")

// Release ends the hold and releases the lock. It is idempotent: every call returns the one outcome. Nil says that the server
// confirmed the release, that the lock went to the next waiter in this process, or that it stays for its [WithMinHold]; [ErrLost] that the hold had ended before;
// [ErrReleaseUnknown] that no confirmation came. ctx bounds the wait for the outcome, not the release, which is begun even if ctx
// has ended already, and goes on in any case. When it returns, nothing of the library touches the acquiring context any more.
func (l *Lock) Release(ctx context.Context) error {
	if l.set != nil { // of both ids
		return l.set.Release(ctx)
	}
	return l.release(patienceOf(ctx))
}

// releaseWithin is Release that does not wait for the outcome beyond over.
func (l *Lock) releaseWithin(ctx context.Context, over <-chan struct{}) error {
	p := patienceOf(ctx)
	p.over = over
	if l.set != nil { // of both ids
		return l.set.release(p)
	}
	return l.release(p)
}

// patience is how long a release waits for its outcome. The methods of the user's context, which may panic, are called before anything is
// released, so that all of it is or nothing.
type patience struct {
	ctx   context.Context //nolint:containedctx // of a call
	done  <-chan struct{} // the context's own; closed by whoever ends it; received by whoever releases; nothing is sent
	ended bool            // it was, when the call began
	over  <-chan struct{} // that of an acquisition with a wait timeout; closed by its timer; received by whoever releases; nothing is sent; nil: no such time
}

func patienceOf(ctx context.Context) (p patience) {
	if p.ctx = ctx; ctx != nil {
		p.done, p.ended = ctx.Done(), ctx.Err() != nil
	}
	return p
}

func (l *Lock) release(p patience) error {
	var known bool
	first := !l.releasing.Swap(true) //arch:publishes that the lock is being released: the first caller sends the release
	if first {
		l.markEnded()
	}
	switch {
	case !first:
		known = l.claim.AwaitEither(p.done, p.over)
	case p.over != nil:
		l.claim.ReleaseLater()
		known = l.claim.AwaitEither(p.done, p.over)
	case l.toldByContext(p.done) && !p.ended:
		known = l.claim.ReleaseByContext()
	default:
		known = l.claim.Release(p.done)
	}
	if known || first { // a later caller that gave up leaves it: the first, in ReleaseByContext, is told by it
		l.unregister()
	}
	var err error
	switch lost := l.lost.Load(); {
	case lost != nil: // Err has said so, whatever the keeper or the server says later
		err = *lost
	case !known:
		return p.notReleasedYet(&l.claim)
	default:
		err = l.claim.Outcome()
	}
	return releaseFailed(&l.claim, l.withTx(err))
}

// notReleasedYet is the error of a release whose outcome was not waited for any longer.
func (p patience) notReleasedYet(c *actor.Claim) error {
	reason := ErrWaitTimeout
	if !isClosed(p.over) || p.ctx.Err() != nil {
		reason = contextReason(p.ctx)
	}
	return fmt.Errorf("release %s: still under way: %w", quoteKey(c.Name), reason)
}

// releaseFailed is the error of a release with that outcome; nil if the outcome is.
func releaseFailed(c *actor.Claim, outcome error) error {
	if outcome == nil {
		return nil
	}
	return fmt.Errorf("release %s (id %d): %w", quoteKey(c.Name), c.ID, outcome)
}

// releaseLater releases a lock that nobody has been given, without waiting for the outcome.
func (l *Lock) releaseLater() {
	l.beginRelease()
	l.unregister()
}

// beginRelease is releaseLater that leaves the acquiring context alone.
func (l *Lock) beginRelease() {
	l.releasing.Store(true)
	l.claim.ReleaseUnused()
	if l.set != nil && l.set.lead.Load() == l {
		l.set.releaseOthers(true)
	}
}

// toldByContext reports whether the registration tells the keeper when done is closed, and stays until the first Release takes it back. The
// hold's end takes it back too (holdEnds), unless it finds releasing set. Over is stored before holdEnds reads releasing, and releasing is
// set before Over is read here: so where holdEnds has taken the registration back, Over is not nil here.
func (l *Lock) toldByContext(done <-chan struct{}) bool {
	return l.stop != nil && l.claim.Hold == actor.HoldWithContext && done == l.parent.Done() && l.claim.Over() == nil
}

// lockOwner is a Lock as its keeper sees it: HoldEnds is none of the methods that users see.
type lockOwner Lock

// HoldEnds implements [actor.Owner].
func (o *lockOwner) HoldEnds(cause error, at time.Time) { (*Lock)(o).holdEnds(cause, at) }

// holdEnds is called by the keeper when the hold is over, and for Do when the manager closes.
func (l *Lock) holdEnds(cause error, at time.Time) {
	l.leaveTx(cause)
	if h := l.hold.Load(); h != nil {
		h.cancel(cause)
	}
	if l.set != nil {
		l.set.leadEnds(l, cause)
	}
	if l.claim.Over() != nil { // else it is to end
		l.manager.holds.Record(at.Sub(l.claim.Granted))
		l.observedEnd(cause)
	}
	bySet := l.set != nil && l.set.loss.Load() != nil                    // which releases the lead when another of its locks is lost
	byItself := cause != ErrReleased                                     //nolint:errorlint // that very value
	if (byItself || bySet) && l.acquired.Load() && !l.releasing.Load() { // else Release unregisters
		l.manager.unregisterSoon(l)
		if byItself {
			l.markEndedSoon()
		}
	} // where it has not been acquired yet, acquire sees that the hold is over
}

// holdContext is the context of a hold. Its Done, and that of contexts derived from it, is closed by holdEnds, by Err where the
// clock says so, and for Do by the end of the acquiring context.
type holdContext struct {
	context.Context //nolint:containedctx // a hold is a lifetime
	lock            *Lock
	cancel          context.CancelCauseFunc
}

// holdContext makes the context when it is first asked for: most holds end before.
func (l *Lock) holdContext() *holdContext {
	if h := l.hold.Load(); h != nil {
		return h
	}
	h := &holdContext{lock: l}
	h.Context, h.cancel = context.WithCancelCause(context.WithoutCancel(l.parent.Context))
	if !l.hold.CompareAndSwap(nil, h) { //arch:publishes the context: of two callers who make one, both use the first
		h.cancel(nil)
		return l.hold.Load()
	}
	if l.claim.Session != nil { // else it is not granted yet
		if err := l.Err(); err != nil { // it ended before there was a context
			h.cancel(err)
		}
	}
	return h
}

// Err is the context's. Like [Lock.Err] it compares the clock itself. Where the acquiring context's deadline ended the hold it is
// that context's error.
func (h *holdContext) Err() error {
	if h.Context.Err() == nil && h.lock.claim.Session != nil {
		_ = h.lock.Err() // which ends the context where the clock says so
	}
	err := h.Context.Err()
	if err != nil && errors.Is(context.Cause(h.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// Deadline is that of the acquiring context, where its end is the hold's.
func (h *holdContext) Deadline() (time.Time, bool) {
	if h.lock.detached {
		return time.Time{}, false
	}
	return h.lock.parent.Deadline()
}

// heldKey finds the innermost hold in a context.
type heldKey struct{}

func (h *holdContext) Value(key any) any {
	if key == (heldKey{}) {
		return h.lock
	}
	return h.Context.Value(key)
}

// holder is the hold as others see it.
func (l *Lock) holder() *Holder {
	return &Holder{Local: true, PID: l.claim.Session.PID(), ApplicationName: l.manager.config.sessions.ApplicationName,
		Since: l.claim.Granted, Seen: time.Now()}
}

// holds reports whether the hold, or one that it is inside of, is of the key.
func (l *Lock) holds(k Key) bool {
	for ; l != nil; l = l.outer {
		if l.manager == k.m && (l.has(k.id) || k.second != k.id && l.has(k.second)) {
			return true
		}
	}
	return false
}

// has reports whether the hold has the lock of an id.
func (l *Lock) has(id int64) bool {
	return l.claim.ID == id && l.claim.Over() == nil || l.set != nil && l.set.has(id)
}

// refuses says why an acquisition of a key within the hold is refused; nil if it is not.
func (l *Lock) refuses(k Key, try bool) error {
	switch {
	case !l.holds(k):
		return nil
	case try:
		return fmt.Errorf("%w: %w", ErrNotAcquired, ErrHeld)
	default:
		return ErrHeld
	}
}
