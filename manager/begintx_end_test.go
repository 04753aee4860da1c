package manager_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/manager"
)

// TestHoldEndsUnderATransaction: however the hold ends, the transaction is rolled back before anybody else has the lock.
func TestHoldEndsUnderATransaction(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, m *manager.Manager, lock *manager.Lock, cancel context.CancelFunc){
		"release": func(t *testing.T, _ *manager.Manager, lock *manager.Lock, _ context.CancelFunc) {
			for range 2 {
				err := lock.Release(bounded(t))
				wantIs(t, err, manager.ErrTxOpen)
				if errors.Is(err, manager.ErrReleaseUnknown) {
					t.Error("the release is not confirmed: ", err)
				}
			}
		},
		"context": func(t *testing.T, _ *manager.Manager, lock *manager.Lock, cancel context.CancelFunc) {
			cancel()
			ended(t, "the hold", lock.Done())
			if err := lock.Release(bounded(t)); err != nil {
				t.Error(err)
			}
		},
		"close": func(t *testing.T, m *manager.Manager, lock *manager.Lock, _ context.CancelFunc) {
			closeNow(t, m)
			wantIs(t, lock.Err(), manager.ErrClosed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := server(t)
			m, other, rows := open(t), open(t), table(t, s)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			lock, err := m.Acquire(ctx, "tx", manager.WithDedicatedSession())
			if err != nil {
				t.Fatal(err)
			}
			tx := beginTx(t, lock)
			exec(t, tx, "UPDATE "+rows+" SET value = 1")
			local, remote := acquiring(bounded(t), t, m, "tx", manager.WithDedicatedSession()), acquiring(bounded(t), t, other, "tx")
			end(t, m, lock, cancel)
			for range 2 {
				var got acquired
				var mine bool
				select {
				case got = <-local:
					mine = true
				case got = <-remote:
				case <-bounded(t).Done():
					t.Fatal("no waiter is served")
				}
				if mine && name == "close" {
					wantIs(t, got.err, manager.ErrClosed)
					continue
				}
				if got.err != nil {
					t.Fatal(got.err)
				}
				if n := query(t, s, "SELECT count(*)::text FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND application_name LIKE 'lk %'")[0][0]; n != "0" {
					t.Error("the next holder has the lock, and the transaction is open")
				}
				release(t, got.lock)
			}
			if err := tx.Commit(bounded(t)); err == nil {
				t.Error("a commit after the hold")
			}
			if v := valueOf(t, s, rows); v != "0" {
				t.Errorf("%s was committed after the hold", v)
			}
		})
	}
}

// TestCutStatementEndsTheSession: a context that ends under a statement, and a hold that does.
func TestCutStatementEndsTheSession(t *testing.T) {
	s := server(t)
	m := open(t)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	short, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	sleep := "SELECT pg_sleep(60)"
	if old(s) { // the server goes on with a statement whose client has gone
		sleep = "SELECT pg_sleep(8)"
	}
	_, err := tx.Exec(short, sleep)
	wantIs(t, err, context.DeadlineExceeded)
	ended(t, "the loss", lock.Done())
	wantIs(t, lock.Err(), manager.ErrLost)
	if !strings.Contains(lock.Err().Error(), "ended by its transaction") {
		t.Error(lock.Err())
	}
	_ = tx.Rollback(bounded(t))
	wantIs(t, lock.Release(bounded(t)), manager.ErrLost)

	lock = acquire(t, m, "tx", manager.WithDedicatedSession())
	tx = beginTx(t, lock)
	failed := make(chan error, 1)
	go func() {
		_, err := tx.Exec(bounded(t), sleep+" -- under the hold") // the server may not have noticed yet that the first one's client has gone
		failed <- err
	}()
	eventually(t, "the statement runs", func() bool {
		return query(t, s, "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%under the hold' AND state = 'active'")[0][0] == "1"
	})
	wantIs(t, lock.Release(bounded(t)), manager.ErrTxOpen, manager.ErrReleaseUnknown)
	if err := ended(t, "the statement", failed); err == nil {
		t.Error("a statement of a session that has ended")
	}
	again := acquire(t, m, "tx")
	release(t, again)
}

// TestContextBetweenStatements: a context that ends while nothing is under way does no harm.
func TestContextBetweenStatements(t *testing.T) {
	s := server(t)
	m, rows := open(t), table(t, s)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	for name, end := range map[string]func(pgx.Tx, context.Context) error{"commit": pgx.Tx.Commit, "rollback": pgx.Tx.Rollback} {
		ctx, cancel := context.WithCancel(t.Context())
		tx, err := lock.BeginTx(ctx, pgx.TxOptions{})
		if err != nil {
			t.Fatal(err)
		}
		exec(t, tx, "UPDATE "+rows+" SET value = 1")
		cancel()
		_, err = tx.Exec(ctx, "SELECT 1")
		wantIs(t, err, context.Canceled)
		exec(t, tx, "SELECT 1")
		wantIs(t, end(tx, ctx), context.Canceled)
		tx = beginTx(t, lock) // once the session is back
		commit(t, tx)
		if v := valueOf(t, s, rows); v != "0" {
			t.Errorf("%s: %s was committed", name, v)
		}
	}
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
}

// TestTransactionsThatFail leave the lock alone.
func TestTransactionsThatFail(t *testing.T) {
	s := server(t)
	m, rows := open(t), table(t, s)
	query(t, s, "ALTER TABLE "+rows+" ADD CONSTRAINT "+rows+"_u UNIQUE (value) DEFERRABLE INITIALLY DEFERRED")
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	if _, err := tx.Exec(bounded(t), "SELECT 1/0"); err == nil {
		t.Fatal("1/0")
	}
	wantIs(t, tx.Commit(bounded(t)), pgx.ErrTxCommitRollback)
	tx = beginTx(t, lock)
	exec(t, tx, "INSERT INTO "+rows+" VALUES (0)")
	var server *pgconn.PgError
	if err := tx.Commit(bounded(t)); !errors.As(err, &server) || server.Code != "23505" {
		t.Errorf("a deferred constraint: %v", err)
	}
	tx = beginTx(t, lock) // a COMMIT by hand
	exec(t, tx, "UPDATE "+rows+" SET value = 5")
	exec(t, tx, "COMMIT")
	commit(t, tx)
	if v := valueOf(t, s, rows); v != "5" {
		t.Error(v)
	}
	tx = beginTx(t, lock)
	exec(t, tx, "SELECT 1")
	if err := tx.Conn().Close(bounded(t)); err != nil { // a connection that is closed between two statements
		t.Error(err)
	}
	_ = tx.Rollback(bounded(t))
	commit(t, beginTx(t, lock))
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
}

// TestTransactionsThatHarmTheSession lose the lock, and the holder is told.
func TestTransactionsThatHarmTheSession(t *testing.T) {
	for _, sql := range []string{"SELECT pg_advisory_unlock_all()", "DEALLOCATE ALL", "SELECT pg_terminate_backend(pg_backend_pid())", "COMMIT; DISCARD ALL"} {
		t.Run(sql, func(t *testing.T) {
			m := open(t)
			lock := acquire(t, m, "tx", manager.WithDedicatedSession())
			tx := beginTx(t, lock)
			for part := range strings.SplitSeq(sql, "; ") {
				_, _ = tx.Exec(bounded(t), part)
			}
			_ = tx.Commit(bounded(t))
			ended(t, "the loss", lock.Done())
			wantIs(t, lock.Err(), manager.ErrLost)
			wantIs(t, lock.Release(bounded(t)), manager.ErrLost)
			again := acquire(t, m, "tx", manager.WithDedicatedSession())
			commit(t, beginTx(t, again))
			release(t, again)
		})
	}
}

// TestLossUnderAnIdleTransaction is seen when it comes: the session's reader always reads.
func TestLossUnderAnIdleTransaction(t *testing.T) {
	s := server(t)
	m := open(t)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	var pid int
	if err := tx.QueryRow(bounded(t), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	terminate(t, s, pid)
	ended(t, "the loss", lock.Done())
	t.Logf("told after %v", time.Since(began))
	wantIs(t, lock.Err(), manager.ErrLost)
	var server *pgconn.PgError
	if !errors.As(lock.Err(), &server) || server.Code != "57P01" {
		t.Error(lock.Err())
	}
	if err := tx.Commit(bounded(t)); err == nil {
		t.Error("a commit on a session that has ended")
	}
}

// TestLongTransactionsKeepTheLock: idle, and in a statement, for many times the trust and the server's own limits.
func TestLongTransactionsKeepTheLock(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithHealth(500*time.Millisecond, 3*time.Second), manager.WithSessionTimeout(4500*time.Millisecond), manager.WithIdleTime(time.Second))
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	tx := beginTx(t, lock)
	exec(t, tx, "SELECT pg_sleep(9)")
	query(t, s, "SELECT pg_sleep(7)::text")
	if _, err := tx.Exec(bounded(t), "SELECT 1/0"); err == nil {
		t.Error("1/0")
	}
	query(t, s, "SELECT pg_sleep(6)::text") // in a transaction that has failed
	if err := tx.Rollback(bounded(t)); err != nil {
		t.Error(err)
	}
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
}
