package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A wait that its caller gave up goes on at the server for its slice. A TryAcquire that comes meanwhile is told what the server says then: a
// lock that was released before is free, however soon after, and one that is held is refused without waiting for the slice.
func TestTryAfterAWaitThatWasGivenUp(t *testing.T) {
	for name, opts := range map[string][]manager.Option{
		"queue": {manager.WithWaitSlice(20 * time.Second), manager.WithHealth(30*time.Second, 5*time.Second)}, "notify": {manager.WithNotify()},
	} {
		t.Run(name, func(t *testing.T) {
			holder, m := open(t), open(t, opts...)
			for range 20 {
				held, err := holder.Acquire(bounded(t), "k")
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(bounded(t))
				ended := make(chan error, 1)
				go func() {
					_, err := m.Acquire(ctx, "k")
					ended <- err
				}()
				if name == "queue" {
					eventually(t, "the server's queue", func() bool { return len(waitersOf(t, holder, "k")) == 1 })
				} else {
					eventually(t, "a waiter", func() bool { return m.Stats().Waiting == 1 })
				}
				cancel()
				wantIs(t, <-ended, context.Canceled)

				begun := time.Now()
				_, err = m.TryAcquire(bounded(t), "k")
				wantIs(t, err, manager.ErrNotAcquired)
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("a lock that is held was refused after %v", took)
				}
				if err := held.Release(bounded(t)); err != nil {
					t.Fatal(err)
				}
				lock, err := m.TryAcquire(bounded(t), "k")
				if err != nil {
					t.Fatalf("the lock was released: %v", err)
				}
				if err := lock.Release(bounded(t)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func waitersOf(t *testing.T, m *manager.Manager, key string) []manager.LockSession {
	t.Helper()
	locks, err := m.Locks(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locks {
		if l.ID == m.Key(key).ID() {
			return l.Waiters
		}
	}
	return nil
}
