package manager_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// TestHungServerUnderATransaction: trust runs out although nothing ends the session, whether the transaction is idle or in a statement.
func TestHungServerUnderATransaction(t *testing.T) {
	for _, busy := range []bool{false, true} {
		s := breakable(t)
		m := openOn(t, s, manager.WithHealth(500*time.Millisecond, 3*time.Second))
		lock := acquire(t, m, "tx", manager.WithDedicatedSession())
		tx := beginTx(t, lock)
		failed := make(chan error, 1)
		if busy {
			go func() {
				_, err := tx.Exec(bounded(t), "SELECT pg_sleep(60)")
				failed <- err
			}()
			eventually(t, "the statement runs", func() bool {
				return query(t, s, "SELECT count(*)::text FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'")[0][0] == "1"
			})
		}
		thaw := freeze(t, s)
		began := time.Now()
		ended(t, "the loss", lock.Done())
		if took := time.Since(began); took > soon { // the server would stay as it is
			t.Errorf("told after %v: the trust is 3.5 s", took)
		}
		wantIs(t, lock.Err(), manager.ErrLost)
		if busy {
			if err := ended(t, "the statement", failed); err == nil {
				t.Error("a statement of a session that is lost")
			}
		}
		if err := tx.Commit(bounded(t)); err == nil {
			t.Error("a commit on a session that is lost")
		}
		thaw()
		_ = lock.Release(bounded(t))
	}
}

// TestSlowRowsDoNotHideALoss: a holder that does not read its rows hears of the end of its session all the same.
func TestSlowRowsDoNotHideALoss(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithHealth(500*time.Millisecond, 3*time.Second))
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	var pid int
	if err := tx.QueryRow(bounded(t), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(bounded(t), "SELECT repeat('x', 10000) FROM generate_series(1, 100000)")
	if err != nil || !rows.Next() {
		t.Fatal(err)
	}
	query(t, s, "SELECT pg_sleep(5)::text") // trust is less
	if err := lock.Err(); err != nil {
		t.Fatal(err)
	}
	terminate(t, s, pid)
	ended(t, "the loss", lock.Done())
	rows.Close()
	if err := tx.Commit(bounded(t)); err == nil {
		t.Error("a commit on a session that is lost")
	}
}

// TestSlowRowsKeepTheLock: the server has sent all rows, and would end the session as idle while the holder has yet to read them.
func TestSlowRowsKeepTheLock(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithHealth(500*time.Millisecond, 3*time.Second), manager.WithSessionTimeout(4500*time.Millisecond))
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	for _, of := range []struct{ length, rows int }{
		{1000, 150},  // more than a pipe has, less than a socket
		{1000, 20},   // the end of the answer is behind those that the holder has yet to read
		{40_000, 1},  // it has read them all, and the end of the answer is what it has not read
		{40_000, 10}, // and both
	} {
		rows, err := tx.Query(bounded(t), "SELECT repeat('x', $1) FROM generate_series(1, $2)", of.length, of.rows)
		if err != nil || !rows.Next() {
			t.Fatal(err)
		}
		query(t, s, "SELECT pg_sleep(5)::text") // the session is trusted for 3.5 s, and lives for 4.5 s
		n := 1
		for rows.Next() {
			n++
		}
		if err := rows.Err(); err != nil || n != of.rows {
			t.Fatalf("%d rows of %d, %v", n, of.rows, err)
		}
		var text string
		if err := tx.QueryRow(bounded(t), "SELECT repeat('y', 10)").Scan(&text); err != nil || !strings.HasPrefix(text, "yy") {
			t.Fatal(text, err)
		}
	}
	commit(t, tx)
	commit(t, beginTx(t, lock))
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
}
