package manager_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Done is closed at the end of the hold, however it ends, and Err says how.
func TestDoneIsClosedAtTheEndOfTheHold(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, m *manager.Manager, lock *manager.Lock, cancel func())
		want error
	}{
		"release": {func(t *testing.T, _ *manager.Manager, lock *manager.Lock, _ func()) { release(t, lock) }, manager.ErrReleased},
		"context": {func(_ *testing.T, _ *manager.Manager, _ *manager.Lock, cancel func()) { cancel() }, context.Canceled},
		"close":   {func(t *testing.T, m *manager.Manager, _ *manager.Lock, _ func()) { closesNow(t, m) }, manager.ErrClosed},
		"loss": {func(t *testing.T, _ *manager.Manager, lock *manager.Lock, _ func()) {
			endHolder(t, server(t), lock.ID())
		}, manager.ErrLost},
	} {
		for when, early := range map[string]bool{"asked before": true, "asked after": false} {
			t.Run(name+", "+when, func(t *testing.T) {
				m := open(t)
				ctx, cancel := context.WithCancel(bounded(t))
				defer cancel()
				lock, err := m.Acquire(ctx, "k")
				if err != nil {
					t.Fatal(err)
				}
				if early && isEnded(lock.Done()) {
					t.Error("done while it is held")
				}
				c.end(t, m, lock, cancel)
				ended(t, "the end of the hold", lock.Done())
				wantIs(t, lock.Err(), c.want)
				if lock.Context().Err() == nil {
					t.Error("the lock's context has not ended with the hold")
				}
				_ = lock.Release(bounded(t))
			})
		}
	}
}

// W3. With a detached hold the context bounds the wait alone: nothing touches it once Acquire has returned.
func TestW3DetachedHoldLeavesTheContext(t *testing.T) {
	for name, opts := range map[string][]manager.AcquireOption{
		"plain": nil, "dedicated": {manager.WithDedicatedSession()}, "wait timeout": {manager.WithWaitTimeout(patience)},
	} {
		t.Run(name, func(t *testing.T) {
			m, http := open(t), newShutdown()
			for range 3 {
				ctx := &registering{recycled: &recycled{server: http}}
				lock, err := m.Acquire(ctx, "k", append(opts, manager.WithDetachedHold())...)
				if err != nil {
					t.Fatal(err)
				}
				ctx.want(t, "a detached hold")
				ctx.recycle()
				takeAndRelease(t, m, "another")
				ended(t, "the release", fateOf(only(func() error { return lock.Release(bounded(t)) })))
				if touched := ctx.touches(); len(touched) > 0 {
					t.Errorf("touched after Acquire had returned: %v", touched)
				}
			}
			plain := &recycled{server: http}
			lock, err := m.Acquire(plain, "k", append(opts, manager.WithDetachedHold())...)
			if err != nil {
				t.Fatal(err)
			}
			plain.recycle()
			if !pollFor(soon, func() bool { return contextGoroutines() == 0 }) {
				t.Error("somebody waits for the end of a context that was given back")
			}
			http.begin()
			takeAndRelease(t, m, "after the shutdown")
			if err := lock.Err(); err != nil {
				t.Errorf("the hold is detached, and ended with the context: %v", err)
			}
			release(t, lock)
			if touched := plain.touches(); len(touched) > 0 {
				t.Errorf("touched after Acquire had returned: %v", touched)
			}
		})
	}
}

// W4. A detached hold under Do is not ended by the context at all, and f's context goes on.
func TestW4DetachedDo(t *testing.T) {
	m, other := open(t), open(t)
	ctx, cancel := context.WithCancelCause(bounded(t))
	err := m.Do(ctx, "job", func(fctx context.Context) error {
		cancel(errHangUp)
		goesOn(t, m, other, "job")
		return fctx.Err()
	}, manager.WithDetachedHold())
	if err != nil || errors.Is(err, manager.ErrLost) {
		t.Error(err)
	}
	takeAndRelease(t, other, "job")
}
