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

// All who come with one context share a registration with it, which lasts as long as one of them does.
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
	wantRegistered(t, ctx, 1, 1)
	for _, i := range rand.Perm(n - 2) { // the two that came last stay
		release(t, locks[i])
	}
	wantRegistered(t, ctx, 1, 1)

	detached, err := m.Acquire(ctx, "detached", manager.DetachHold())
	if err != nil {
		t.Fatal(err)
	}
	wantRegistered(t, ctx, 1, 1)
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

// After the last has left there is a new registration for who comes next, also while others come and go.
func TestRegistrationAfterTheLastHasLeft(t *testing.T) {
	m := open(t)
	ctx, other := newCounted(bounded(t)), newCounted(bounded(t))
	for round := 1; round <= 3; round++ {
		lock, err := m.Acquire(ctx, "key")
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := m.Acquire(other, "theirs")
		if err != nil {
			t.Fatal(err)
		}
		wantRegistered(t, ctx, round, 1)
		wantRegistered(t, other, round, 1)
		release(t, lock)
		release(t, theirs)
		wantRegistered(t, ctx, round, 0)
		wantRegistered(t, other, round, 0)
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
