package manager_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// sessionOf is the server process that has the lock.
func sessionOf(t *testing.T, s *pgserver.Server, lock *manager.Lock) int {
	t.Helper()
	rows := query(t, s, fmt.Sprintf("SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %d AND classid = %d",
		uint32(lock.ID()), uint64(lock.ID())>>32))
	if len(rows) != 1 {
		t.Fatalf("%q has %d holders", lock.Key(), len(rows))
	}
	return int(number(t, rows[0][0]))
}

// TestALentSessionIsNobodyElses: what a transaction has left in its session is for the same hold only.
func TestALentSessionIsNobodyElses(t *testing.T) {
	withoutPooler(t, "a pooler gives a backend that it has reset to the next session")
	s := server(t)
	m := open(t)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	exec(t, tx, "SET search_path = lk_nowhere")
	commit(t, tx)
	pid := sessionOf(t, s, lock)
	waiter := acquiring(bounded(t), t, m, "tx", manager.WithDedicatedSession())
	eventually(t, "the local waiter waits", func() bool { return m.Stats().Waiting == 1 })
	release(t, lock)
	got := ended(t, "the local waiter", waiter)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if next := sessionOf(t, s, got.lock); next == pid {
		t.Error("the next holder of the key has the session")
	}
	other := acquire(t, m, "other", manager.WithDedicatedSession())
	if next := sessionOf(t, s, other); next == pid {
		t.Error("the holder of another key has the session")
	}
	tx = beginTx(t, got.lock)
	var path string
	if err := tx.QueryRow(bounded(t), "SHOW search_path").Scan(&path); err != nil || path == "lk_nowhere" {
		t.Errorf("%q, %v", path, err)
	}
	commit(t, tx)
	release(t, got.lock)
	release(t, other)
	third := acquire(t, m, "third", manager.WithDedicatedSession())
	if next := sessionOf(t, s, third); next == pid {
		t.Error("the session has come back")
	}
	release(t, third)
}

// TestSessionsWithoutATransactionAreKept: only those that were lent are closed.
func TestSessionsWithoutATransactionAreKept(t *testing.T) {
	s := server(t)
	m := open(t)
	lock := acquire(t, m, "one", manager.WithDedicatedSession())
	pid := sessionOf(t, s, lock)
	release(t, lock)
	eventually(t, "the session is back", func() bool { return m.Stats().Sessions.Idle == 1 })
	lock = acquire(t, m, "two", manager.WithDedicatedSession())
	if next := sessionOf(t, s, lock); next != pid {
		t.Errorf("%d has the lock, and %d was free", next, pid)
	}
	release(t, lock)
}

// TestNotificationsToAnIdleHolder do not stop the session's reader: nobody reads them until the holder asks for something.
func TestNotificationsToAnIdleHolder(t *testing.T) {
	s := server(t)
	m := open(t)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	exec(t, tx, "LISTEN lk_idle")
	exec(t, tx, "COMMIT") // by hand: the server tells of notifications between transactions
	for range 3 {
		query(t, s, "SELECT pg_notify('lk_idle', repeat('x', 7000))")
	}
	exec(t, tx, "SELECT 1")
	for range 3 {
		if n, err := tx.Conn().WaitForNotification(bounded(t)); err != nil || len(n.Payload) != 7000 {
			t.Fatal(n, err)
		}
	}
	for range 20 { // more than is kept
		query(t, s, "SELECT pg_notify('lk_idle', repeat('x', 7000))")
	}
	eventually(t, "the server has sent them", func() bool { return query(t, s, "SELECT (pg_notification_queue_usage() = 0)::text")[0][0] == "true" })
	pid := sessionOf(t, s, lock)
	terminate(t, s, pid)
	ended(t, "the loss", lock.Done())
	var word *pgconn.PgError // it was heard at once; a reader that waits for the holder hears nothing, until trust ends
	if err := lock.Err(); !errors.As(err, &word) || word.Code != "57P01" {
		t.Errorf("lost, and not by the server's last word: %v", err)
	}
	_ = tx.Rollback(bounded(t))
	if err := lock.Release(bounded(t)); !errors.Is(err, manager.ErrLost) {
		t.Error(err)
	}
}
