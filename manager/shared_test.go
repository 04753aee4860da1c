package manager_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/manager"
)

func acquireShared(t *testing.T, m *manager.Manager, key string, opts ...manager.AcquireOption) *manager.Lock {
	t.Helper()
	lock, err := m.AcquireShared(t.Context(), key, append(opts, manager.WithWaitTimeout(patience))...)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// sharing starts a call of AcquireShared for "k", which is queued when sharing returns.
func sharing(t *testing.T, m *manager.Manager) <-chan acquired {
	t.Helper()
	return waiting(t, m, func() (*manager.Lock, error) { return m.AcquireShared(t.Context(), "k") })
}

// granted is the lock of a call that was started before.
func granted(t *testing.T, call <-chan acquired) *manager.Lock {
	t.Helper()
	got := ended(t, "the grant", call)
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.lock
}

func TestSharedLocksOfAProcessAreOneAtTheServer(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	var locks []*manager.Lock
	for range 50 {
		lock := acquireShared(t, one, "k")
		if !lock.Shared() || lock.Err() != nil {
			t.Fatalf("shared %v, %v", lock.Shared(), lock.Err())
		}
		locks = append(locks, lock)
	}
	if n := one.Stats().GrantsServer; n != 1 {
		t.Errorf("the server was asked for %d locks", n)
	}
	modes := func() string {
		var b strings.Builder
		for _, row := range query(t, s, "SELECT mode, count(*) FROM pg_locks WHERE locktype = 'advisory' GROUP BY 1 ORDER BY 1") {
			fmt.Fprint(&b, row)
		}
		return b.String()
	}
	if got := modes(); got != "[ShareLock 1]" {
		t.Errorf("the server has %s", got)
	}
	elsewhere := acquireShared(t, two, "k")
	if got := modes(); got != "[ShareLock 2]" {
		t.Errorf("the server has %s", got)
	}
	for _, m := range []*manager.Manager{one, two} {
		_, err := m.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
	}
	release(t, elsewhere)
	for i, lock := range locks {
		_, err := two.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
		if err := lock.Release(bounded(t)); err != nil {
			t.Fatalf("release %d: %v", i, err)
		}
		wantIs(t, lock.Err(), manager.ErrReleased)
	}
	release(t, acquire(t, two, "k"))
	err := two.DoShared(bounded(t), "k", func(ctx context.Context) error {
		if got := modes(); got != "[ShareLock 1]" {
			t.Errorf("the server has %s", got)
		}
		_, err := two.AcquireShared(ctx, "k")
		wantIs(t, err, manager.ErrHeld)
		_, err = two.Acquire(ctx, "k")
		wantIs(t, err, manager.ErrHeld)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := modes(); got != "" {
		t.Errorf("left at the server: %s", got)
	}
}

// Whoever waits for the exclusive lock in the same process is not passed by those who come later.
func TestALocalWriterIsNotPassed(t *testing.T) {
	m := open(t)
	reader := acquireShared(t, m, "k")
	writer := acquiring(t.Context(), t, m, "k")
	_, err := m.TryAcquireShared(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	if e := failure(t, err); !e.Shared || !strings.Contains(err.Error(), `acquire shared "k"`) {
		t.Errorf("%v", err)
	}
	later := []<-chan acquired{sharing(t, m), sharing(t, m)}
	release(t, reader)
	lock := granted(t, writer)
	for _, call := range later {
		if isEnded(call) {
			t.Fatal("a reader shares the lock with a writer")
		}
	}
	release(t, lock)
	first, second := granted(t, later[0]), granted(t, later[1])
	release(t, first)
	release(t, second)
}

// A writer that gives up lets those in who queued behind it, although others hold the lock.
func TestReadersGoOnWhenTheWriterGivesUp(t *testing.T) {
	m := open(t)
	reader := acquireShared(t, m, "k")
	ctx, cancel := context.WithCancel(t.Context())
	writer := acquiring(ctx, t, m, "k")
	later := sharing(t, m)
	cancel()
	wantIs(t, ended(t, "the writer", writer).err, context.Canceled)
	release(t, granted(t, later))
	release(t, reader)
}

// readersAreKeptOut waits until nobody joins those who share "k".
func readersAreKeptOut(t *testing.T, m *manager.Manager) {
	t.Helper()
	eventually(t, "no reader is let in any more", func() bool {
		lock, err := m.TryAcquireShared(bounded(t), "k")
		if err == nil {
			release(t, lock)
			return false
		}
		wantIs(t, err, manager.ErrNotAcquired)
		return true
	})
}

// A writer in another process is in the server's queue: those who come later are not let in, there or here, once that is known here.
func TestARemoteWriterIsNotPassed(t *testing.T) {
	s := server(t)
	one, two, three := openOn(t, s), openOn(t, s, oneSlice()...), openOn(t, s)
	reader := acquireShared(t, one, "k")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	writer := acquiring(ctx, t, two, "k")
	eventually(t, "the writer is in the server's queue", func() bool { return queued(t, s, reader.ID()) == 1 })
	readersAreKeptOut(t, one)
	_, err := three.TryAcquireShared(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	later := sharing(t, one)
	release(t, reader)
	lock := granted(t, writer)
	if isEnded(later) {
		t.Fatal("a reader shares the lock with a writer")
	}
	release(t, lock)
	release(t, granted(t, later))
}

// A writer in another process gives up: those who queued here are let in, although others still hold the lock.
func TestReadersGoOnWhenARemoteWriterGivesUp(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	reader := acquireShared(t, one, "k")
	ctx, cancel := context.WithCancel(t.Context())
	writer := acquiring(ctx, t, two, "k")
	readersAreKeptOut(t, one)
	later := sharing(t, one)
	cancel()
	wantIs(t, ended(t, "the writer", writer).err, context.Canceled)
	release(t, granted(t, later))
	release(t, reader)
}

// The loss of the session is the loss of all who share the lock on it.
func TestAllWhoShareALockLoseIt(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	locks := []*manager.Lock{acquireShared(t, m, "k"), acquireShared(t, m, "k"), acquireShared(t, m, "k")}
	var done []<-chan struct{} // asked for before: it is their keeper that closes them
	for _, lock := range locks {
		done = append(done, lock.Done())
	}
	for _, pid := range held(t, s) {
		terminate(t, s, pid)
	}
	for i, lock := range locks {
		ended(t, "the loss", done[i])
		wantIs(t, lock.Err(), manager.ErrLost)
		wantIs(t, lock.Release(bounded(t)), manager.ErrLost)
	}
	release(t, acquire(t, m, "k"))
}

// Close ends every hold, and waits for the functions of DoShared.
func TestCloseEndsSharedHolds(t *testing.T) {
	m := open(t)
	begun, finish := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- m.DoShared(t.Context(), "k", func(ctx context.Context) error {
			close(begun)
			<-ctx.Done()
			<-finish
			return context.Cause(ctx)
		})
	}()
	<-begun
	lock := acquireShared(t, m, "k")
	closed := make(chan struct{})
	go func() {
		closeNow(t, m)
		close(closed)
	}()
	ended(t, "the end of the hold", lock.Done())
	wantIs(t, lock.Err(), manager.ErrClosed)
	if isEnded(closed) {
		t.Error("Close has returned, and a function runs")
	}
	close(finish)
	wantIs(t, ended(t, "DoShared", done), manager.ErrClosed)
	ended(t, "Close", closed)
}

func TestSharedLocksRefuseAMinimumHold(t *testing.T) {
	m := open(t)
	_, err := m.AcquireShared(bounded(t), "k", manager.WithMinHold(time.Second))
	if err == nil || !strings.Contains(err.Error(), "WithMinHold is not for a shared lock") {
		t.Errorf("%v", err)
	}
	_, err = m.AcquireShared(bounded(t), "")
	wantIs(t, err, manager.ErrEmptyKey)
}

// A lock of its own session is shared with those on other sessions all the same.
func TestSharedDedicatedSession(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	own := acquireShared(t, m, "k", manager.WithDedicatedSession())
	beside := acquireShared(t, m, "k")
	_, err := m.TryAcquire(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, own)
	_, err = openOn(t, s).TryAcquire(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, beside)
}

// A circle that goes through one of several who share a lock is told.
func TestDeadlockThroughASharedLock(t *testing.T) {
	m := open(t)
	other, mine := acquireShared(t, m, "shared"), acquireShared(t, m, "shared")
	exclusive := acquire(t, m, "exclusive")
	waits := acquiring(mine.Context(), t, m, "exclusive")
	_, err := m.Acquire(exclusive.Context(), "shared")
	wantIs(t, err, manager.ErrDeadlock)
	release(t, exclusive)
	release(t, granted(t, waits))
	release(t, other)
	release(t, mine)
}

// Readers and writers of some keys in three managers, whose contexts end at any moment: no writer is ever beside anybody.
func TestReadersAndWritersUnderCancellation(t *testing.T) {
	s := server(t)
	var ms []*manager.Manager
	for range 3 {
		ms = append(ms, openOn(t, s, manager.WithHandOffLimit(5*time.Millisecond, 20)))
	}
	const keys, workers, rounds = 4, 60, 40
	type oracle struct{ readers, writers atomic.Int32 }
	var oracles [keys]oracle
	var grants [2]atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 4711))
			m := ms[w%len(ms)]
			for range rounds {
				k := r.IntN(keys)
				o, key := &oracles[k], fmt.Sprint("key ", k)
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(4) == 0 {
					time.AfterFunc(time.Duration(r.IntN(20))*time.Millisecond, cancel)
				}
				work := func(shared bool) func(context.Context) error {
					return func(context.Context) error { // which does not end with its context: the hold does not either
						if shared {
							o.readers.Add(1)
							defer o.readers.Add(-1)
							grants[0].Add(1)
						} else {
							if o.writers.Add(1) != 1 || o.readers.Load() != 0 {
								t.Errorf("%s: a writer is not alone", key)
							}
							defer o.writers.Add(-1)
							grants[1].Add(1)
						}
						<-time.After(time.Duration(r.IntN(500)) * time.Microsecond)
						if shared && o.writers.Load() != 0 || !shared && o.readers.Load() != 0 {
							t.Errorf("%s: a writer is not alone", key)
						}
						return nil
					}
				}
				var err error
				if r.IntN(10) < 7 {
					err = m.DoShared(ctx, key, work(true))
				} else {
					err = m.Do(ctx, key, work(false))
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	t.Logf("%d shared and %d exclusive grants", grants[0].Load(), grants[1].Load())
	if grants[0].Load() == 0 || grants[1].Load() == 0 {
		t.Error("one of the modes was never granted")
	}
}

// With two ids for each key both are shared, so that readers and writers of either function are in each other's way, and of both.
func TestSharedWithBothIDs(t *testing.T) {
	s := server(t)
	both := openOn(t, s, manager.WithHashes(hashing.Both(hashing.FNV1a, hashing.Postgres)))
	for _, one := range []*manager.Manager{openOn(t, s), openOn(t, s, manager.WithHash(hashing.Postgres))} {
		mine, theirs := acquireShared(t, both, "k"), acquireShared(t, one, "k")
		for _, m := range []*manager.Manager{both, one} {
			_, err := m.TryAcquire(bounded(t), "k")
			wantIs(t, err, manager.ErrNotAcquired)
		}
		release(t, mine)
		_, err := both.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
		release(t, theirs)
		writer := acquire(t, both, "k")
		_, err = one.TryAcquireShared(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
		release(t, writer)
		writer = acquire(t, one, "k")
		_, err = both.TryAcquireShared(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
		release(t, writer)
	}
}
