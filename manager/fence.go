package manager

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// WithFencing gives every exclusive lock a token, as [WithToken] does for one acquisition: locks of Acquire, TryAcquire, Do, Elect and AcquireAll.
// The manager refuses shared locks and slots then: several hold them at one time, so none is the newest. The locks of Once have none: no two
// periods have one key. By default there are no tokens, and nothing is drawn.
func WithFencing() Option { return func(c *config) { c.fencing = true } }

// WithToken gives the lock a token: a number that is greater than that of every earlier holder of the key, in any process, whatever ended
// that one's hold, and after a crash of the server or the promotion of a synchronous standby. A resource that refuses a number smaller than it has seen, or
// [Guard] in a transaction, keeps out a holder that has lost its lock and does not know it yet.
//
// The database needs [Migrate]. The token is drawn when the server's lock is held, before Acquire returns: one more round trip and a commit,
// of which all that draw at one time share one. Acquire waits while a guarded transaction of an earlier holder is open; what bounds its wait bounds
// that too, and TryAcquire answers [ErrNotAcquired]. Where no token can be drawn the lock is released, and the error is [ErrNoToken] with the cause. All who take the key
// have to draw: nothing keeps an earlier holder out from one that does not. A set of locks has one token. Shared locks, slots and Once refuse the option.
func WithToken() AcquireOption { return func(o *acquireOptions) { o.token = true } }

// Fenced is a hold that may have a token: a [Lock] or a [LockSet].
type Fenced interface {
	// Token is greater than that of every earlier holder; 0 if the hold has none.
	Token() int64
	// Err is nil while the hold goes on.
	Err() error

	fenced() *fence
}

// FenceOf is the innermost hold that a context is of, for the functions of Do and Elect. ok is false where there is none, or it has no token.
func FenceOf(ctx context.Context) (held Fenced, ok bool) {
	l, _ := ctx.Value(heldKey{}).(*Lock)
	if l == nil || l.fenced() == nil {
		return nil, false
	}
	return l, true
}

// fence is a hold's token, and the ids of its locks. It does not change after the acquirer has been told.
type fence struct {
	ids   []int64
	token int64
}

// Token is the number that [WithFencing] or [WithToken] gave the lock: greater than that of every earlier holder of the key; 0 without.
func (l *Lock) Token() int64 { return l.fenced().number() }

// Token is the number that [WithFencing] or [WithToken] gave the set: greater than that of every earlier holder of any of its keys; 0
// without.
func (s *LockSet) Token() int64 { return s.fence.Load().number() }

func (f *fence) number() int64 {
	if f == nil {
		return 0
	}
	return f.token
}

func (l *Lock) fenced() *fence {
	if l.set != nil {
		return l.set.fence.Load()
	}
	return l.fence
}

func (s *LockSet) fenced() *fence { return s.fence.Load() }

// fences reports whether an acquisition draws a token.
func (m *Manager) fences(o *acquireOptions) bool { return o.token || m.config.fencing && !o.unfenced }

// errSeveral: of several holders none is the newest.
var errSeveral = errors.New("WithFencing and WithToken are for exclusive locks: of shared locks and slots several are held at one time, and none " +
	"of their holders is the newest (use a manager without WithFencing, and other keys)")

// drawAlone draws the token of a lock. Where there is none the lock is released.
func (l *Lock) drawAlone(ctx context.Context, o *acquireOptions, begun time.Time) (err error) {
	drawn := false
	defer func() { // a method of the context may panic
		if !drawn {
			l.releaseLater()
		}
	}()
	var by time.Time
	if o.waitTimeout > 0 {
		by = begun.Add(o.waitTimeout)
	}
	l.fence = &fence{ids: []int64{l.claim.ID}}
	err = l.draw(ctx, l.fence, by, l.claim.Try)
	if o.once && errors.Is(err, ErrNotAcquired) {
		err = fmt.Errorf("%w: %w", ErrWaitTimeout, errGuarded)
	}
	drawn = err == nil
	return err
}

// errGuarded is what a caller waits for who holds the lock and has no token yet.
var errGuarded = errors.New("the lock was held, and its token waited for the end of an earlier holder's guarded transaction")

// draw draws the token of a hold, of which l is the lead, while its context and time last, and its locks are held. A try does not wait for
// guarded transactions.
func (l *Lock) draw(ctx context.Context, f *fence, by time.Time, try bool) error {
	w := &draw{ids: f.ids, delay: l.manager.config.takeover, reply: make(chan drawn, drawnRoom)}
	l.manager.untold.Add(int64(len(f.ids)))
	defer l.manager.untold.Add(-int64(len(f.ids)))
	drawer := l.manager.drawer
	if !drawer.submit(w) {
		return ErrClosed
	}
	told := false
	defer func() {
		if !told {
			drawer.retract(w)
		}
	}()
	var over <-chan time.Time
	if !by.IsZero() {
		timer := time.NewTimer(time.Until(by))
		defer timer.Stop()
		over = timer.C
	}
	var blocked error
	for {
		select {
		case d := <-w.reply:
			if d.blocked != nil {
				if blocked = d.blocked; try && blocked == errGuarded { //nolint:errorlint // that very value
					return fmt.Errorf("%w: %w", ErrNotAcquired, blocked)
				}
				continue
			}
			if f.token = d.token; d.err != nil && isClosed(drawer.closing) {
				return ErrClosed
			} else if d.err != nil {
				return fmt.Errorf("%w, so the lock was released: %w", ErrNoToken, d.err)
			}
			if l.Err() != nil {
				return because(l.ended(), blocked)
			}
			told = true
			return nil
		case <-l.parent.done:
			return because(contextReason(ctx), blocked)
		case <-l.Done():
			return because(l.ended(), blocked)
		case <-over:
			return because(ErrWaitTimeout, blocked)
		case <-drawer.closing:
			return ErrClosed
		}
	}
}

// ended is the error of a draw whose hold has ended meanwhile, or is to end.
func (l *Lock) ended() error {
	err := l.Err()
	if err == nil {
		err = context.Cause(l.Context())
	}
	if !errors.Is(err, ErrLost) {
		return err // the end of the context, or Close
	}
	return fmt.Errorf("%w: the lock was lost meanwhile: %w", ErrNoToken, err)
}

// because adds what was waited for.
func because(err, blocked error) error {
	if blocked == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, blocked)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
