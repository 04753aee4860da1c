package manager_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The eight bugs of the helper that this library replaced. Each test fails when its bug is put back.

// Bug 1: after one failed attempt to connect every later acquire failed.
func TestBug1_FailedConnectMakesNoLaterAcquireFail(t *testing.T) {
	s := server(t)
	var n network
	m := n.manager(t, s, manager.WithRetry(attempts(2)))
	for round := range 3 {
		terminateAll(t, s, m)
		n.failWith(refused)
		_, shared := m.Acquire(bounded(t), "k")
		_, dedicated := m.Acquire(bounded(t), "dedicated", manager.WithDedicatedSession())
		for _, err := range []error{shared, dedicated} {
			wantIs(t, err, manager.ErrAttempts)
		}
		n.failWith(nil)
		release(t, acquire(t, m, "k"))
		release(t, acquire(t, m, "dedicated", manager.WithDedicatedSession()))
		lock, err := m.TryAcquire(bounded(t), fmt.Sprint("another ", round))
		if err != nil {
			t.Fatal(err)
		}
		release(t, lock)
	}
}

// Bug 2: a lock counted as held when the server had been asked for it, before it had answered.
func TestBug2_NeverHeldBeforeTheServerSaidSo(t *testing.T) {
	s := breakable(t)
	var n network
	m, other := n.manager(t, s), openOn(t, s)
	n.deaf.shut() // the server has it, and its answer is on the way
	call := acquiring(bounded(t), t, m, "k")
	eventually(t, "the server has granted it", func() bool { return held(t, s)[m.Key("k").ID()] != 0 })
	if got := m.Stats(); len(call) != 0 || got.Held != 0 || got.GrantsServer != 0 {
		t.Errorf("held before the answer has come: %+v", got)
	}
	n.deaf.open()
	got := ended(t, "the answer", call)
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)

	thaw := freeze(t, s) // the server hangs in the very call
	for _, opts := range [][]manager.AcquireOption{nil, {manager.WithDedicatedSession()}} {
		ctx, cancel := context.WithTimeout(bounded(t), 100*time.Millisecond)
		_, err := m.Acquire(ctx, "k", opts...)
		wantIs(t, err, context.DeadlineExceeded)
		_, err = m.TryAcquire(ctx, "k2", opts...)
		wantIs(t, err, context.DeadlineExceeded)
		cancel()
	}
	if got := m.Stats(); got.Held != 0 || got.GrantsServer != 1 {
		t.Errorf("%+v", got)
	}
	thaw()
	for _, key := range []string{"k", "k2"} { // whatever the server made of it is undone
		release(t, acquire(t, other, key))
	}
}

// Bug 3: each attempt registered with the caller's context, and only the last was taken back.
func TestBug3_OneContextRegistrationOverManyAttempts(t *testing.T) {
	s := server(t)
	var n network
	m := n.manager(t, s, manager.WithRetry(manager.LinearRetry(20, time.Millisecond)))
	other := open(t)
	ctx := newCounted(bounded(t))
	theirs := acquire(t, other, "k")
	waiting := acquiring(ctx, t, m, "k")
	eventually(t, "many attempts", func() bool { return queued(t, s, theirs.ID()) == 1 })
	if got := m.Stats().Attempts; got < 20 {
		t.Errorf("%d attempts", got)
	}
	wantRegistered(t, ctx, 1, 1)
	release(t, theirs)
	release(t, ended(t, "the grant", waiting).lock)
	wantRegistered(t, ctx, 1, 0)

	terminateAll(t, s, m)
	n.failWith(refused)
	ctx = newCounted(bounded(t))
	_, err := m.Acquire(ctx, "k")
	if e := failure(t, err); e.Attempts != 20 {
		t.Errorf("%d attempts", e.Attempts)
	}
	wantRegistered(t, ctx, 1, 0)
}

// Bug 4: the id that was unlocked was computed anew, and not always the one that was locked.
func TestBug4_TheIDUnlockedIsTheIDLocked(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithNamespace("tenant"))
	ctx := bounded(t)
	const n = 60
	want := make(map[int64]bool)
	var locks []*manager.Lock
	for i := range n {
		opts := []manager.AcquireOption{}
		if i%20 == 0 {
			opts = append(opts, manager.WithDedicatedSession())
		}
		lock := acquire(t, m, fmt.Sprintf("key \x00\xff %d", i), opts...)
		locks = append(locks, lock)
		want[lock.ID()] = true
	}
	check := func() {
		t.Helper()
		if got := held(t, s); len(got) != len(want) || !maps.EqualFunc(got, want, func(pid int, _ bool) bool { return pid != 0 }) {
			t.Errorf("the server has %d locks, want %d: %v and %v", len(got), len(want), slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
	check()
	for _, some := range [][]*manager.Lock{locks[:1], locks[1:2], locks[2:40], locks[40:]} { // alone, and in batches
		var wg sync.WaitGroup
		for _, lock := range some {
			delete(want, lock.ID())
			wg.Go(func() {
				if err := lock.Release(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		check()
	}
}

// Bug 5: the lock was a transaction's, and gone with the next commit; its unlock then returned false.
func TestBug5_LockOutlivesTransactionsOnItsSession(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithSharedSessions(1), manager.WithHealth(20*time.Millisecond, 10*time.Second))
	for _, opts := range [][]manager.AcquireOption{nil, {manager.WithDedicatedSession()}} {
		lock := acquire(t, m, "k", opts...)
		pid := held(t, s)[lock.ID()]
		if pid == 0 {
			t.Fatal("the server has not the lock, which was granted a moment ago")
		}
		before := m.Stats()
		for i := range 20 { // each is a transaction on the session that has the lock, where it is the shared one
			release(t, acquire(t, m, fmt.Sprint("other ", i)))
		}
		eventually(t, "and so is each health question", func() bool {
			return m.Stats().RoundTrip.Count > before.RoundTrip.Count+60
		})
		if got := held(t, s)[lock.ID()]; got != pid {
			t.Errorf("the lock was with %d and is with %d", pid, got)
		}
		wantHeld(t, lock)
		release(t, lock) // nil: the server said true
	}
}

// Bug 6: a call went on waiting for a server that hung when its context had long ended; and where the context did reach
// the clean-up, that was not done.
func TestBug6_ContextBoundsTheWaitAndNotTheCleanUp(t *testing.T) {
	s := breakable(t)
	const trust = 2 * patience // so that nothing returns because the server is given up
	m := openOn(t, s, manager.WithHealth(trust/2, trust/2), manager.WithConnectTimeout(trust))
	other := openOn(t, s)
	lock := acquire(t, m, "held")
	cancelled, cancel := context.WithCancel(bounded(t))
	cancelledLock, err := m.Acquire(cancelled, "held and cancelled")
	if err != nil {
		t.Fatal(err)
	}
	releasedLock := acquire(t, m, "released with an ended context")
	thaw := freeze(t, s)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	cancel()
	wantIs(t, releasedLock.Release(cancelled), context.Canceled)
	for name, call := range map[string]func(ctx context.Context) error{
		"Acquire":    func(ctx context.Context) error { _, err := m.Acquire(ctx, "a"); return err },
		"TryAcquire": func(ctx context.Context) error { _, err := m.TryAcquire(ctx, "b"); return err },
		"dedicated": func(ctx context.Context) error {
			_, err := m.Acquire(ctx, "c", manager.WithDedicatedSession())
			return err
		},
		"Do": func(ctx context.Context) error {
			return m.Do(ctx, "d", func(context.Context) error { return errors.New("not to be called") })
		},
		"Release": lock.Release,
		"Release of a cancelled hold": func(ctx context.Context) error {
			return errors.Join(cancelledLock.Release(ctx), cancelledLock.Release(cancelled))
		},
		"Open": func(ctx context.Context) error { _, err := manager.Open(ctx, dsn(s)); return err },
	} {
		start := time.Now()
		wantIs(t, call(short()), context.DeadlineExceeded)
		if took := time.Since(start); took > patience/2 {
			t.Errorf("%s took %v with a context of 50 ms", name, took)
		}
	}
	thaw()
	for _, key := range []string{"held", "held and cancelled", "released with an ended context", "a", "b", "c", "d"} { // what nobody waited for was done
		release(t, acquire(t, other, key))
	}
	release(t, lock)

	quick := openOn(t, s, manager.WithHealth(100*time.Millisecond, 200*time.Millisecond))
	acquire(t, quick, "left behind")
	thaw = freeze(t, s)
	closeNow(t, quick) // bounded by itself: the context has a minute
	thaw()
}

// Bug 7: goroutines that released one lock at the same time unlocked it twice, or panicked.
func TestBug7_ConcurrentReleaseUnlocksOnce(t *testing.T) {
	s, m := server(t), open(t)
	const rounds = 20
	for round := range rounds {
		lock := acquire(t, m, "k")
		guard := acquire(t, m, "another on the session")
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				<-start
				if err := lock.Release(bounded(t)); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if got := held(t, s); len(got) != 1 || got[guard.ID()] == 0 {
			t.Fatalf("round %d: held %v", round, got)
		}
		release(t, guard)
	}
	closeNow(t, m) // all is counted then
	if got := m.Stats().Batches.Operations; got != 4*rounds {
		t.Errorf("%d operations at the server for %d acquires and as many releases", got, 2*rounds)
	}
}

// Bug 8: an acquire that failed left its connection open, and sometimes the lock on it.
func TestBug8_FailedAcquireLeavesNothing(t *testing.T) {
	s := server(t)
	var n network
	m := n.manager(t, s, manager.WithRetry(attempts(1)), manager.WithHealth(2*patience, patience), manager.WithWaitSlice(5*time.Second))
	other := open(t)
	theirs := acquire(t, other, "k")
	for _, opts := range [][]manager.AcquireOption{nil, {manager.WithDedicatedSession()}} {
		for i := range 15 {
			ctx, cancel := context.WithCancel(bounded(t))
			call := acquiring(ctx, t, m, "k", opts...)
			if i%5 == 4 { // else it is on its way there
				eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
			}
			cancel()
			wantIs(t, ended(t, "cancelled", call).err, context.Canceled)
			_, err := m.Acquire(bounded(t), "k", append(opts, manager.WithWaitTimeout(2*time.Millisecond))...)
			wantIs(t, err, manager.ErrWaitTimeout)
			_, err = m.TryAcquire(bounded(t), "k", opts...)
			wantIs(t, err, manager.ErrNotAcquired)
		}
	}
	eventually(t, "nothing waits any more once the slice is over", func() bool {
		sessions := m.Stats().Sessions
		return queued(t, s, theirs.ID()) == 0 && sessions.Waiting+sessions.Dedicated+sessions.Opening+sessions.Queued == 0
	})
	if open := n.openNow(); open > 4 { // kept ready for the next, not one for each failure
		t.Errorf("%d connections are open after 90 failures: %+v", open, m.Stats().Sessions)
	}
	giveUp := func(key string, ask func(ctx context.Context) <-chan acquired) { // while the server's grant is on its way
		ctx, cancel := context.WithCancel(bounded(t))
		call := ask(ctx)
		eventually(t, "the server has granted it", func() bool { return held(t, s)[m.Key(key).ID()] != 0 })
		cancel()
		wantIs(t, ended(t, "cancelled", call).err, context.Canceled)
		n.deaf.open()
		eventually(t, "the lock is given back", func() bool { return held(t, s)[m.Key(key).ID()] == 0 })
	}
	giveUp("free", func(ctx context.Context) <-chan acquired {
		n.deaf.shut()
		return acquiring(ctx, t, m, "free")
	})
	giveUp("k", func(ctx context.Context) <-chan acquired {
		call := acquiring(ctx, t, m, "k")
		eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
		n.deaf.shut()
		release(t, theirs)
		return call
	})

	terminateAll(t, s, m)
	n.failWith(refused)
	for range 15 {
		_, err := m.Acquire(bounded(t), "k")
		wantIs(t, err, manager.ErrAttempts)
	}
	if open := n.openNow(); open != 0 {
		t.Errorf("%d connections are open after failures to connect", open)
	}
	n.failWith(nil)
	if got := held(t, s); len(got) != 0 {
		t.Errorf("held: %v", got)
	}
}
