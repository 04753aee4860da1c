package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The claim that closes a circle is told, with the keys of the circle; the others go on when its holder gives up.
func TestDeadlockIsTold(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := open(t)
			var locks []*manager.Lock
			var waits []<-chan acquired
			for i := range n {
				locks = append(locks, acquire(t, m, fmt.Sprint("key ", i)))
			}
			for i := range n - 1 { // each waits for the next one's
				waits = append(waits, acquiring(locks[i].Context(), t, m, fmt.Sprint("key ", i+1)))
			}
			last := locks[n-1].Context()
			_, err := m.TryAcquire(last, "key 0") // which does not wait
			wantIs(t, err, manager.ErrNotAcquired)
			_, err = m.Acquire(last, "key 0")
			wantIs(t, err, manager.ErrDeadlock)
			for i := range n {
				if key := fmt.Sprintf("%q", fmt.Sprint("key ", i)); !strings.Contains(err.Error(), key) {
					t.Errorf("%v does not name %s", err, key)
				}
			}
			wantIs(t, m.Do(last, "key 0", func(context.Context) error { return nil }), manager.ErrDeadlock)
			_, err = m.AcquireAll(last, "key 0", "another")
			wantIs(t, err, manager.ErrDeadlock)
			for i := n - 1; i > 0; i-- {
				release(t, locks[i])
				got := ended(t, "the grant", waits[i-1])
				if got.err != nil {
					t.Fatal(got.err)
				}
				release(t, got.lock)
			}
			release(t, locks[0])
		})
	}
}

// A wait that has ended, by a grant or without one, closes no circle; nor does one of somebody else's.
func TestNoDeadlockWhereNobodyWaitsAnyMore(t *testing.T) {
	m := open(t)
	a, b := acquire(t, m, "a"), acquire(t, m, "b")
	for range 3 {
		_, err := m.Acquire(a.Context(), "b", manager.WithWaitTimeout(time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
		_, err = m.Acquire(b.Context(), "a", manager.WithWaitTimeout(time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
	}
	free := acquiring(t.Context(), t, m, "b") // not inside of a
	_, err := m.Acquire(b.Context(), "a", manager.WithWaitTimeout(time.Millisecond))
	wantIs(t, err, manager.ErrWaitTimeout)
	release(t, b)
	got := ended(t, "the grant", free)
	inner, err := m.Acquire(got.lock.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Acquire(a.Context(), "c", manager.WithWaitTimeout(time.Millisecond))
	wantIs(t, err, manager.ErrWaitTimeout)
	for _, lock := range []*manager.Lock{inner, got.lock, a} {
		release(t, lock)
	}
}

// A key of a set is a hold like any other.
func TestDeadlockWithASet(t *testing.T) {
	m := open(t)
	set, a := acquireAll(t, m, "x", "y", "z"), acquire(t, m, "a")
	for _, key := range set.Keys() {
		ctx, cancel := context.WithCancel(a.Context())
		waiting := acquiring(ctx, t, m, key)
		_, err := m.Acquire(set.Context(), "a")
		wantIs(t, err, manager.ErrDeadlock)
		cancel()
		wantIs(t, ended(t, "the end of the wait", waiting).err, context.Canceled)
	}
	releaseAll(t, set)
	release(t, a)
}

// Many goroutines take two or three keys one by one, in any order. Each circle is told: nobody waits for ever.
func TestDeadlocksOfMany(t *testing.T) {
	m := open(t, patientHealth)
	const workers, rounds, keys = 30, 30, 8
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var told atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for done := 0; done < rounds; {
				err := nested(ctx, m, random, 2+random.IntN(2), keys)
				switch {
				case errors.Is(err, manager.ErrDeadlock):
					told.Add(1)
				case err != nil && !errors.Is(err, manager.ErrHeld):
					t.Error(err)
					return
				default:
					done++
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d circles were told", told.Load())
}

func nested(ctx context.Context, m *manager.Manager, random *rand.Rand, depth, keys int) error {
	if depth == 0 {
		return nil
	}
	return m.Do(ctx, fmt.Sprint("key ", random.IntN(keys)), func(ctx context.Context) error {
		return nested(ctx, m, random, depth-1, keys)
	})
}
