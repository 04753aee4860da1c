package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

func acquireAll(t *testing.T, m *manager.Manager, keys ...string) *manager.LockSet {
	t.Helper()
	set, err := m.Keys(keys...).Acquire(t.Context(), manager.WithWaitTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func releaseAll(t *testing.T, set *manager.LockSet) {
	t.Helper()
	if err := set.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestAcquireAll(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	set := acquireAll(t, m, "c", "a", "b", "a")
	if got := slices.Sorted(slices.Values(set.Keys())); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("the keys are %v", got)
	}
	locks := held(t, s)
	for _, key := range []string{"a", "b", "c"} {
		if locks[m.Key(key).ID()] == 0 {
			t.Errorf("%s is not locked at the server", key)
		}
		_, err := m.Acquire(set.Context(), key)
		wantIs(t, err, manager.ErrHeld)
	}
	_, err := m.Keys("x", "b").Acquire(set.Context())
	wantIs(t, err, manager.ErrHeld)
	if set.Err() != nil || isEnded(set.Done()) || set.Context().Err() != nil {
		t.Errorf("it is held, and %v", set.Err())
	}
	releaseAll(t, set)
	releaseAll(t, set)
	wantIs(t, set.Err(), manager.ErrReleased)
	wantIs(t, context.Cause(set.Context()), manager.ErrReleased)
	if locks := held(t, s); len(locks) > 0 {
		t.Errorf("left at the server: %v", locks)
	}
}

// Two names with one id are one lock, which no session may take twice.
func TestAcquireAllFoldsCollisions(t *testing.T) {
	m := open(t, manager.WithHash(func(name string) int64 { return int64(len(name)) }))
	set := acquireAll(t, m, "aa", "bb", "c")
	if n := len(set.Keys()); n != 2 {
		t.Errorf("%d keys, should be 2", n)
	}
	releaseAll(t, set)
}

// While one key is waited for nothing else is held; when it is free all are taken.
func TestAcquireAllHoldsNothingWhileItWaits(t *testing.T) {
	s := server(t)
	m, other := openOn(t, s), openOn(t, s)
	for _, blocked := range []string{"a", "b", "c"} {
		blocker := acquire(t, other, blocked)
		_, err := m.Keys("a", "b", "c").TryAcquire(bounded(t))
		wantIs(t, err, manager.ErrNotAcquired)
		if e := failure(t, err); e.Key != blocked {
			t.Errorf("the error is about %q, and %q is held", e.Key, blocked)
		}
		_, err = m.Keys("a", "b", "c").Acquire(bounded(t), manager.WithWaitTimeout(0))
		wantIs(t, err, manager.ErrWaitTimeout)
		_, err = m.Keys("a", "b", "c").Acquire(bounded(t), manager.WithWaitTimeout(50*time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
		done := make(chan *manager.LockSet, 1)
		go func() {
			set, err := m.AcquireAll(bounded(t), "a", "b", "c")
			if err != nil {
				t.Error(err)
			}
			done <- set
		}()
		eventually(t, "it waits, and holds nothing", func() bool { return queued(t, s, blocker.ID()) == 1 && len(held(t, s)) == 1 })
		release(t, blocker)
		set := ended(t, "the grant", done)
		if n := len(held(t, s)); n != 3 {
			t.Errorf("%d locks are held at the server", n)
		}
		releaseAll(t, set)
	}
}

// What was taken and given back was never held by anybody: no minimum hold begins.
func TestAcquireAllReleasesWithoutAMinimumHold(t *testing.T) {
	s := server(t)
	m, other := openOn(t, s), openOn(t, s)
	keys := []string{"a", "b", "c"}
	for _, blocked := range keys {
		blocker := acquire(t, other, blocked)
		_, err := m.Keys(keys...).TryAcquire(bounded(t), manager.WithMinHold(time.Hour))
		wantIs(t, err, manager.ErrNotAcquired)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := m.Keys(keys...).Acquire(ctx, manager.WithMinHold(time.Hour))
			done <- err
		}()
		eventually(t, "it waits", func() bool { return queued(t, s, blocker.ID()) == 1 })
		cancel()
		wantIs(t, ended(t, "the return of the call", done), context.Canceled)
		eventually(t, "nothing else is locked at the server", func() bool { return len(held(t, s)) == 1 })
		release(t, blocker)
	}
}

// Who has met others twice takes the locks in order, and keeps what it has: so it is served at last.
func TestAcquireAllTakesTheLocksInOrderAtLast(t *testing.T) {
	s := server(t)
	m, other := openOn(t, s), openOn(t, s)
	names := m.Keys("a", "b").Names()
	first, second := acquire(t, other, names[0]), acquire(t, other, names[1])
	done := make(chan *manager.LockSet, 1)
	go func() {
		set, err := m.AcquireAll(bounded(t), "a", "b")
		if err != nil {
			t.Error(err)
		}
		done <- set
	}()
	eventually(t, "it waits for the first", func() bool { return queued(t, s, first.ID()) == 1 })
	theirs := held(t, s)[first.ID()]
	release(t, first)
	eventually(t, "it holds the first and waits for the second", func() bool {
		pid := held(t, s)[first.ID()]
		return pid != 0 && pid != theirs && queued(t, s, second.ID()) == 1
	})
	release(t, second)
	releaseAll(t, ended(t, "the grant", done))
}

// The end of the context, the loss of any of the sessions and Close each end all of it.
func TestLockSetEndsAsOne(t *testing.T) {
	s := server(t)
	t.Run("context", func(t *testing.T) {
		m := openOn(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		set, err := m.AcquireAll(ctx, "a", "b", "c")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		ended(t, "the end of the hold", set.Done())
		wantIs(t, set.Err(), context.Canceled)
		eventually(t, "all is released", func() bool { return len(held(t, s)) == 0 })
		if err := set.Release(bounded(t)); err != nil {
			t.Error(err)
		}
	})
	t.Run("loss", func(t *testing.T) {
		m := openOn(t, s, manager.WithMaxLocksPerSession(2)) // so that the locks are on different sessions
		for i := range 4 {
			set := acquireAll(t, m, "a", "b", "c", "d", "e", "f")
			locks := held(t, s)
			keys := set.Keys()
			terminate(t, s, locks[m.Key(keys[i]).ID()])
			ended(t, "the end of the hold", set.Done())
			wantIs(t, set.Err(), manager.ErrLost)
			wantIs(t, context.Cause(set.Context()), manager.ErrLost)
			wantIs(t, set.Release(bounded(t)), manager.ErrLost)
			eventually(t, "all is released", func() bool { return len(held(t, s)) == 0 })
		}
	})
	t.Run("close", func(t *testing.T) {
		m := openOn(t, s)
		set := acquireAll(t, m, "a", "b", "c")
		closeNow(t, m)
		wantIs(t, set.Err(), manager.ErrClosed)
		wantIs(t, context.Cause(set.Context()), manager.ErrClosed)
		_, err := m.AcquireAll(bounded(t), "a", "b")
		wantIs(t, err, manager.ErrClosed)
	})
}

// closesLate is a manager whose keeper of one key does not know of Close before the test says so. released is told the ids of those keys
// whose locks are released at the server meanwhile.
type closesLate struct {
	m        *manager.Manager
	id       atomic.Int64
	closing  chan int64 // an id for each keeper that hears of Close
	late     chan struct{}
	released chan int64
}

func openClosesLate(t *testing.T, s *pgserver.Server, opts ...manager.Option) *closesLate {
	t.Helper()
	c := &closesLate{closing: make(chan int64, 10), late: make(chan struct{}), released: make(chan int64, 10)}
	c.m = openOn(t, s, append(opts, manager.WithHook(func(id int64, step string) {
		switch {
		case step == "message closing":
			if c.closing <- id; id == c.id.Load() {
				<-c.late
			}
		case step == "unlock" && c.id.Load() != 0 && !isEnded(c.late):
			c.released <- id
		}
	}))...)
	return c
}

// close closes the manager, which holds the locks of the ids. The keeper of the first hears of it late.
func (c *closesLate) close(t *testing.T, s *pgserver.Server, ids ...int64) {
	t.Helper()
	c.id.Store(ids[0])
	closed := make(chan struct{})
	go func() { defer close(closed); closeNow(t, c.m) }()
	for range ids {
		ended(t, "a keeper hears of Close", c.closing)
	}
	for range 10 { // the others would take no longer to unlock
		held(t, s)
	}
	if len(c.released) > 0 {
		t.Errorf("%d locks were released before the hold had ended", len(c.released))
	}
	close(c.late)
	ended(t, "the return of Close", closed)
}

func TestLockSetReleasesNothingBeforeItsEnd(t *testing.T) {
	s := server(t)
	c := openClosesLate(t, s)
	set := acquireAll(t, c.m, "a", "b", "c")
	var ids []int64
	for _, key := range set.Keys() { // the first is the lead
		ids = append(ids, c.m.Key(key).ID())
	}
	c.close(t, s, ids...)
	wantIs(t, set.Err(), manager.ErrClosed)
}

func TestAcquireAllRefusesBadInput(t *testing.T) {
	m := open(t)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.AcquireAll(canceled, "a", "b")
	wantIs(t, err, context.Canceled)
	_, err = m.AcquireAll(nil, "a") //nolint:staticcheck // that is the test
	wantIs(t, err, manager.ErrNilContext)
	_, err = m.AcquireAll(bounded(t), "a", "")
	wantIs(t, err, manager.ErrEmptyKey)
	if _, err = m.AcquireAll(bounded(t)); err == nil {
		t.Error("an empty set was taken")
	}
	if _, err = m.Keys("a").Acquire(bounded(t), manager.WithDedicatedSession()); err == nil {
		t.Error("a session of its own was taken for a set")
	}
	if n := m.Stats(); n.Held != 0 || n.Attempts != 0 {
		t.Errorf("%d locks are held, after %d attempts", n.Held, n.Attempts)
	}
}

// Two thousand keys are one call, and few statements.
func TestAcquireAllOfManyKeys(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	keys := make([]string, 2000)
	for i := range keys {
		keys[i] = fmt.Sprint("key ", i)
	}
	releaseAll(t, acquireAll(t, m, keys...)) // which opens the session
	before := m.Stats().Batches
	set := acquireAll(t, m, keys...)
	after := m.Stats().Batches
	if n := len(held(t, s)); n != len(keys) {
		t.Errorf("%d locks are held at the server", n)
	}
	sent, locks := after.Count-before.Count, after.Operations-before.Operations
	if locks != uint64(len(keys)) || sent >= locks {
		t.Errorf("%d statements for %d locks", sent, locks)
	}
	t.Logf("%d statements for %d locks", sent, locks)
	releaseAll(t, set)
}

// Random sets that overlap, by many goroutines of two managers: no deadlock, everybody is served, and no key is held twice.
func TestAcquireAllOfOverlappingSets(t *testing.T) {
	s := server(t)
	managers := []*manager.Manager{openOn(t, s, patientHealth), openOn(t, s, patientHealth)}
	workers, rounds := 100, 4
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		workers, rounds = 1000, 5
	}
	const keys = 40
	var holders [keys]atomic.Int32
	var longest atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	for w := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 13))
			for range rounds {
				var names []string
				var numbers []int
				for range 1 + random.IntN(5) {
					n := random.IntN(keys)
					if !slices.Contains(numbers, n) {
						numbers, names = append(numbers, n), append(names, fmt.Sprint("key ", n))
					}
				}
				begun := time.Now()
				set, err := managers[w%2].AcquireAll(ctx, names...)
				if err != nil {
					t.Error(err)
					return
				}
				longest.Store(max(longest.Load(), int64(time.Since(begun))))
				for _, n := range numbers {
					if holders[n].Add(1) != 1 {
						t.Errorf("key %d is held twice", n)
					}
				}
				for _, n := range numbers {
					holders[n].Add(-1)
				}
				if err := set.Release(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d goroutines, %d sets of up to 5 of %d keys each: the longest wait was %v", workers, rounds, keys,
		time.Duration(longest.Load()).Round(time.Millisecond))
}
