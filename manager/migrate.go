package manager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// fenceVersion is that of the tables and functions that Migrate makes.
const fenceVersion = 1

// Migrate makes what tokens need in a database: the schema lockkeeper with two small tables and two functions. It does nothing where that
// is there already, and several programs may call it at one time. conn is a *pgx.Conn, a *pgxpool.Pool, a *pgxpool.Conn, an *sql.DB, an
// *sql.Conn, or a transaction, a pgx.Tx or an *sql.Tx, in which all of it is done then. It blocks for a few round trips, and while another
// Migrate is under way; ctx bounds it.
//
// The first call needs the right to create a schema in the database. Other roles whose managers draw tokens need USAGE of the schema, and
// SELECT, INSERT and UPDATE of lockkeeper.fence and SELECT of lockkeeper.version; those that only call [Guard] need no INSERT. Errors: SQLSTATE 42501 without the right,
// [ErrNotMigrated] where the schema is of another version.
func Migrate(ctx context.Context, conn any) error {
	if ctx == nil {
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	tx, finish, err := migration(ctx, conn)
	if err == nil {
		err = finish(migrate(ctx, tx))
	}
	if err != nil {
		return fmt.Errorf("lockkeeper: migrate: %w", err)
	}
	return nil
}

// migration begins a transaction. finish commits it, or rolls it back where there is an error.
func migration(ctx context.Context, conn any) (tx transaction, finish func(error) error, err error) {
	type pgxBeginner interface {
		BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
	}
	type sqlBeginner interface {
		BeginTx(ctx context.Context, o *sql.TxOptions) (*sql.Tx, error)
	}
	users := func(err error) error { return err }
	if isNil(conn) {
		return nil, nil, noConnection(conn)
	}
	switch c := conn.(type) {
	case pgx.Tx:
		return pgxTx{c}, users, nil
	case *sql.Tx:
		return sqlTx{c}, users, nil
	case pgxBeginner:
		t, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
		if err != nil {
			return nil, nil, err
		}
		return pgxTx{t}, func(err error) error {
			if err != nil {
				return errors.Join(err, t.Rollback(ctx))
			}
			return t.Commit(ctx)
		}, nil
	case sqlBeginner:
		t, err := c.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return nil, nil, err
		}
		// database/sql can ask for a read-only transaction, and not for one that writes where reading is the default.
		if _, err := t.ExecContext(ctx, "SET TRANSACTION READ WRITE"); err != nil {
			return nil, nil, errors.Join(err, t.Rollback())
		}
		return sqlTx{t}, func(err error) error {
			if err != nil {
				return errors.Join(err, t.Rollback())
			}
			return t.Commit()
		}, nil
	}
	return nil, nil, noConnection(conn)
}

func noConnection(conn any) error {
	return fmt.Errorf("a connection is needed, a pool, or a transaction, of pgx or database/sql, that is not nil: this is %T", conn)
}

// migrateLock keeps one Migrate from another. It is a random number.
const migrateLock = 7_413_020_866_205_573_121

const guardText = ` LANGUAGE plpgsql AS $lockkeeper$
DECLARE newest pg_catalog.int8;
BEGIN
 SELECT f.token INTO newest FROM lockkeeper.fence AS f WHERE f.id OPERATOR(pg_catalog.=) $1 FOR SHARE;
 IF newest OPERATOR(pg_catalog.=) $2 THEN
  RETURN;
 END IF;
 IF newest IS NULL THEN
  RAISE EXCEPTION USING ERRCODE = 'LKF01', MESSAGE = pg_catalog.format(
   'fenced: id %s has no token here: is this another database, or is the snapshot of the transaction older than the lock?', $1);
 END IF;
 RAISE EXCEPTION USING ERRCODE = 'LKF01', MESSAGE = pg_catalog.format('fenced: the newest token of id %s is %s, and this one is %s', $1, newest, $2);
END
$lockkeeper$`

var migrateSQL = []string{
	`CREATE SCHEMA IF NOT EXISTS lockkeeper`,
	`CREATE TABLE lockkeeper.version (version pg_catalog.int4 PRIMARY KEY)`,
	// ended is the newest token whose hold has ended cleanly, and voided the newest that nobody was told. told is the newest before token that somebody was told,
	// and waited for how many milliseconds those who held the lock since have waited for its end.
	`CREATE TABLE lockkeeper.fence (id pg_catalog.int8 PRIMARY KEY, token pg_catalog.int8 NOT NULL DEFAULT 0,
 ended pg_catalog.int8 NOT NULL DEFAULT 0, voided pg_catalog.int8 NOT NULL DEFAULT 0,
 told pg_catalog.int8 NOT NULL DEFAULT 0, waited pg_catalog.int8 NOT NULL DEFAULT 0) WITH (fillfactor = 50)`,
	`COMMENT ON TABLE lockkeeper.fence IS 'The newest token of each key, by the id of its lock. A row must not be deleted: tokens would begin again at 1.'`,
	`CREATE FUNCTION lockkeeper.guard(id pg_catalog.int8, token pg_catalog.int8) RETURNS void` + guardText,
	`CREATE FUNCTION lockkeeper.guard_all(ids pg_catalog.int8[], token pg_catalog.int8) RETURNS void LANGUAGE plpgsql AS $lockkeeper$
DECLARE one pg_catalog.int8;
BEGIN
 FOREACH one IN ARRAY $1 LOOP
  PERFORM lockkeeper.guard(one, $2);
 END LOOP;
END
$lockkeeper$`,
	`INSERT INTO lockkeeper.version (version) VALUES (` + strconv.Itoa(fenceVersion) + `)`,
}

func migrate(ctx context.Context, tx transaction) error {
	if there, err := migrated(ctx, tx); there || err != nil {
		return err
	}
	if err := tx.exec(ctx, "SELECT pg_catalog.pg_advisory_xact_lock($1::pg_catalog.int8)", int64(migrateLock)); err != nil {
		return err
	}
	if there, err := migrated(ctx, tx); there || err != nil {
		return err
	}
	for _, sql := range migrateSQL {
		if err := tx.exec(ctx, sql); err != nil {
			var server *pgconn.PgError
			if errors.As(err, &server) && server.Code == "42501" {
				return fmt.Errorf("the role needs the right to create the schema lockkeeper in this database (GRANT CREATE ON DATABASE), "+
					"or another role has to call Migrate once: %w", err)
			}
			return err
		}
	}
	return nil
}

// thereSQL reads the catalogue's tables: to_regclass may answer out of a cache what was so before another Migrate was waited for.
const thereSQL = `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE n.nspname OPERATOR(pg_catalog.=) 'lockkeeper'::pg_catalog.name AND c.relname OPERATOR(pg_catalog.=) 'version'::pg_catalog.name)`

// migrated reports whether all is there. The error says that it is of another version.
func migrated(ctx context.Context, tx transaction) (bool, error) {
	var there bool
	err := tx.row(ctx, &there, thereSQL)
	if err != nil || !there {
		return false, err
	}
	var version string
	if err = tx.row(ctx, &version, "SELECT s.version::pg_catalog.text FROM lockkeeper.version AS s"); errors.Is(err, pgx.ErrNoRows) || errors.Is(err, sql.ErrNoRows) {
		return false, checkVersion(nil)
	} else if err != nil {
		return false, err
	}
	return true, checkVersion([][]string{{version}})
}
