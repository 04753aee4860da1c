package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Release returns at once, and the server has the lock until the minimum hold is over, for whoever waits, here or elsewhere.
func TestMinHold(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	const hold = 1500 * time.Millisecond
	begun := time.Now() // the grant comes after
	lock := acquire(t, one, "k", manager.WithMinHold(hold))
	release(t, lock)
	wantIs(t, lock.Err(), manager.ErrReleased)
	if time.Since(begun) < hold && held(t, s)[lock.ID()] == 0 && time.Since(begun) < hold {
		t.Fatal("the lock has gone before its minimum hold is over")
	}
	if n := one.Stats().Held; n != 0 {
		t.Errorf("%d locks are counted as held, and nobody holds one", n)
	}
	local, remote := acquiring(bounded(t), t, one, "k"), acquiring(bounded(t), t, two, "k")
	for range 2 {
		var got acquired
		select {
		case got = <-local:
		case got = <-remote:
		case <-time.After(patience):
			t.Fatal("nobody was granted the lock")
		}
		if got.err != nil {
			t.Fatal(got.err)
		}
		if passed := time.Since(begun); passed < hold {
			t.Errorf("granted to the next after %v, before the minimum hold is over", passed)
		}
		release(t, got.lock)
	}
}

// The end of the context does not shorten it, nor does the end of Do. Close does.
func TestMinHoldOutlivesTheContext(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	lock, err := m.Acquire(ctx, "context", manager.WithMinHold(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	ended(t, "the end of the hold", lock.Done())
	if err := lock.Release(bounded(t)); err != nil {
		t.Errorf("a release after the end of the context: %v", err)
	}
	if err := m.Do(bounded(t), "do", func(context.Context) error { return nil }, manager.WithMinHold(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"context", "do"} {
		if held(t, s)[m.Key(key).ID()] == 0 {
			t.Errorf("%s: the lock has gone before its minimum hold is over", key)
		}
		_, err := m.TryAcquire(bounded(t), key)
		wantIs(t, err, manager.ErrNotAcquired)
		if h := failure(t, err).Holder; h == nil || !h.Local {
			t.Errorf("%s: told of %+v", key, h)
		}
	}
	closeNow(t, m) // that nothing is left is checked after each test
	if left := held(t, s); len(left) > 0 {
		t.Errorf("locks are left after Close: %v", left)
	}
}
