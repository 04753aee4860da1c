package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A keeper that panics, at whatever step, is contained: every call returns, whoever held its lock hears of it before the
// next is granted, and the key works again.
func TestKeeperFailsAtEveryStep(t *testing.T) {
	var seen steps
	always := []string{"message acquire", "try", "wait", "grant", "unlock", "over", "settle", "refuse", "reserve",
		"try-own", "return", "ask-pause", "message paused", "message reserved"}
	missing := func() (kinds []string) {
		all := seen.kinds()
		for _, step := range always {
			if !slices.Contains(all, step) {
				kinds = append(kinds, step)
			}
		}
		return kinds
	}
	for told := 0; len(missing()) > 0; told++ { // on a busy machine one story may not have all
		if told == 20 {
			t.Fatalf("the story, told %d times, never came to %q", told, missing())
		}
		failures(t, seen.record(), "k")
	}
	all := seen.kinds()
	t.Logf("steps: %q", all)
	for _, step := range all {
		t.Run(step, func(t *testing.T) {
			var done atomic.Bool
			// Some steps are only come to in some orders of events, so that the story may have to be told again.
			for told := 0; !done.Load(); told++ {
				if told == 200 && !slices.Contains(always, step) {
					t.Logf("the story, told %d times, came to that step only once", told) // such as who holds, for one who has waited for long
					break
				}
				if told == 200 {
					t.Fatalf("the story, told %d times, did not come to that step again", told)
				}
				failures(t, manager.WithHook(func(_ int64, at string) {
					if at == step && done.CompareAndSwap(false, true) {
						panic("injected at " + step)
					}
				}), "k")
			}
		})
	}
}

// failures is a story in which a key sees everything: waits here and there, time-outs, cancellations, a dedicated session.
func failures(t *testing.T, hook manager.Option, key string) {
	t.Helper()
	s := server(t)
	idle := manager.WithIdleTime(time.Second) // the managers stay open while the story is told again and again
	m, other := open(t, hook, idle, manager.WithIdleKeyTime(5*time.Millisecond), manager.WithWaitSlice(50*time.Millisecond)), open(t, idle)
	var last atomic.Pointer[manager.Lock]
	work := func(ctx context.Context, m *manager.Manager, opts ...manager.AcquireOption) {
		lock, err := m.Acquire(ctx, key, opts...)
		if err == nil {
			// A lock that was lost before it came here may find its successor, which is held.
			if before := last.Swap(lock); before != nil && before.Err() == nil && lock.Err() == nil {
				t.Error("granted while another holds it")
			}
			err = lock.Release(bounded(t))
		}
		if err != nil && !errors.Is(err, manager.ErrKeeperFailed) && !errors.Is(err, manager.ErrLost) &&
			!errors.Is(err, context.Canceled) && !errors.Is(err, manager.ErrWaitTimeout) {
			t.Error(err)
		}
	}
	try := func() {
		_, err := m.TryAcquire(bounded(t), key)
		if !errors.Is(err, manager.ErrNotAcquired) && !errors.Is(err, manager.ErrKeeperFailed) {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	theirs := acquire(t, other, key)
	for i := range 8 {
		ctx := newCounted(bounded(t))
		wg.Go(func() {
			var opts []manager.AcquireOption
			switch i {
			case 0: // there is a pause, and a timer for it, however fast the rest is
				opts = append(opts, manager.WithRetryPolicy(manager.LinearRetry(3, time.Millisecond)))
			case 5:
				opts = append(opts, manager.WithWaitTimeout(time.Millisecond))
			case 7:
				opts = append(opts, manager.WithDedicatedSession())
			}
			work(ctx, m, opts...)
		})
		switch i {
		case 0:
			eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 || m.Stats().Waiting == 0 })
			try()
		case 6:
			eventually(t, "it waits", func() bool { ever, _ := ctx.counts(); return ever == 1 })
			ctx.end()()
		}
	}
	release(t, theirs)
	wg.Wait()
	for range 3 {
		work(bounded(t), m)
		work(bounded(t), other)
		work(bounded(t), m, manager.WithDedicatedSession())
	}
	release(t, acquire(t, other, key)) // the server's lock was not left behind
	eventually(t, "unused keys retire", func() bool { return m.Stats().Keys == 0 })
	release(t, acquire(t, m, key))
	if got := m.Stats(); got.Held != 0 || got.Waiting != 0 {
		t.Errorf("%+v", got)
	}
}

// A key whose keeper fails too often is refused for a while, and the other keys are none the worse for it.
func TestTooManyRestarts(t *testing.T) {
	var bad atomic.Int64
	m := open(t, manager.WithRestarts(2, 6*time.Second), manager.WithHook(func(id int64, step string) {
		if id == bad.Load() && step == "try" {
			panic("injected")
		}
	}))
	good := acquire(t, m, "good")
	bad.Store(m.Key("bad").ID())
	for i := range 5 {
		_, err := m.Acquire(bounded(t), "bad")
		wantIs(t, err, manager.ErrKeeperFailed)
		if e := failure(t, err); i > 2 && e.Attempts != 0 {
			t.Errorf("asked although it is refused: %v", err)
		}
	}
	bad.Store(0)
	_, err := m.Acquire(bounded(t), "bad")
	wantIs(t, err, manager.ErrKeeperFailed) // until the window has passed
	wantHeld(t, good)
	for i := range 5 {
		release(t, acquire(t, m, fmt.Sprint("another ", i)))
	}
	eventually(t, "the window passes", func() bool {
		lock, err := m.TryAcquire(bounded(t), "bad")
		if err != nil {
			wantIs(t, err, manager.ErrKeeperFailed)
			return false
		}
		release(t, lock)
		return true
	})
	if got := m.Stats(); got.Restarts != 3 || got.Held != 1 {
		t.Errorf("%+v", got)
	}
	release(t, good)
}

// The holder of a lock whose keeper fails hears that it is lost.
func TestKeeperFailureLosesTheHold(t *testing.T) {
	s := server(t)
	var fail atomic.Bool
	m := open(t, manager.WithHook(func(_ int64, step string) {
		if step == "message acquire" && fail.CompareAndSwap(true, false) {
			panic("injected")
		}
	}))
	lock := acquire(t, m, "k")
	other := acquire(t, m, "other")
	fail.Store(true)
	_, err := m.TryAcquire(bounded(t), "k")
	wantIs(t, err, manager.ErrKeeperFailed)
	wantLost(t, lock)
	wantIs(t, lock.Err(), manager.ErrKeeperFailed)
	wantIs(t, lock.Release(bounded(t)), manager.ErrLost)
	eventually(t, "its lock is released", func() bool { return held(t, s)[lock.ID()] == 0 })
	wantHeld(t, other)
	release(t, acquire(t, m, "k"))
	release(t, other)
	if got := m.Stats(); got.Restarts != 1 || got.Losses["keeper failed"] != 1 {
		t.Errorf("%+v", got)
	}
}
