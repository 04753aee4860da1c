package manager

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// Lock is a hold of a key's lock. Its methods may be called from any goroutine, at any time.
type Lock struct {
	claim   actor.Claim
	parent  context.Context //nolint:containedctx // a hold is a lifetime: its context derives from this
	member  member          // of the registration with parent
	watcher atomic.Pointer[watcher]
	expired atomic.Bool // the clock has passed the session's trust, seen by Err
}

// watcher is what a hold's end is announced on. It is made when somebody first asks for it: most holds end before.
type watcher struct {
	context.Context //nolint:containedctx // it is the hold's context, with a clock of its own
	lock            *Lock
	cancel          context.CancelCauseFunc
	lost            chan struct{} // closed by end
	ended           atomic.Bool
}

// Key is the name that was locked.
func (l *Lock) Key() string { return l.claim.Name }

// ID is the lock's number at the server: pg_locks shows its high half as classid, its low half as objid.
func (l *Lock) ID() int64 { return l.claim.ID }

// Context is the hold's: it has the values and the end of the context that the lock was acquired with (with [DetachHold],
// the values), and ends with the hold. Its cause is then [ErrReleased], [ErrClosed], the acquiring context's own, or one
// that errors.Is finds to be [ErrLost]. Work under the lock should use it.
func (l *Lock) Context() context.Context { return l.watch() }

// Lost is closed when the hold has ended in any other way than by Release.
func (l *Lock) Lost() <-chan struct{} { return l.watch().lost }

// Err is nil while the lock is held, and afterwards says how the hold ended. It compares the clock itself: in a process
// that was stopped for longer than its session is trusted it says so before any timer has fired.
func (l *Lock) Err() error {
	if err := l.claim.Over(); err != nil {
		return err
	}
	gone := l.claim.Session.Lost() // known to the session before the keeper hears
	if gone == nil && (l.expired.Load() || !time.Now().Before(l.claim.Session.TrustedUntil())) {
		l.expired.Store(true)
		gone = errSilence
	}
	if gone == nil {
		return nil
	}
	if err := l.claim.Over(); err != nil { // it was ended meanwhile, and that says more
		return err
	}
	err := fmt.Errorf("%w: %w", ErrLost, gone)
	if w := l.watcher.Load(); w != nil {
		w.end(err)
	}
	return err
}

var errSilence = errors.New("nothing was heard from the server in time")

// Release ends the hold and releases the lock. It is idempotent: every call returns the one outcome. Nil says that the
// server confirmed the release, or that the lock went to the next waiter in this process; [ErrLost] that the hold had
// ended before; [ErrReleaseUnknown] that no confirmation came. ctx bounds the wait for the outcome, not the release,
// which is begun even if ctx has ended already, and goes on in any case.
func (l *Lock) Release(ctx context.Context) error {
	var done <-chan struct{}
	if ctx != nil {
		done = ctx.Done()
	}
	switch {
	case ctx != nil && ctx.Err() != nil:
		l.claim.End(ErrReleased)
	case l.claim.Release():
		// Of the end of the context that the lock was acquired with, the registration tells, which stays until then.
		settled := l.claim.Await(done, done == l.parent.Done())
		l.detach()
		if settled && l.claim.Outcome() == nil {
			return nil
		}
	}
	return l.await(ctx, done)
}

// await waits for the outcome with whoever else does.
func (l *Lock) await(ctx context.Context, done <-chan struct{}) error {
	settled := l.claim.Settled()
	select {
	case <-settled: // first: what is known counts, even if ctx has ended as well
	default:
		select {
		case <-settled:
		case <-done:
			return fmt.Errorf("release %s: still under way: %w", quoteKey(l.claim.Name), contextReason(ctx))
		}
	}
	if err := l.claim.Outcome(); err != nil {
		return fmt.Errorf("release %s (id %d): %w", quoteKey(l.claim.Name), l.claim.ID, err)
	}
	return nil
}

// contextEnded is what the registration with the acquiring context runs.
func (l *Lock) contextEnded() {
	l.claim.End(contextReason(l.parent))
	l.claim.Interrupt()
}

// detach takes the registration back. It does no harm twice.
func (l *Lock) detach() {
	if l.claim.Registration != nil {
		l.claim.Registration.Unregister()
	}
}

func (l *Lock) watch() *watcher {
	if w := l.watcher.Load(); w != nil {
		return w
	}
	w := &watcher{lock: l, lost: make(chan struct{})}
	w.Context, w.cancel = context.WithCancelCause(l.parent)
	if !l.watcher.CompareAndSwap(nil, w) {
		w.cancel(nil)
		return l.watcher.Load()
	}
	l.claim.Watch(w.end)
	_ = l.Err() // the clock may have ended the hold before anybody watched it
	return w
}

// end announces the end of the hold. The keeper calls it; nothing here waits.
func (w *watcher) end(cause error) {
	if !w.ended.CompareAndSwap(false, true) {
		return
	}
	if !errors.Is(cause, ErrReleased) {
		close(w.lost)
	}
	w.cancel(cause)
}

// Err is the context's. Like [Lock.Err] it compares the clock itself.
func (w *watcher) Err() error {
	if err := w.Context.Err(); err != nil {
		return err
	}
	_ = w.lock.Err() // which ends the context where the clock says so
	return w.Context.Err()
}
