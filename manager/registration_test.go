package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// All who come with one context share a registration with it, but for the first, who could not know that there would be
// others.
func TestOneRegistrationForAllUnderOneContext(t *testing.T) {
	s, m := server(t), open(t)
	ctx := newCounted(bounded(t))
	const n = 30
	var locks []*manager.Lock
	for i := range n {
		lock, err := m.Acquire(ctx, fmt.Sprint("key", i))
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, lock)
	}
	wantRegistered(t, ctx, 2, 2)
	for _, i := range rand.Perm(n - 2) { // the two that came last stay
		release(t, locks[i])
	}
	wantRegistered(t, ctx, 2, 1)

	detached, err := m.Acquire(ctx, "detached", manager.DetachHold())
	if err != nil {
		t.Fatal(err)
	}
	wantRegistered(t, ctx, 2, 1)
	ctx.end()()
	for _, lock := range locks[n-2:] {
		ended(t, "the end of a hold", lock.Lost())
		if err := lock.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s ended by %v", lock.Key(), err)
		}
	}
	eventually(t, "what the context held is released", func() bool { return len(held(t, s)) == 1 })
	if err := detached.Err(); err != nil {
		t.Errorf("the detached hold ended: %v", err)
	}
	release(t, detached)
}

// The registration of a context that is used again is kept when the last has left, until the manager is closed.
func TestRegistrationIsKeptFromTheSecondUse(t *testing.T) {
	m := open(t)
	ctx, other := newCounted(bounded(t)), newCounted(bounded(t))
	for round := range 4 {
		lock, err := m.Acquire(ctx, "key")
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := m.Acquire(other, "theirs")
		if err != nil {
			t.Fatal(err)
		}
		release(t, lock)
		if err := theirs.Release(other); err != nil {
			t.Error(err)
		}
		wantRegistered(t, ctx, min(round, 1)+1, min(round, 1))
		wantRegistered(t, other, min(round, 1)+1, min(round, 1))
	}
	closeNow(t, m)
	wantRegistered(t, ctx, 2, 0)
	wantRegistered(t, other, 2, 0)
}

// A kept registration ends with its context, and a holder under it hears of that.
func TestKeptRegistrationEndsWithItsContext(t *testing.T) {
	m, free := open(t), bounded(t)
	ctx := newCounted(free)
	for range 3 {
		lock, err := m.Acquire(ctx, "key")
		if err != nil {
			t.Fatal(err)
		}
		release(t, lock)
	}
	wantRegistered(t, ctx, 2, 1)
	lock, err := m.Acquire(ctx, "key")
	if err != nil {
		t.Fatal(err)
	}
	ctx.end()()
	ended(t, "the end of the hold", lock.Lost())
	if err := lock.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended by %v", err)
	}
	release(t, acquire(t, m, "key"))
}

// A release that the server does not confirm returns when its context ends: with the acquisition's own context too, and
// with several at once.
func TestReleaseEndsWithItsContext(t *testing.T) {
	var n network
	m := n.manager(t, server(t))
	for _, uses := range []int{0, 3} { // a registration of its own, and one that is kept
		ctx, cancel := context.WithCancel(bounded(t))
		for range uses {
			lock, err := m.Acquire(ctx, "before")
			if err != nil {
				t.Fatal(err)
			}
			release(t, lock)
		}
		lock, err := m.Acquire(ctx, "key")
		if err != nil {
			t.Fatal(err)
		}
		n.deaf.shut()
		returned := make(chan error, 3)
		for range cap(returned) {
			go func() { returned <- lock.Release(ctx) }()
		}
		eventually(t, "the release has begun", func() bool { return lock.Err() != nil })
		select {
		case err := <-returned:
			t.Errorf("a release returned %v, and the server has not answered", err)
		default:
		}
		cancel()
		for range cap(returned) {
			if err := ended(t, "the release", returned); !errors.Is(err, context.Canceled) {
				t.Errorf("a release whose context has ended returned %v", err)
			}
		}
		n.deaf.open()
		if err := lock.Release(bounded(t)); errors.Is(err, context.Canceled) {
			t.Errorf("the outcome is %v", err)
		}
	}
}

// Contexts that many share end at any moment: every call returns, and every lock whose context has ended is released by
// that alone.
func TestSharedContextsEndAtAnyMoment(t *testing.T) {
	s, m, free := server(t), open(t), bounded(t)
	const contexts, workers, rounds = 4, 8, 30
	var granted, kept atomic.Int64
	var all sync.WaitGroup
	for c := range contexts {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(free)
				var crowd sync.WaitGroup
				for w := range workers {
					crowd.Go(func() {
						for n := 0; ; n++ {
							lock, err := m.Acquire(ctx, fmt.Sprint("key", (c+w+n)%workers))
							if err != nil {
								if !errors.Is(err, context.Canceled) {
									t.Error(err)
								}
								return
							}
							if granted.Add(1); (w+n)%5 == 0 {
								kept.Add(1)
								cancel()
								continue // and the lock is left to its context
							}
							if err := lock.Release(free); err != nil && !errors.Is(err, context.Canceled) {
								t.Error(err)
							}
						}
					})
				}
				crowd.Wait()
				cancel()
			}
		})
	}
	all.Wait()
	if granted.Load() == 0 || kept.Load() < contexts*rounds {
		t.Errorf("%d grants, %d of them left to their contexts", granted.Load(), kept.Load())
	}
	eventually(t, "nothing is held", func() bool { return len(held(t, s)) == 0 })
}
