package manager_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A caller of AcquireSlot looks for other numbers of slots: it takes a lock for a moment and waits for its release. The server may fail in
// that moment.

// bareContext is a context of somebody else's that one cannot register with: package context needs a goroutine.
type bareContext struct{ context.Context }

func (bareContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (bareContext) Value(any) any               { return nil }

// pausedAt has the keeper of a key's lock stop where it is to do a step: reached is closed then, and it goes on after resume. It does so once it
// is armed, once.
type pausedAt struct {
	id               atomic.Int64
	reached, resumed chan struct{}
	resume           func()
}

func (p *pausedAt) option(step string) manager.Option {
	p.reached, p.resumed = make(chan struct{}), make(chan struct{})
	p.resume = sync.OnceFunc(func() { close(p.resumed) })
	return manager.WithHook(func(of int64, at string) {
		if at == step && p.id.CompareAndSwap(of, 0) {
			close(p.reached)
			<-p.resumed
		}
	})
}

// arm is called when the manager is open, so that the keeper goes on before that is closed.
func (p *pausedAt) arm(t *testing.T, m *manager.Manager, key string) {
	t.Helper()
	t.Cleanup(p.resume)
	p.id.Store(m.Key(key).ID())
}

// The server falls silent in the release after a look. The wait timeout bounds that, whatever the context is, and nothing of the acquisition is left.
func TestTheReleaseAfterALookKeepsToTheWaitTimeout(t *testing.T) {
	s := breakable(t)
	for name, row := range map[string]struct {
		n   int
		ids manager.Option
	}{"one of two slots": {2, withOld}, "the only slot": {1, withOld}, "one of two slots, with two ids": {2, withBoth}} {
		for kind, foreign := range map[string]func(ctx context.Context) context.Context{
			"a context that counts":            func(ctx context.Context) context.Context { return newCounted(ctx) },
			"a context that needs a goroutine": func(ctx context.Context) context.Context { return bareContext{ctx} },
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				var at pausedAt
				m := openOn(t, s, row.ids, manager.WithHealth(patience, patience), at.option("unlock")) // the server is trusted for longer than the test waits
				other := openOn(t, s, manager.WithHealth(patience, patience))
				if row.n == 1 { // so that it has to look
					defer release(t, acquire(t, other, "k"))
				}
				ctx := foreign(t.Context())
				result := make(chan error, 1)
				at.arm(t, m, "k#slots")
				go func() {
					slot, err := m.AcquireSlot(ctx, "k", row.n, manager.WithWaitTimeout(time.Second))
					if err == nil {
						err = slot.Release(t.Context())
					}
					result <- err
				}()
				select {
				case err := <-result: // on a busy machine the time may be over before
					at.resume()
					wantIs(t, err, manager.ErrWaitTimeout)
				case <-at.reached:
					thaw := freeze(t, s)
					at.resume()
					wantIs(t, ended(t, "the return of the call", result), manager.ErrWaitTimeout)
					thaw()
				}
				if counted, ok := ctx.(*counted); ok {
					if _, now := counted.counts(); now != 0 {
						t.Errorf("%d registrations are left", now)
					}
				}
				eventually(t, "nothing is held", func() bool { return m.Stats().Held == 0 && len(held(t, s)) == 2-row.n })
			})
		}
	}
}

// A context whose cause is another call's ErrWaitTimeout ends the call as a context does.
func TestALookWhoseContextEndsByAnothersTimeout(t *testing.T) {
	s := breakable(t)
	var at pausedAt
	m := openOn(t, s, manager.WithHealth(patience, patience), at.option("unlock"))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	result := make(chan error, 1)
	at.arm(t, m, "k#slots")
	go func() {
		_, err := m.AcquireSlot(ctx, "k", 2)
		result <- err
	}()
	ended(t, "the look", at.reached)
	thaw := freeze(t, s)
	cancel(manager.ErrWaitTimeout)
	at.resume()
	wantIs(t, ended(t, "the return of the call", result), context.Canceled)
	thaw()
	eventually(t, "nothing is held", func() bool { return len(held(t, s)) == 0 })
}
