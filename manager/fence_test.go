package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// atLeast raises a number that only grows.
func atLeast(n *atomic.Int64, to int64) {
	for now := n.Load(); now < to && !n.CompareAndSwap(now, to); now = n.Load() {
		continue
	}
}

// A token is greater than every one that was known before its acquisition began: over managers, local hand-offs, and holders that lose their
// sessions.
func TestTokensIncrease(t *testing.T) {
	s := migrated(t)
	const keys, workers, rounds = 3, 4, 40
	var managers []*manager.Manager
	for range 3 {
		managers = append(managers, openOn(t, s, manager.WithFencing()))
	}
	var known [keys]atomic.Int64
	var got, cut atomic.Int64
	errs := make(chan error, len(managers)*workers)
	for _, m := range managers {
		for w := range workers {
			go func() {
				for i := 0; i < rounds || cut.Load() < 10 && t.Context().Err() == nil; i++ {
					key := (i + w) % keys
					before := known[key].Load()
					lock, err := m.Acquire(t.Context(), fmt.Sprint("increase ", key), manager.WithWaitTimeout(patience))
					if err != nil {
						if !strings.Contains(err.Error(), manager.ErrLost.Error()) { // a session was ended as the token was drawn
							errs <- err
							return
						}
						continue
					}
					if lock.Token() <= before {
						errs <- fmt.Errorf("the token is %d, and %d was known before", lock.Token(), before)
						return
					}
					got.Add(1)
					atLeast(&known[key], lock.Token())
					_ = lock.Release(t.Context())
				}
				errs <- nil
			}()
		}
	}
	quit := make(chan struct{})
	nemesis := make(chan struct{})
	go func() {
		defer close(nemesis)
		ticker := time.NewTicker(30 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				rows, _ := s.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks
					WHERE locktype = 'advisory' AND granted ORDER BY random() LIMIT 1`)
				cut.Add(int64(len(rows)))
			}
		}
	}()
	for range cap(errs) {
		if err := ended(t, "a worker", errs); err != nil {
			t.Error(err)
		}
	}
	close(quit)
	<-nemesis
	var local, losses uint64
	for _, m := range managers {
		stats := m.Stats()
		local += stats.GrantsLocal
		for _, n := range stats.Losses {
			losses += n
		}
	}
	t.Logf("%d tokens, %d local hand-offs, %d losses", got.Load(), local, losses)
	if local == 0 || losses == 0 {
		t.Errorf("%d local hand-offs, %d losses: the test shows nothing", local, losses)
	}
}

// Each kind of exclusive hold has a token, by either option; one without has none.
func TestTokenOfEachKind(t *testing.T) {
	s := migrated(t)
	fencing, plain := openOn(t, s, manager.WithFencing()), openOn(t, s)
	both := openOn(t, s, manager.WithFencing(), manager.WithHashes(hashing.Pair{Old: hashing.FNV1a, New: hashing.Postgres}))
	var last int64
	next := func(what string, token int64) {
		t.Helper()
		if token <= last {
			t.Errorf("%s: the token is %d, after %d", what, token, last)
		}
		last = token
	}
	inside := func(what string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			held, ok := manager.FenceOf(context.WithValue(ctx, unrelated{}, 1))
			if !ok {
				t.Fatalf("%s: no hold", what)
			}
			next(what, held.Token())
			return nil
		}
	}
	for range 2 {
		lock := acquire(t, fencing, "kinds")
		next("Acquire", lock.Token())
		release(t, lock)
		lock = acquire(t, plain, "kinds", manager.WithToken())
		next("WithToken", lock.Token())
		release(t, lock)
		lock, err := fencing.TryAcquire(bounded(t), "kinds")
		if err != nil {
			t.Fatal(err)
		}
		next("TryAcquire", lock.Token())
		release(t, lock)
		for what, err := range map[string]error{
			"Do":    fencing.Do(bounded(t), "kinds", inside("Do")),
			"Elect": fencing.Elect(bounded(t), "kinds", inside("Elect")),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		set, err := fencing.AcquireAll(bounded(t), "kinds", "kinds too", "kinds three")
		if err != nil {
			t.Fatal(err)
		}
		next("AcquireAll", set.Token())
		if err := set.Release(bounded(t)); err != nil {
			t.Error(err)
		}
		lock = acquire(t, fencing, "kinds too")
		next("a key of the set", lock.Token())
		release(t, lock)
		last = set.Token()
		lock = acquire(t, fencing, "kinds three")
		next("another key of the set", lock.Token())
		release(t, lock)
		last = set.Token() // of "kinds"
		lock = acquire(t, both, "kinds")
		if held, ok := manager.FenceOf(lock.Context()); !ok || held.Token() != lock.Token() {
			t.Error("the context of a lock with two ids has no token")
		}
		next("WithHashes", lock.Token())
		release(t, lock)
	}
	lock := acquire(t, plain, "kinds")
	if _, ok := manager.FenceOf(lock.Context()); ok || lock.Token() != 0 {
		t.Error("a lock without the option has a token")
	}
	release(t, lock)
	if _, ok := manager.FenceOf(t.Context()); ok {
		t.Error("any context has a token")
	}
}

type unrelated struct{}

// What several hold at one time has no token, and Once neither.
func TestTokenIsRefusedWhereThereIsNone(t *testing.T) {
	s := migrated(t)
	fencing, plain := openOn(t, s, manager.WithFencing()), openOn(t, s)
	nothing := func(context.Context) error { return nil }
	_, shared := plain.AcquireShared(bounded(t), "refused", manager.WithToken())
	_, slot := plain.AcquireSlot(bounded(t), "refused", 2, manager.WithToken())
	_, only := fencing.TryAcquireSlot(bounded(t), "refused", 1)
	for what, err := range map[string]error{"shared": shared, "slot": slot, "the only slot": only, "DoShared": fencing.DoShared(bounded(t), "refused", nothing)} {
		if err == nil || !strings.Contains(err.Error(), "WithFencing and WithToken are for exclusive locks") {
			t.Errorf("%s: %v", what, err)
		}
	}
	err := plain.Once(bounded(t), "refused", time.Hour, nothing, manager.WithToken())
	if err == nil || !strings.Contains(err.Error(), "WithToken is not for Once") {
		t.Errorf("Once: %v", err)
	}
	err = fencing.Once(bounded(t), "refused", time.Hour, func(ctx context.Context) error {
		if _, ok := manager.FenceOf(ctx); ok {
			t.Error("Once has a token")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Where no token can be drawn the lock is released, and the error says all.
func TestNoToken(t *testing.T) {
	s, database := pgtest.NewDatabase(t)
	to := s.DSNOf(database) + "&application_name=lk%20test"
	admin, err := pgx.Connect(bounded(t), s.DSNOf(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, admin.Close) })
	must := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(bounded(t), sql); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(m *manager.Manager, want string, targets ...error) {
		t.Helper()
		_, one := m.Acquire(bounded(t), "k", manager.WithToken())
		_, set := m.Keys("k", "l").Acquire(bounded(t), manager.WithToken())
		for _, err := range []error{one, set} {
			wantIs(t, err, append(targets, manager.ErrNoToken)...)
			if e := failure(t, err); e.ID == 0 || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; should say %q", err, want)
			}
		}
		free, err := m.AcquireAll(bounded(t), "k", "l")
		if err != nil {
			t.Fatal(err)
		}
		if err := free.Release(bounded(t)); err != nil {
			t.Error(err)
		}
	}
	begin := func(dsn string) *manager.Manager {
		return opened(t, s, func(ctx context.Context) (*manager.Manager, error) { return manager.Open(ctx, dsn) })
	}
	m := begin(to)
	refused(m, "no token, so the lock was released: the tables for tokens are missing: run manager.Migrate once for this database", manager.ErrNotMigrated)
	if err := m.Elect(bounded(t), "k", func(context.Context) error { return nil }, manager.WithToken()); !errors.Is(err, manager.ErrNotMigrated) {
		t.Errorf("Elect: %v", err)
	}
	if err := manager.Migrate(bounded(t), admin); err != nil {
		t.Fatal(err)
	}
	must("CREATE ROLE lk_reader; GRANT USAGE ON SCHEMA lockkeeper TO lk_reader")
	t.Cleanup(func() { query(t, s, "DROP ROLE lk_reader") })
	refused(begin(to+"&role=lk_reader"), "no token, so the lock was released: the server says ERROR: permission denied for table version (SQLSTATE 42501)")
	must("DROP OWNED BY lk_reader")
	lock := acquire(t, m, "k", manager.WithToken())
	if lock.Token() != 1 {
		t.Errorf("the first token is %d", lock.Token())
	}
	release(t, lock)
	must("UPDATE lockkeeper.version SET version = 2")
	refused(m, `the schema lockkeeper has version [["2"]], and this program knows version 1`, manager.ErrNotMigrated)
	if rows := query(t, s, "SELECT 1"); len(rows) != 1 {
		t.Error(rows)
	}
	var token int64
	if err := admin.QueryRow(bounded(t), "SELECT max(token) FROM lockkeeper.fence").Scan(&token); err != nil || token != 1 {
		t.Errorf("a table of another version was written to: %d, %v", token, err)
	}
}

// The role's own defaults do not matter: a token survives a crash of the server.
func TestTokensSurviveACrash(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s, manager.WithFencing())
	conn := connect(t, s)
	if err := manager.Migrate(bounded(t), conn); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"synchronous_commit = off", "default_transaction_isolation = 'serializable'", "default_transaction_read_only = on"} {
		if _, err := conn.Exec(bounded(t), "ALTER DATABASE "+pgserver.Database+" SET "+sql); err != nil {
			t.Fatal(err)
		}
	}
	defer query(t, s, "SET transaction_read_only = off; ALTER DATABASE "+pgserver.Database+" RESET ALL")
	var last int64
	rounds := 2
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		rounds = 30
	}
	for range rounds {
		for range 5 {
			lock := acquire(t, m, "crash")
			if lock.Token() <= last {
				t.Fatalf("the token is %d, after %d", lock.Token(), last)
			}
			last = lock.Token()
			if err := lock.Release(bounded(t)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Restart(bounded(t), pgserver.Immediate); err != nil {
			t.Fatal(err)
		}
	}
}

// A context whose methods panic, or end the goroutine, leaves no lock behind while its token is drawn, or waited for.
func TestTokensForAContextThatMisbehaves(t *testing.T) {
	m := openOn(t, migrated(t), manager.WithFencing())
	misbehave(t, m, 6, map[string]func(ctx context.Context, key string) error{
		"TryAcquire": func(ctx context.Context, key string) error {
			lock, err := m.TryAcquire(ctx, key)
			if err == nil {
				err = lock.Release(t.Context())
			}
			return err
		},
		"AcquireAll": func(ctx context.Context, key string) error {
			set, err := m.AcquireAll(ctx, key, key+" too")
			if err == nil {
				err = set.Release(t.Context())
			}
			return err
		},
	})
}

// The same where its end is what ends the wait for a token.
func TestTokenOfAContextWhoseEndPanics(t *testing.T) {
	s := migrated(t)
	m := openOn(t, s, manager.WithFencing())
	u := beginPgx(t, dsn(s))
	lock := acquire(t, m, "end panics")
	if err := manager.Guard(bounded(t), u.tx, lock); err != nil {
		t.Fatal(err)
	}
	release(t, lock)
	for from := range int64(6) {
		parent, cancel := context.WithCancel(t.Context())
		ctx := &oddContext{Context: parent, method: "Err", from: from + 1, deed: func() { panic("the user's context") }}
		done := make(chan any, 1)
		go func() {
			defer func() { done <- recover() }()
			_, err := m.Acquire(ctx, "end panics")
			done <- err
		}()
		if !poll(func() bool { return len(done) > 0 || held(t, s)[lock.ID()] != 0 }) {
			t.Fatal("neither ended nor granted")
		}
		cancel()
		ended(t, "the call", done)
		eventually(t, "the lock is free", func() bool { return held(t, s)[lock.ID()] == 0 })
	}
	if err := u.finish(true); err != nil {
		t.Error(err)
	}
}
