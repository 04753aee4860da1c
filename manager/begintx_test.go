package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// table makes a table of the test's own, with one row whose value is 0.
func table(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	name := "lk_" + strings.ToLower(strings.NewReplacer("/", "_", "-", "_", "#", "_").Replace(t.Name()))
	query(t, s, "CREATE TABLE "+name+" (value bigint)")
	t.Cleanup(func() { query(t, s, "DROP TABLE "+name) })
	query(t, s, "INSERT INTO "+name+" VALUES (0)")
	return name
}

func valueOf(t *testing.T, s *pgserver.Server, table string) string {
	t.Helper()
	return query(t, s, "SELECT value::text FROM "+table)[0][0]
}

func beginTx(t *testing.T, lock *manager.Lock) pgx.Tx {
	t.Helper()
	tx, err := lock.BeginTx(bounded(t), pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func exec(t *testing.T, tx pgx.Tx, sql string, args ...any) {
	t.Helper()
	if _, err := tx.Exec(bounded(t), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func commit(t *testing.T, tx pgx.Tx) {
	t.Helper()
	if err := tx.Commit(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestBeginTxWorksOnTheLocksSession(t *testing.T) {
	s := server(t)
	m, name := open(t), table(t, s)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	for round := 1; round <= 3; round++ { // one after the other, on one session
		tx := beginTx(t, lock)
		var pid int
		var held bool
		err := tx.QueryRow(bounded(t), `SELECT pg_backend_pid(), EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')`).Scan(&pid, &held)
		if err != nil || !held {
			t.Fatalf("the session holds the lock: %v, %v", held, err)
		}
		exec(t, tx, "UPDATE "+name+" SET value = $1", round)
		if v := valueOf(t, s, name); v != fmt.Sprint(round-1) {
			t.Fatalf("%s is seen before the commit of round %d", v, round)
		}
		commit(t, tx)
		if v := valueOf(t, s, name); v != fmt.Sprint(round) {
			t.Fatalf("%s is seen after the commit of round %d", v, round)
		}
		wantIs(t, tx.Commit(bounded(t)), pgx.ErrTxClosed)
		wantIs(t, tx.Rollback(bounded(t)), pgx.ErrTxClosed)
	}
	tx := beginTx(t, lock)
	exec(t, tx, "UPDATE "+name+" SET value = 100")
	if err := tx.Rollback(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if v := valueOf(t, s, name); v != "3" {
		t.Errorf("%s is seen after a rollback", v)
	}
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
	eventually(t, "the session that was lent has ended", func() bool { return m.Stats().Sessions.Dedicated == 0 })
}

// TestBeginTxCarriesAll: long rows, many rows, COPY both ways, a batch, notices, large writes, nested transactions.
func TestBeginTxCarriesAll(t *testing.T) {
	m := open(t)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	err := pgx.BeginTxFunc(bounded(t), lock, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		ctx := bounded(t)
		var long string
		if err := tx.QueryRow(ctx, "SELECT repeat('x', 5000000)").Scan(&long); err != nil || len(long) != 5_000_000 {
			return fmt.Errorf("a long row: %d, %w", len(long), err)
		}
		if err := tx.QueryRow(ctx, "SELECT length($1::text)", long).Scan(new(int)); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, "SELECT g FROM generate_series(1, 10000) AS g")
		all, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil || len(all) != 10_000 || all[9_999] != 10_000 {
			return fmt.Errorf("many rows: %d, %w", len(all), err)
		}
		if _, err := tx.Exec(ctx, "CREATE TEMP TABLE lk_copied (n int)"); err != nil {
			return err
		}
		i := 0
		n, err := tx.CopyFrom(ctx, pgx.Identifier{"lk_copied"}, []string{"n"}, pgx.CopyFromFunc(func() ([]any, error) {
			if i++; i > 20_000 {
				return nil, nil
			}
			return []any{i}, nil
		}))
		if err != nil || n != 20_000 {
			return fmt.Errorf("copy from: %d, %w", n, err)
		}
		var out strings.Builder
		if _, err := tx.Conn().PgConn().CopyTo(ctx, &out, "COPY lk_copied TO STDOUT"); err != nil || strings.Count(out.String(), "\n") != 20_000 {
			return fmt.Errorf("copy to: %w", err)
		}
		if _, err := tx.Exec(ctx, "DO $$ BEGIN RAISE NOTICE 'lk'; END $$"); err != nil {
			return err
		}
		b := &pgx.Batch{}
		for range 500 {
			b.Queue("SELECT count(*) FROM lk_copied WHERE n < $1", 10)
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		nested, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err = nested.Exec(ctx, "SELECT 1/0"); err == nil {
			return errors.New("1/0")
		}
		if err := nested.Rollback(ctx); err != nil {
			return err
		}
		var count int
		return tx.QueryRow(ctx, "SELECT count(*) FROM lk_copied").Scan(&count)
	})
	if err != nil {
		t.Error(err)
	}
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
}

// TestBeginTxHasTheRolesSettings: what Lockkeeper sets is for its own statements.
func TestBeginTxHasTheRolesSettings(t *testing.T) {
	withoutPooler(t, "the pooler of the tests has one role at the server")
	s := server(t)
	query(t, s, "CREATE ROLE lk_tx_role LOGIN SUPERUSER PASSWORD 'x'")
	t.Cleanup(func() { query(t, s, "DROP ROLE lk_tx_role") })
	for _, set := range []string{"statement_timeout = '90s'", "lock_timeout = '80s'", "synchronous_commit = 'local'", "standard_conforming_strings = 'on'"} {
		query(t, s, "ALTER ROLE lk_tx_role SET "+set)
	}
	config, err := pgx.ParseConfig(front(t, s))
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = "lk_tx_role", "x"
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	m := openFrom(t, s, source)
	lock := acquire(t, m, "tx", manager.WithDedicatedSession())
	for range 2 {
		tx := beginTx(t, lock)
		var have []string
		for _, name := range []string{"statement_timeout", "lock_timeout", "synchronous_commit", "plan_cache_mode", "idle_in_transaction_session_timeout"} {
			var value string
			if err := tx.QueryRow(bounded(t), "SELECT current_setting($1)", name).Scan(&value); err != nil {
				t.Fatal(err)
			}
			have = append(have, value)
		}
		if got := strings.Join(have, " "); got != "90s 80s local auto 14s" {
			t.Errorf("the transaction has %s", got)
		}
		commit(t, tx)
	}
	release(t, lock)
}

func TestBeginTxRefuses(t *testing.T) {
	s := server(t)
	m := open(t)
	plain := acquire(t, m, "plain")
	shared, err := m.AcquireShared(bounded(t), "shared", manager.WithDedicatedSession())
	if err != nil {
		t.Fatal(err)
	}
	own := acquire(t, m, "own", manager.WithDedicatedSession())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	try := func(lock *manager.Lock, ctx context.Context, o pgx.TxOptions) error {
		t.Helper()
		tx, err := lock.BeginTx(ctx, o)
		if err == nil || tx != nil {
			t.Fatalf("%v, %v", tx, err)
		}
		return err
	}
	wantIs(t, try(plain, bounded(t), pgx.TxOptions{}), manager.ErrNotDedicated)
	wantIs(t, try(shared, bounded(t), pgx.TxOptions{}), manager.ErrNotDedicated)
	wantIs(t, try(own, nil, pgx.TxOptions{}), manager.ErrNilContext)
	wantIs(t, try(own, gone, pgx.TxOptions{}), context.Canceled)
	if err := try(own, bounded(t), pgx.TxOptions{IsoLevel: "chaos"}); !strings.Contains(err.Error(), "chaos") {
		t.Error(err)
	}
	var server *pgconn.PgError
	if err := try(own, bounded(t), pgx.TxOptions{BeginQuery: "BEGIN chaos"}); !errors.As(err, &server) {
		t.Error(err)
	}
	tx := beginTx(t, own)
	wantIs(t, try(own, bounded(t), pgx.TxOptions{}), manager.ErrTxOpen)
	exec(t, tx, "SELECT 1")
	commit(t, tx)
	if err := own.Err(); err != nil {
		t.Error(err)
	}
	release(t, own)
	wantIs(t, try(own, bounded(t), pgx.TxOptions{}), manager.ErrReleased)
	lost := acquire(t, m, "lost", manager.WithDedicatedSession())
	pid := number(t, query(t, s, fmt.Sprintf("SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND objid = %d", uint32(lost.ID())))[0][0])
	terminate(t, s, int(pid))
	ended(t, "the loss", lost.Done())
	wantIs(t, try(lost, bounded(t), pgx.TxOptions{}), manager.ErrLost)
	_ = lost.Release(bounded(t))
	release(t, plain)
	release(t, shared)
	pooled := acquire(t, open(t, manager.WithTransactionPooler()), "pooled", manager.WithDedicatedSession())
	if err := try(pooled, bounded(t), pgx.TxOptions{}); !strings.Contains(err.Error(), "AcquireTx") {
		t.Error(err)
	}
	release(t, pooled)
}
