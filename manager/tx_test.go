package manager_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// userTx is a transaction of either kind, as its user has it.
type userTx struct {
	tx     any
	exec   func(sql string) error
	finish func(commit bool) error
}

func beginPgx(t *testing.T, dsn string) userTx {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, conn.Close) })
	tx, err := conn.Begin(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return userTx{tx, func(sql string) error { _, err := tx.Exec(bounded(t), sql); return err }, func(commit bool) error {
		if commit {
			return tx.Commit(bounded(t))
		}
		return tx.Rollback(bounded(t))
	}}
}

func beginSQL(t *testing.T, dsn string) userTx {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, func(context.Context) error { return db.Close() }) })
	tx, err := db.BeginTx(bounded(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return userTx{tx, func(sql string) error { _, err := tx.ExecContext(bounded(t), sql); return err }, func(commit bool) error {
		if commit {
			return tx.Commit()
		}
		return tx.Rollback()
	}}
}

func closeConn(t *testing.T, end func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := end(ctx); err != nil {
		t.Error(err)
	}
}

// eachTx runs a test for each kind of transaction, directly and behind a PgBouncer in transaction mode.
func eachTx(t *testing.T, test func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx)) {
	t.Helper()
	s := server(t)
	for kind, begin := range map[string]func(*testing.T, string) userTx{"pgx": beginPgx, "database-sql": beginSQL} {
		t.Run(kind, func(t *testing.T) {
			test(t, s, func(t *testing.T) userTx { t.Helper(); return begin(t, dsn(s)) })
		})
		t.Run(kind+" behind a pooler", func(t *testing.T) {
			b := pgtest.NewBouncer(t, s, pgserver.Database, map[string]string{"pool_mode": "transaction"})
			test(t, s, func(t *testing.T) userTx { t.Helper(); return begin(t, b.DSN+"&default_query_exec_mode=exec") })
		})
	}
}

// A transaction's lock and a manager's of the same key exclude each other; commit and rollback release.
func TestAcquireTxExcludes(t *testing.T) {
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		m := openOn(t, s, manager.WithNamespace("shop"), manager.WithHash(hashing.Postgres))
		same := []manager.TxOption{manager.WithNamespace("shop"), manager.WithHash(hashing.Postgres)}
		for _, commit := range []bool{true, false} {
			u := begin(t)
			if err := manager.AcquireTx(bounded(t), u.tx, "k", same...); err != nil {
				t.Fatal(err)
			}
			if held(t, s)[m.Key("k").ID()] == 0 {
				t.Fatal("the transaction has another lock than a manager would")
			}
			_, err := m.TryAcquire(bounded(t), "k")
			wantIs(t, err, manager.ErrNotAcquired)
			other := begin(t)
			wantIs(t, manager.TryAcquireTx(bounded(t), other.tx, "k", same...), manager.ErrNotAcquired)
			if err := u.finish(commit); err != nil {
				t.Fatal(err)
			}
			lock := acquire(t, m, "k")
			wantIs(t, manager.TryAcquireTx(bounded(t), other.tx, "k", same...), manager.ErrNotAcquired)
			release(t, lock)
			if err := manager.TryAcquireTx(bounded(t), other.tx, "k", same...); err != nil {
				t.Error(err)
			}
			if err := other.finish(commit); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAcquireTxShared(t *testing.T) {
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		m := openOn(t, s)
		one, two := begin(t), begin(t)
		for _, u := range []userTx{one, two} {
			if err := manager.AcquireTx(bounded(t), u.tx, "k", manager.WithSharedTx(), manager.WithWaitTimeout(patience)); err != nil {
				t.Fatal(err)
			}
		}
		three := begin(t)
		err := manager.TryAcquireTx(bounded(t), three.tx, "k")
		wantIs(t, err, manager.ErrNotAcquired)
		if failure(t, err).Shared {
			t.Errorf("the lock was not to be shared: %v", err)
		}
		_, err = m.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
		for _, u := range []userTx{one, two} {
			if err := u.finish(true); err != nil {
				t.Error(err)
			}
		}
		if err := manager.AcquireTx(bounded(t), three.tx, "k"); err != nil {
			t.Error(err)
		}
		err = manager.TryAcquireTx(bounded(t), begin(t).tx, "k", manager.WithSharedTx())
		wantIs(t, err, manager.ErrNotAcquired)
		if !failure(t, err).Shared || !strings.Contains(err.Error(), `acquire shared "k"`) {
			t.Errorf("the error does not say that the lock was to be shared: %v", err)
		}
	})
}

// A wait that is over, by its own time or just before the context's, leaves the transaction as it was, with its settings. One that is
// granted does too.
func TestAcquireTxBoundedWait(t *testing.T) {
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		m := openOn(t, s)
		lock := acquire(t, m, "k")
		u := begin(t)
		must := func(sql string) {
			t.Helper()
			if err := u.exec(sql); err != nil {
				t.Fatal(err)
			}
		}
		asBefore := "DO $$ BEGIN IF current_setting('lock_timeout') <> '77s' THEN RAISE 'lock_timeout is %', current_setting('lock_timeout'); END IF; END $$"
		must("SET LOCAL lock_timeout = '77s'")
		must("CREATE TEMP TABLE kept (n int) ON COMMIT DROP")
		err := manager.AcquireTx(bounded(t), u.tx, "k", manager.WithWaitTimeout(20*time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
		if e := failure(t, err); e.Waited < 20*time.Millisecond || e.Attempts != 2 || !strings.Contains(err.Error(), `acquire "k"`) {
			t.Errorf("the error does not have the whole story: %v", err)
		}
		wantIs(t, manager.AcquireTx(bounded(t), u.tx, "k", manager.WithWaitTimeout(0)), manager.ErrWaitTimeout)
		must("INSERT INTO kept VALUES (1)")
		must(asBefore)
		waited := make(chan error, 1)
		go func() { waited <- manager.AcquireTx(bounded(t), u.tx, "k", manager.WithWaitTimeout(patience)) }()
		eventually(t, "it waits", func() bool { return queued(t, s, lock.ID()) == 1 })
		release(t, lock)
		if err := ended(t, "the grant", waited); err != nil {
			t.Fatal(err)
		}
		must(asBefore)
		if u.exec("ROLLBACK TO SAVEPOINT lockkeeper") == nil {
			t.Error("the savepoint has been left")
		}
	})
}

// A context with a deadline bounds the wait as well, and what the driver would do at the deadline does not happen.
func TestAcquireTxEndsBeforeTheDeadline(t *testing.T) {
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		lock := acquire(t, openOn(t, s), "k")
		for bound := 500 * time.Millisecond; ; bound *= 2 { // a busy machine may need more than the tenth that is left
			u := begin(t)
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			err := manager.AcquireTx(ctx, u.tx, "k")
			early := ctx.Err() == nil
			cancel()
			wantIs(t, err, context.DeadlineExceeded)
			if !early && bound < patience {
				_ = u.finish(false)
				continue
			}
			if err := u.exec("SELECT 1"); err != nil {
				t.Errorf("the transaction cannot be used any more: %v", err)
			}
			break
		}
		release(t, lock)
	})
}

func TestAcquireTxRefusesBadInput(t *testing.T) {
	s := server(t)
	f := beginPgx(t, dsn(s))
	if err := f.finish(true); err != nil {
		t.Fatal(err)
	}
	g := beginSQL(t, dsn(s))
	if err := g.finish(false); err != nil {
		t.Fatal(err)
	}
	aborted := beginPgx(t, dsn(s))
	if aborted.exec("SELECT 1/0") == nil {
		t.Fatal("one can divide by zero")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	var none *sql.Tx
	fresh := beginPgx(t, dsn(s))
	for name, row := range map[string]struct {
		ctx  context.Context
		tx   any
		key  string
		opt  manager.TxOption
		want string
	}{
		"no context":          {nil, fresh.tx, "k", nil, manager.ErrNilContext.Error()},
		"ended context":       {canceled, fresh.tx, "k", nil, context.Canceled.Error()},
		"no key":              {t.Context(), fresh.tx, "", nil, manager.ErrEmptyKey.Error()},
		"no transaction":      {t.Context(), nil, "k", nil, "a transaction is needed, a pgx.Tx or an *sql.Tx that is not nil: this is <nil>"},
		"nil transaction":     {t.Context(), none, "k", nil, "that is not nil: this is *sql.Tx"},
		"something else":      {t.Context(), "tx", "k", nil, "this is string"},
		"negative wait":       {t.Context(), fresh.tx, "k", manager.WithWaitTimeout(-1), "WithWaitTimeout is -1ns"},
		"finished":            {t.Context(), f.tx, "k", nil, pgx.ErrTxClosed.Error()},
		"finished as well":    {t.Context(), g.tx, "k", nil, sql.ErrTxDone.Error()},
		"aborted transaction": {t.Context(), aborted.tx, "k", nil, "25P02"},
	} {
		var opts []manager.TxOption
		if row.opt != nil {
			opts = append(opts, row.opt)
		}
		for try, err := range map[bool]error{
			false: manager.AcquireTx(row.ctx, row.tx, row.key, opts...),
			true:  manager.TryAcquireTx(row.ctx, row.tx, row.key, opts...),
		} {
			var e *manager.AcquireError
			if !errors.As(err, &e) || !strings.Contains(fmt.Sprint(err), row.want) {
				t.Errorf("%s, try %v: %v; should say %q", name, try, err, row.want)
			}
		}
	}
	if locks := held(t, s); len(locks) > 0 {
		t.Errorf("locks were taken: %v", locks)
	}
}

// Behind a proxy that balances reads the statement for the lock may come to a standby, while the primary carries out what the transaction writes.
func TestAcquireTxOnAStandby(t *testing.T) {
	standby := pgtest.Standby(t, pgtest.New(t, pgserver.Options{}))
	for name, begin := range map[string]func(*testing.T, string) userTx{"pgx": beginPgx, "database/sql": beginSQL} {
		t.Run(name, func(t *testing.T) {
			tx := begin(t, standby.DSN())
			wantIs(t, manager.AcquireTx(bounded(t), tx.tx, "k"), manager.ErrUnsafe)
			wantIs(t, manager.TryAcquireTx(bounded(t), tx.tx, "k", manager.WithSharedTx()), manager.ErrUnsafe)
			if locks := held(t, standby); len(locks) > 0 {
				t.Errorf("taken at the standby: %v", locks)
			}
			if err := tx.finish(false); err != nil {
				t.Error(err)
			}
		})
	}
}
