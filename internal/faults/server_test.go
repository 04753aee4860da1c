package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Somebody fills the server's lock table. Acquisitions fail with the server's own advice, what is held stays held, nothing
// is half-taken, and all is well without a restart when there is room again. A pooler that finds no room for questions of its own may end
// the session: then that is told.
func TestFullLockTable(t *testing.T) { eachWay(t, checkFullLockTable) }

func checkFullLockTable(t *testing.T, w way) {
	t.Helper()
	s := pgtest.New(t, pgserver.Options{Settings: map[string]string{"max_locks_per_transaction": "10", "max_connections": "20"}})
	audit(t, s)
	m := w.open(t, w.reach(t, s), manager.WithSharedSessions(1), manager.WithRetry(manager.RetryPolicy{Attempts: 1, Backoff: patient().Backoff}))
	kept := acquire(t, m, "kept")
	o := newOutsider(t, s)
	_, err := o.conn.Exec(bounded(t), "SELECT pg_advisory_lock(k) FROM generate_series(1, 100000) k").ReadAll()
	var full *pgconn.PgError
	if !errors.As(err, &full) || full.Code != "53200" {
		t.Fatalf("the table is not full: %v", err)
	}
	var wg sync.WaitGroup
	for i := range 200 { // batches of them
		wg.Go(func() {
			lock, err := m.Acquire(bounded(t), fmt.Sprint("refused ", i))
			switch {
			case err == nil: // one whose row in the table was there already
				release(t, lock)
			case w.asks && (strings.Contains(err.Error(), "ended by the server: ") || strings.Contains(err.Error(), "cannot open a session")):
			case !errors.Is(err, manager.ErrLockTableFull) || !strings.Contains(err.Error(), "max_locks_per_transaction"):
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	refused := m.Stats().Refused.LockTable
	lost := w.asks && errors.Is(kept.Err(), manager.ErrLost)
	if !lost && (kept.Err() != nil || len(m.Stats().Losses) > 0 || refused == 0) {
		t.Errorf("kept: %v; %+v", kept.Err(), m.Stats())
	}
	o.ask("SELECT pg_advisory_unlock_all()")
	if lost {
		eventually(t, "the lock that was lost is free", func() bool { return len(o.held()) == 0 })
	} else if held := o.held(); len(held) != 1 {
		t.Errorf("left of what was refused: %v", held)
	}
	for i := range 200 {
		release(t, acquire(t, m, fmt.Sprint("refused ", i)))
	}
	if !lost {
		release(t, kept)
	}
	t.Logf("%d acquisitions refused with the server's advice, a lock on the same session kept (or lost to the pooler: %v), nothing left, then all granted", refused, lost)
}

// A session that waits in the server's queue holds a snapshot, which stops vacuum and CREATE INDEX CONCURRENTLY. Between
// its slices it lets go of it.
func TestWaitersLetVacuumWork(t *testing.T) { eachWay(t, checkWaitersLetVacuumWork) }

func checkWaitersLetVacuumWork(t *testing.T, w way) {
	t.Helper()
	s := pgtest.Shared(t)
	audit(t, s)
	m := w.open(t, w.reach(t, s), manager.WithWaitSlice(300*time.Millisecond))
	o := newOutsider(t, s)
	key := m.Key("waited for")
	if !o.is("SELECT pg_try_advisory_lock(%d)", key.ID()) {
		t.Fatal("the outsider cannot take a free lock")
	}
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error, 1)
	go func() {
		_, err := key.Acquire(ctx)
		waited <- err
	}()
	eventually(t, "it waits at the server", func() bool { return o.waitsFor(key.ID()) })
	worker := newOutsider(t, s)
	worker.ask("CREATE TABLE lk_vacuumed AS SELECT k FROM generate_series(1, 1000) k")
	began := time.Now()
	worker.ask("CREATE INDEX CONCURRENTLY lk_index ON lk_vacuumed (k)")
	took := time.Since(began)
	worker.ask("DROP TABLE lk_vacuumed")
	if !o.waitsFor(key.ID()) {
		eventually(t, "it still waits", func() bool { return o.waitsFor(key.ID()) })
	}
	cancel()
	if err := ended(t, "the end of the wait", waited); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !o.is("SELECT pg_advisory_unlock(%d)", key.ID()) {
		t.Error("the outsider's lock is gone")
	}
	t.Logf("CREATE INDEX CONCURRENTLY beside a waiter took %v (slice 300ms)", took.Round(time.Millisecond))
}

// Two callers take two keys in opposite order. No session waits while it holds another's lock, so that the server never
// takes this for a deadlock and never kills a bystander: each waits until its own context ends.
func TestOppositeOrderKillsNobody(t *testing.T) { eachWay(t, checkOppositeOrderKillsNobody) }

func checkOppositeOrderKillsNobody(t *testing.T, w way) {
	t.Helper()
	s := pgtest.Shared(t)
	audit(t, s)
	src := w.reach(t, s)
	one, two := w.open(t, src), w.open(t, src)
	o := newOutsider(t, s)
	patience := 2 * time.Second // twice the server's deadlock_timeout
	a, b := acquire(t, one, "a"), acquire(t, two, "b")
	bystander := acquire(t, one, "bystander")
	var wg sync.WaitGroup
	for m, key := range map[*manager.Manager]string{one: "b", two: "a"} {
		wg.Go(func() {
			_, err := m.Acquire(context.Background(), key, manager.WithWaitTimeout(patience))
			var server *pgconn.PgError
			if !errors.Is(err, manager.ErrWaitTimeout) || errors.As(err, &server) {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if n := o.ask("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]; n != "0" {
		t.Errorf("the server saw %s deadlocks", n)
	}
	for _, lock := range []*manager.Lock{a, b, bystander} {
		release(t, lock)
	}
}
