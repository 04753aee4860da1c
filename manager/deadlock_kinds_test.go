package manager_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A set that is taken in order holds locks while it waits: who would wait for it in a circle is told, and so is it.
func TestDeadlockWithASetInOrder(t *testing.T) {
	for _, row := range []struct {
		name      string
		setCloses bool
	}{{"the other closes it", false}, {"the set closes it", true}} {
		t.Run(row.name, func(t *testing.T) {
			var asked sync.Map // by id, how often it was asked for
			m := open(t, manager.WithHook(func(id int64, step string) {
				if step == "message acquire" {
					n, _ := asked.LoadOrStore(id, new(atomic.Int64))
					n.(*atomic.Int64).Add(1) //nolint:forcetypeassert // nothing else is in it
				}
			}))
			names := m.Keys("a", "b", "c").Names()
			var locks []*manager.Lock
			for _, name := range names {
				locks = append(locks, acquire(t, m, name))
			}
			type result struct {
				set *manager.LockSet
				err error
			}
			done := make(chan result, 1)
			go func() {
				set, err := m.AcquireAll(bounded(t), names...)
				done <- result{set, err}
			}()
			waits := func(i, times int) {
				t.Helper()
				eventually(t, "the set waits", func() bool {
					n, ok := asked.Load(m.Key(names[i]).ID())
					return ok && n.(*atomic.Int64).Load() == int64(times) //nolint:forcetypeassert // as above
				})
			}
			// It tries all, and again when it has waited for the first; both fail, so then it goes by order.
			waits(0, 3)
			release(t, locks[0])
			waits(1, 4)
			if row.setCloses {
				closes := acquiring(locks[2].Context(), t, m, names[0]) // no circle yet
				release(t, locks[1])                                    // then it holds two, and would wait for the third
				got := ended(t, "the set's end", done)
				wantIs(t, got.err, manager.ErrDeadlock) // its time is that of all rounds
				release(t, granted(t, closes))
				release(t, locks[2])
				return
			}
			_, err := m.Acquire(locks[1].Context(), names[0])
			toldAtOnce(t, err)
			release(t, locks[1])
			release(t, locks[2])
			got := ended(t, "the set", done)
			if got.err != nil {
				t.Fatal(got.err)
			}
			releaseAll(t, got.set)
		})
	}
}

// Those who share a lock are not in the way of others who would share it, unless somebody is queued who would not.
func TestNoDeadlockAmongThoseWhoShare(t *testing.T) {
	m := open(t)
	a, b := acquireShared(t, m, "a"), acquireShared(t, m, "b")
	ctx, cancel := context.WithCancel(b.Context())
	waiting := acquiring(ctx, t, m, "a")
	_, err := m.AcquireShared(a.Context(), "c", manager.WithWaitTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	inner, err := m.AcquireShared(a.Context(), "b", manager.WithWaitTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	release(t, inner)
	_, err = m.Acquire(a.Context(), "b")
	wantIs(t, err, manager.ErrDeadlock)
	between, stop := context.WithCancel(t.Context())
	writer := acquiring(between, t, m, "b") // then they are, since whoever comes later waits for it
	_, err = m.AcquireShared(a.Context(), "b")
	toldAtOnce(t, err)
	stop()
	wantIs(t, ended(t, "the end of the writer's wait", writer).err, context.Canceled)
	cancel()
	wantIs(t, ended(t, "the end of the wait", waiting).err, context.Canceled)
}

// toldAtOnce wants an error of a caller that closed a circle in its own process, and did not begin to wait.
func toldAtOnce(t *testing.T, err error) {
	t.Helper()
	wantIs(t, err, manager.ErrDeadlock)
	if e := failure(t, err); e.Waited != 0 {
		t.Errorf("it was not told at once: %v", err)
	}
}
