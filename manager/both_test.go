package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// versions are the programs of a deploy that changes the function: before, in between (in either order), and after.
type versions struct{ before, between, swapped, after *manager.Manager }

var (
	withOld     = manager.WithHash(hashing.FNV1a)
	withBoth    = manager.WithHashes(hashing.Both(hashing.FNV1a, hashing.Postgres))
	withSwapped = manager.WithHashes(hashing.Both(hashing.Postgres, hashing.FNV1a))
	withNew     = manager.WithHash(hashing.Postgres)
)

func openVersions(t *testing.T, s *pgserver.Server) versions {
	t.Helper()
	return versions{
		before:  openOn(t, s, withOld, manager.WithApplicationName("lk old")),
		between: openOn(t, s, withBoth, manager.WithApplicationName("lk both")),
		swapped: openOn(t, s, withSwapped, manager.WithApplicationName("lk swapped")),
		after:   openOn(t, s, withNew, manager.WithApplicationName("lk new")),
	}
}

// oneKey and other are keys whose old id is the lower one, and the upper one.
const oneKey, otherKey = "orders/42", "account/42"

func TestBothTheKeysDiffer(t *testing.T) {
	if hashing.FNV1a(oneKey) >= hashing.Postgres(oneKey) || hashing.FNV1a(otherKey) <= hashing.Postgres(otherKey) {
		t.Error("the keys of these tests have their ids in the same order")
	}
}

func bothIDs(key string) []int64 {
	ids := []int64{hashing.FNV1a(key), hashing.Postgres(key)}
	slices.Sort(ids)
	return ids
}

// wantHeldAtServer wants exactly these ids to be locked. A wait inside of a hold, which has lasted for a while on a busy server, is shown by
// shared locks until a moment after its end; they do not count.
func wantHeldAtServer(t *testing.T, s *pgserver.Server, ids ...int64) {
	t.Helper()
	shown := make(map[int64]bool)
	for _, row := range query(t, s, `SELECT (classid::int8 << 32) | objid::int8 FROM pg_locks
		WHERE locktype = 'advisory' AND objsubid = 1 AND granted GROUP BY 1 HAVING bool_and(mode = 'ShareLock')`) {
		shown[number(t, row[0])] = true
	}
	var got []int64
	for id := range held(t, s) {
		if !shown[id] || slices.Contains(ids, id) {
			got = append(got, id)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, ids) {
		t.Errorf("the server has %v locked, not %v", got, ids)
	}
}

// kindsOfCalls are all ways to take a key. Each calls f under the lock, and returns why it was not called; with wait it waits a little.
var kindsOfCalls = map[string]func(ctx context.Context, m *manager.Manager, key string, wait bool, f func()) error{
	"Acquire": func(ctx context.Context, m *manager.Manager, key string, wait bool, f func()) error {
		lock, err := m.Acquire(ctx, key, briefly(wait))
		if err != nil {
			return err
		}
		f()
		return lock.Release(ctx)
	},
	"TryAcquire of a Key": func(ctx context.Context, m *manager.Manager, key string, _ bool, f func()) error {
		lock, err := m.Key(key).TryAcquire(ctx)
		if err != nil {
			return err
		}
		f()
		return lock.Release(ctx)
	},
	"Do": func(ctx context.Context, m *manager.Manager, key string, wait bool, f func()) error {
		return m.Do(ctx, key, func(context.Context) error { f(); return nil }, briefly(wait))
	},
	"Elect": func(ctx context.Context, m *manager.Manager, key string, wait bool, f func()) error {
		return m.Elect(ctx, key, func(ctx context.Context) error {
			if err := m.Leader(key).IsLeader(ctx); err != nil {
				return err
			}
			f()
			return nil
		}, briefly(wait))
	},
	"DoShared": func(ctx context.Context, m *manager.Manager, key string, wait bool, f func()) error {
		return m.DoShared(ctx, key, func(context.Context) error { f(); return nil }, briefly(wait))
	},
	"AcquireAll": func(ctx context.Context, m *manager.Manager, key string, wait bool, f func()) error {
		set, err := m.Keys(key, "another").Acquire(ctx, briefly(wait))
		if err != nil {
			return err
		}
		f()
		return set.Release(ctx)
	},
	"TryAcquire of a set": func(ctx context.Context, m *manager.Manager, key string, _ bool, f func()) error {
		set, err := m.Keys(key).TryAcquire(ctx)
		if err != nil {
			return err
		}
		f()
		return set.Release(ctx)
	},
}

func briefly(wait bool) manager.AcquireOption {
	if wait {
		return manager.WithWaitTimeout(20 * time.Millisecond)
	}
	return manager.WithWaitTimeout(0)
}

// Who has both ids excludes those before and after, and those with both in the other order, in all kinds of calls.
func TestBothExcludes(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	for kind, call := range kindsOfCalls {
		for _, key := range []string{oneKey, otherKey} {
			t.Run(kind+" of "+key, func(t *testing.T) {
				called := false
				err := call(bounded(t), v.between, key, false, func() {
					called = true
					for other, m := range map[string]*manager.Manager{"before": v.before, "swapped": v.swapped, "after": v.after, "itself": v.between} {
						if _, err := m.TryAcquire(bounded(t), key); !errors.Is(err, manager.ErrNotAcquired) {
							t.Errorf("%s: %v", other, err)
						}
					}
				})
				if err != nil || !called {
					t.Errorf("called: %v, %v", called, err)
				}
				wantHeldAtServer(t, s)
			})
		}
	}
}

// Those who share a key share both ids.
func TestBothShared(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	for _, key := range []string{oneKey, otherKey} {
		var all []*manager.Lock
		for _, m := range []*manager.Manager{v.between, v.before, v.swapped, v.after, v.between} {
			lock, err := m.TryAcquireShared(bounded(t), key)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, lock)
		}
		wantHeldAtServer(t, s, bothIDs(key)...)
		for i, lock := range all {
			_, err := v.between.TryAcquire(bounded(t), key)
			wantIs(t, err, manager.ErrNotAcquired)
			if failure(t, err).Shared || !lock.Shared() {
				t.Errorf("the mode of lock %d: %v, %v", i, lock.Shared(), err)
			}
			release(t, lock)
		}
		wantHeldAtServer(t, s)
	}
}

// It is excluded by each of them, and then it takes nothing: the error names the id that it could not have, and who has it.
func TestBothIsExcluded(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	for _, wait := range []bool{false, true} {
		for kind, call := range kindsOfCalls {
			for _, key := range []string{oneKey, otherKey} {
				for app, m := range map[string]*manager.Manager{"lk old": v.before, "lk new": v.after, "lk swapped": v.swapped} {
					t.Run(fmt.Sprintf("%s of %s and %s, %v", kind, key, app, wait), func(t *testing.T) {
						lock := acquire(t, m, key)
						ids := []int64{lock.ID()}
						if m == v.swapped {
							ids = bothIDs(key)
						}
						err := call(bounded(t), v.between, key, wait, func() { t.Error("it was called") })
						if !errors.Is(err, manager.ErrNotAcquired) && !errors.Is(err, manager.ErrWaitTimeout) {
							t.Fatal(err)
						}
						if e := failure(t, err); !wait && (e.Key != key || e.ID != ids[0]) { // one that waits may be short of time before
							t.Errorf("the error is about %q, id %d; %q, id %d is held: %v", e.Key, e.ID, key, ids[0], err)
						}
						eventually(t, "nothing else is held", func() bool { return len(held(t, s)) == len(ids) })
						release(t, lock)
					})
				}
			}
		}
	}
}

// A wait tells its whole time, and who holds the id that is waited for.
func TestBothWaitsAndTells(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	for app, m := range map[string]*manager.Manager{"lk old": v.before, "lk new": v.after} {
		lock := acquire(t, m, oneKey)
		const wait = 400 * time.Millisecond
		eventually(t, "the error tells who holds the id", func() bool { // a busy server may not have told in time
			_, err := v.between.Acquire(bounded(t), oneKey, manager.WithWaitTimeout(wait))
			wantIs(t, err, manager.ErrWaitTimeout)
			e := failure(t, err)
			if e.Waited < wait || !strings.Contains(err.Error(), fmt.Sprint(e.ID)) {
				t.Errorf("the error tells %+v", e)
			}
			return e.ID == lock.ID() && e.Holder != nil && e.Holder.ApplicationName == app
		})
		waiting := acquiring(t.Context(), t, v.between, oneKey)
		eventually(t, "it waits", func() bool { return queued(t, s, lock.ID()) == 1 })
		release(t, lock)
		got := ended(t, "the grant", waiting)
		if got.err != nil {
			t.Fatal(got.err)
		}
		wantHeldAtServer(t, s, bothIDs(oneKey)...)
		release(t, got.lock)
		wantHeldAtServer(t, s)
	}
}

// The id that is shown is the old function's, and pg_locks has both.
func TestBothShowsTheOldID(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	for _, key := range []string{oneKey, otherKey} {
		for m, want := range map[*manager.Manager]int64{v.between: hashing.FNV1a(key), v.swapped: hashing.Postgres(key)} {
			lock := acquire(t, m, key)
			if lock.ID() != want || m.Key(key).ID() != want || lock.Key() != key {
				t.Errorf("lock %q has id %d, and the key %d; want %d", lock.Key(), lock.ID(), m.Key(key).ID(), want)
			}
			locks, err := m.Locks(bounded(t))
			if err != nil || len(locks) != 2 || locks[0].Key != key || locks[1].Key != key {
				t.Errorf("%+v, %v", locks, err)
			}
			release(t, lock)
		}
	}
	set := acquireAll(t, v.between, oneKey, otherKey, oneKey)
	if got := slices.Sorted(slices.Values(set.Keys())); !slices.Equal(got, []string{otherKey, oneKey}) {
		t.Errorf("the keys of the set are %q", got)
	}
	wantHeldAtServer(t, s, slices.Sorted(slices.Values(slices.Concat(bothIDs(oneKey), bothIDs(otherKey))))...)
	releaseAll(t, set)
}

// Where both functions agree there is one lock, and the namespace is in front of both.
func TestBothOfOneID(t *testing.T) {
	s := server(t)
	m := openOn(t, s, manager.WithHashes(hashing.Pair{New: hashing.FNV1a}))
	lock := acquire(t, m, oneKey)
	wantHeldAtServer(t, s, hashing.FNV1a(oneKey))
	release(t, lock)
	if n := m.Stats().Attempts; n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
	m = openOn(t, s, withBoth, manager.WithNamespace("shop"))
	lock = acquire(t, m, oneKey)
	ids := []int64{hashing.Namespaced("shop", hashing.FNV1a)(oneKey), hashing.Namespaced("shop", hashing.Postgres)(oneKey)}
	slices.Sort(ids)
	wantHeldAtServer(t, s, ids...)
	release(t, lock)
	m = openOn(t, s, withBoth, withNew) // the last of the options counts
	lock = acquire(t, m, oneKey)
	wantHeldAtServer(t, s, hashing.Postgres(oneKey))
	release(t, lock)
}

// Inside a hold either id is held; a circle of holders is told.
func TestBothInsideAHold(t *testing.T) {
	m := openOn(t, server(t), withBoth)
	for _, key := range []string{oneKey, otherKey} {
		lock := acquire(t, m, key)
		_, err := m.Acquire(lock.Context(), key)
		wantIs(t, err, manager.ErrHeld)
		_, err = m.TryAcquire(lock.Context(), key)
		wantIs(t, err, manager.ErrHeld, manager.ErrNotAcquired)
		_, err = m.AcquireAll(lock.Context(), "another", key)
		wantIs(t, err, manager.ErrHeld)
		release(t, lock)
	}
	one, other := acquire(t, m, oneKey), acquire(t, m, otherKey)
	waiting := acquiring(one.Context(), t, m, otherKey)
	_, err := m.Acquire(other.Context(), oneKey)
	wantIs(t, err, manager.ErrDeadlock)
	release(t, other)
	got := ended(t, "the grant", waiting)
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)
	release(t, one)
}

func TestBothInATransaction(t *testing.T) {
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		v := openVersions(t, s)
		for _, key := range []string{oneKey, otherKey} {
			for _, take := range []func(context.Context, any, string, ...manager.TxOption) error{manager.AcquireTx, manager.TryAcquireTx} {
				u := begin(t)
				for _, m := range []*manager.Manager{v.before, v.after} { // who has either excludes it, and it takes nothing
					lock := acquire(t, m, key)
					start := time.Now()
					const wait = 300 * time.Millisecond
					err := take(bounded(t), u.tx, key, withBoth, manager.WithWaitTimeout(wait))
					if !errors.Is(err, manager.ErrNotAcquired) && (!errors.Is(err, manager.ErrWaitTimeout) || time.Since(start) < wait) {
						t.Error(err)
					}
					if e := failure(t, err); e.ID != lock.ID() {
						t.Errorf("the error is about id %d, not %d", e.ID, lock.ID())
					}
					wantHeldAtServer(t, s, lock.ID())
					release(t, lock)
				}
				if err := take(bounded(t), u.tx, key, withBoth, manager.WithWaitTimeout(patience)); err != nil {
					t.Fatal(err)
				}
				wantHeldAtServer(t, s, bothIDs(key)...)
				if err := u.exec("SELECT 1"); err != nil {
					t.Error(err)
				}
				if err := u.finish(true); err != nil {
					t.Error(err)
				}
				wantHeldAtServer(t, s)
			}
		}
	})
}
