package manager_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Serialization failures as PostgreSQL tells them. The message may be translated, and the detail is not.
var (
	oldSnapshot = serverFields{'C': "40001", 'M': "could not serialize access due to concurrent update"}
	translated  = serverFields{'C': "40001", 'M': "konnte Zugriff nicht serialisieren wegen gleichzeitiger Aktualisierung"}
	anomaly     = serverFields{'C': "40001", 'M': "could not serialize access due to read/write dependencies among transactions",
		'D': "Reason code: Canceled on identification as a pivot, during conflict in checking."}
)

// serverFields are those of the server's error message, by their letters.
type serverFields map[byte]string

// Errors as other drivers have them: as lib/pq, as bun, and with the SQLSTATE alone.
type (
	pqError    struct{ fields serverFields }
	bunError   struct{ fields serverFields }
	stateError struct{ fields serverFields }
)

func (e *pqError) Error() string       { return "pq: " + e.fields['M'] }
func (e *pqError) SQLState() string    { return e.fields['C'] }
func (e *pqError) Get(k byte) string   { return e.fields[k] }
func (e bunError) Error() string       { return e.fields['M'] }
func (e bunError) Field(k byte) string { return e.fields[k] }
func (e stateError) Error() string     { return e.fields['M'] }
func (e stateError) SQLState() string  { return e.fields['C'] }

// errorDriver is a driver whose statements all fail with one error.
type errorDriver struct{ err error }

func (d errorDriver) Connect(context.Context) (driver.Conn, error) { return d, nil }
func (d errorDriver) Driver() driver.Driver                        { return nil }
func (d errorDriver) Prepare(string) (driver.Stmt, error)          { return nil, d.err }
func (d errorDriver) Begin() (driver.Tx, error)                    { return d, nil }
func (errorDriver) Close() error                                   { return nil }
func (errorDriver) Commit() error                                  { return nil }
func (errorDriver) Rollback() error                                { return nil }

func (d errorDriver) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, d.err
}

// Behind other drivers too a serialization failure is ErrFenced if it is certainly that of an old snapshot, and only then.
func TestGuardBehindOtherDrivers(t *testing.T) {
	s := migrated(t)
	lock := acquire(t, openOn(t, s, manager.WithFencing()), "guarded")
	newer := serverFields{'C': "LKF01", 'M': "fenced"}
	for name, c := range map[string]struct {
		err    error
		fenced bool
	}{
		"lib/pq, a newer token":           {&pqError{newer}, true},
		"lib/pq, an old snapshot":         {&pqError{translated}, true},
		"lib/pq, an anomaly":              {&pqError{anomaly}, false},
		"bun, a newer token":              {bunError{newer}, true},
		"bun, an old snapshot":            {bunError{translated}, true},
		"bun, an anomaly":                 {bunError{anomaly}, false},
		"a SQLSTATE, a newer token":       {stateError{newer}, true},
		"a SQLSTATE, an old snapshot":     {stateError{oldSnapshot}, true},
		"a SQLSTATE, an anomaly":          {stateError{anomaly}, false},
		"a SQLSTATE, in another language": {stateError{translated}, false},
	} {
		t.Run(name, func(t *testing.T) {
			db := sql.OpenDB(errorDriver{c.err})
			defer func() { _ = db.Close() }()
			tx, err := db.BeginTx(bounded(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = manager.Guard(bounded(t), tx, lock)
			if errors.Is(err, manager.ErrFenced) != c.fenced || err == nil {
				t.Errorf("Guard: %v", err)
			}
			_ = tx.Rollback()
		})
	}
	release(t, lock)
}

// stateConn is a connection whose errors have the SQLSTATE alone.
type stateConn struct{ *stdlib.Conn }

func (c stateConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	r, err := c.Conn.ExecContext(ctx, query, args)
	return r, withStateAlone(err)
}

func (c stateConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := c.Conn.QueryContext(ctx, query, args)
	return r, withStateAlone(err)
}

func withStateAlone(err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return stateError{serverFields{'C': server.Code, 'M': server.Message}}
	}
	return err
}

// stateDriver connects to a server.
type stateDriver struct{ driver.Connector }

func (d stateDriver) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return stateConn{c.(*stdlib.Conn)}, nil //nolint:forcetypeassert // of pgx's own driver
}

// Behind another driver too a wait of AcquireTx ends with its own error.
func TestAcquireTxBehindAnotherDriver(t *testing.T) {
	s := server(t)
	holder := acquire(t, openOn(t, s), "k")
	config, err := pgx.ParseConfig(dsn(s))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(stateDriver{stdlib.GetConnector(*config)})
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(bounded(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, manager.AcquireTx(bounded(t), tx, "k", manager.WithWaitTimeout(20*time.Millisecond)), manager.ErrWaitTimeout)
	_ = tx.Rollback()
	release(t, holder)
}
