package manager_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// migrated is the shared server, with the tables for tokens.
func migrated(t *testing.T) *pgserver.Server {
	t.Helper()
	s := server(t)
	if err := manager.Migrate(bounded(t), connect(t, s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Migrate takes whatever a user has, any number at one time, and does nothing the second time.
func TestMigrate(t *testing.T) {
	s, database := pgtest.NewDatabase(t)
	to := s.DSNOf(database)
	ctx := bounded(t)
	conn, err := pgx.Connect(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(t, conn.Close)
	pool, err := pgxpool.New(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Release()
	db, err := sql.Open("pgx", to)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(t, func(context.Context) error { return db.Close() })
	single, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(t, func(context.Context) error { return single.Close() })
	kinds := []any{conn, pool, pooled, db, single}
	for round := range 3 {
		errs := make(chan error, len(kinds))
		for _, kind := range kinds {
			go func() {
				if err := manager.Migrate(ctx, kind); err != nil {
					errs <- fmt.Errorf("round %d, %T: %w", round, kind, err)
				}
				errs <- nil
			}()
		}
		for range kinds {
			if err := ended(t, "a migration", errs); err != nil {
				t.Error(err)
			}
		}
	}
	for _, begin := range []func(*testing.T, string) userTx{beginPgx, beginSQL} {
		if u := begin(t, to); errors.Join(manager.Migrate(ctx, u.tx), u.finish(true)) != nil {
			t.Errorf("%T is refused", u.tx)
		}
	}
}

// In a transaction of the user's it is part of that one.
func TestMigrateInATransaction(t *testing.T) {
	s, database := pgtest.NewDatabase(t)
	for _, commit := range []bool{false, true} {
		for _, begin := range []func(*testing.T, string) userTx{beginPgx, beginSQL} {
			u := begin(t, s.DSNOf(database))
			err := errors.Join(manager.Migrate(bounded(t), u.tx), u.exec("SELECT lockkeeper.guard(1, token) FROM lockkeeper.fence"), u.finish(commit))
			if err != nil {
				t.Errorf("%T, commit %v: %v", u.tx, commit, err)
			}
		}
	}
}

// Where the database makes transactions read-only Migrate says that its own writes.
func TestMigrateWhereReadingIsTheDefault(t *testing.T) {
	for name, connect := range map[string]func(t *testing.T, dsn string) any{
		"pgx.Conn": func(t *testing.T, dsn string) any {
			t.Helper()
			conn, err := pgx.Connect(bounded(t), dsn)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeConn(t, conn.Close) })
			return conn
		},
		"sql.DB": func(t *testing.T, dsn string) any { t.Helper(); return openSQL(t, dsn) },
		"sql.Conn": func(t *testing.T, dsn string) any {
			t.Helper()
			conn, err := openSQL(t, dsn).Conn(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeConn(t, func(context.Context) error { return conn.Close() }) })
			return conn
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, database := pgtest.NewDatabase(t)
			query(t, s, "ALTER DATABASE "+database+" SET default_transaction_read_only = on")
			conn := connect(t, s.DSNOf(database))
			for round := range 2 {
				if err := manager.Migrate(bounded(t), conn); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			}
		})
	}
}

func openSQL(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, func(context.Context) error { return db.Close() }) })
	return db
}

func TestMigrateRefuses(t *testing.T) {
	s, database := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(bounded(t), s.DSNOf(database))
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(t, conn.Close)
	ended := beginPgx(t, s.DSNOf(database))
	if err := ended.finish(false); err != nil {
		t.Fatal(err)
	}
	var none *sql.Tx
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, row := range map[string]struct {
		ctx    context.Context
		conn   any
		before string
		want   string
	}{
		"no context":       {nil, conn, "", manager.ErrNilContext.Error()},
		"nothing":          {t.Context(), nil, "", "this is <nil>"},
		"something else":   {t.Context(), "postgres://", "", "this is string"},
		"no transaction":   {t.Context(), none, "", "this is *sql.Tx"},
		"ended":            {t.Context(), ended.tx, "", pgx.ErrTxClosed.Error()},
		"no right":         {t.Context(), conn, "CREATE ROLE lk_poor; SET ROLE lk_poor", "GRANT CREATE ON DATABASE"},
		"tables of theirs": {t.Context(), conn, "CREATE SCHEMA lockkeeper; CREATE TABLE lockkeeper.fence (n int)", "42P07"},
		"no version":       {t.Context(), conn, "CREATE SCHEMA lockkeeper; CREATE TABLE lockkeeper.version (version int)", `has version [], and this program knows version 1`},
		"another version":  {t.Context(), conn, "CREATE SCHEMA lockkeeper; CREATE TABLE lockkeeper.version AS SELECT 77 AS version", `has version [["77"]], and this program knows version 1`},
	} {
		if _, err := conn.Exec(bounded(t), row.before); err != nil {
			t.Fatal(err)
		}
		if err := manager.Migrate(row.ctx, row.conn); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v; should say %q", name, err, row.want)
		}
		if _, err := conn.Exec(bounded(t), "RESET ROLE; DROP SCHEMA IF EXISTS lockkeeper CASCADE; DROP ROLE IF EXISTS lk_poor"); err != nil {
			t.Fatal(err)
		}
	}
	wantIs(t, manager.Migrate(canceled, conn), context.Canceled)
}
