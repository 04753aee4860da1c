package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// Source is where connections come from. Connect gives a connection that is the caller's alone from then on: nobody
// else closes, reuses or counts it. It may be called from several goroutines at once.
type Source interface {
	Connect(ctx context.Context) (*pgconn.PgConn, error)
}

// Sources hold passwords, and are printed sooner or later: as a part of something, by a verb that does not fit, or in a
// panic's report. So each holds a function: whoever prints one prints an address.

type configSource struct {
	config func() (*pgx.ConnConfig, error) // for one connection
	first  func() *pgx.ConnConfig          // as it was when the source was made
}

func newConfigSource(config func() (*pgx.ConnConfig, error)) (Source, error) {
	first, err := config()
	if err != nil {
		return nil, connectError(context.Background(), err) //nolint:forbidigo // nothing is waited for
	}
	return configSource{config, func() *pgx.ConnConfig { return first }}, nil
}

// FromDSN makes a source of all that pgx parses: URL or key=value form, several hosts, service files, PG* variables. It is parsed
// again for each connection, so that a password file, or the files of TLS, may be renewed. A line break at its end, as files have
// it, does not count; neither do pgxpool's parameters.
func FromDSN(dsn string) (Source, error) {
	return newConfigSource(func() (*pgx.ConnConfig, error) { return parseDSN(dsn) })
}

// FromConfig makes a source of a parsed configuration, which is copied. It must come from pgx.ParseConfig. Its password is the one
// that was read then.
func FromConfig(config *pgx.ConnConfig) (Source, error) {
	if config == nil {
		return nil, errors.New("the connection config is nil")
	}
	if config.BuildFrontend == nil || config.DialFunc == nil || config.LookupFunc == nil {
		return nil, errors.New("the connection config was not made by pgx.ParseConfig") // pgx would panic
	}
	config = config.Copy()
	err := completeConfig(config)
	return newConfigSource(func() (*pgx.ConnConfig, error) { return config, err })
}

func (s configSource) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	var conn *pgconn.PgConn
	w, err := s.connectChecked(ctx, newAttempt(defaultConnectTimeout), func(_ context.Context, w *wire) error {
		conn = w.pg
		return nil
	})
	if err == nil {
		err = w.release()
	}
	if err != nil {
		return nil, connectError(ctx, err, secretsOf(&s.first().Config)...)
	}
	return conn, nil
}

// database is the one that is asked for; the server takes the user's name where none is.
func (s configSource) database() string {
	config := s.first()
	if config.Database == "" {
		return config.User
	}
	return config.Database
}

// connectTimeout is the connect_timeout of the DSN, 0 where it has none.
func (s configSource) connectTimeout() time.Duration { return s.first().ConnectTimeout }

// connectChecked logs in, and checks the connection. The user's functions are called here, on the attempt's goroutine.
func (s configSource) connectChecked(ctx context.Context, a *attempt,
	check func(context.Context, *wire) error) (*wire, error) {
	parsed, err := s.config()
	if err != nil {
		return nil, err
	}
	config := parsed.Config.Copy()
	config.ConnectTimeout = 0 // pgx would bound the whole log-in by it; the attempt bounds each answer
	d := newDialer(ctx, a, config)
	var kept *socket
	defer func() { d.closeAll(kept) }() // also where a function of the user's panics
	// No function of the user's runs on a goroutine that is not ours: these two would, or would stay with the session.
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend { return pgproto3.NewFrontend(r, w) }
	config.DialFunc, config.LookupFunc = d.Dial, d.Lookup
	validate, after := config.ValidateConnect, config.AfterConnect
	var w *wire
	accept := func(conn *pgconn.PgConn) error {
		if after != nil {
			if err := after(ctx, conn); err != nil {
				d.final = &hookError{"AfterConnect", err}
				return d.final
			}
		}
		if conn.IsClosed() { // by a function of the user's; pgx may still be at it
			return pgconn.ErrConnClosed
		}
		if conn.IsBusy() {
			return errBusy
		}
		w = newWire(a, conn)
		w.used = validate != nil || after != nil
		if w.socket = d.last(); w.socket != nil {
			w.socket.limit.Store(0)
		}
		err := check(ctx, w)
		if errors.Is(err, ErrUnsafe) && !errors.Is(err, errDemoted) {
			d.final = err
		}
		return err
	}
	config.AfterConnect = nil
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if validate != nil {
			if err := validate(ctx, conn); err != nil {
				return err
			}
		}
		return accept(conn)
	}
	conn, err := pgconn.ConnectConfig(context.WithValue(ctx, connecting{}, true), config)
	if err == nil && (w == nil || w.pg != conn) { // ValidateConnect preferred another, which there is none of
		err = accept(conn)
	}
	if err != nil {
		return nil, secretError{err, secretsOf(&parsed.Config)}
	}
	kept = w.socket
	return w, nil
}

type poolSource struct{ pool func() *pgxpool.Pool }

// FromPool makes a source of the user's own pool. Each session takes one connection out of it for good: a connection
// that may still hold a lock never goes back. The pool's size bounds those it keeps, not those that were taken out.
//
// What was left in the session is removed first, by DISCARD ALL: locks, role, settings, subscriptions, temporary tables.
//
// pgxpool calls BeforeConnect, AfterConnect and the functions of its ConnConfig on goroutines of its own. A panic there ends
// the program, and runtime.Goexit costs the pool a place for good; nobody but such a function itself can prevent that. A
// source of [FromConfig] has neither trouble.
func FromPool(pool *pgxpool.Pool) (Source, error) {
	if pool == nil {
		return nil, errors.New("the pgxpool.Pool is nil")
	}
	if err := checkParameters(pool.Config().ConnConfig); err != nil {
		return nil, connectError(context.Background(), err) //nolint:forbidigo // nothing is waited for
	}
	return poolSource{func() *pgxpool.Pool { return pool }}, nil
}

// connectTimeout is the connect_timeout of the pool's configuration, 0 where it has none.
func (s poolSource) connectTimeout() time.Duration {
	return s.pool().Config().ConnConfig.ConnectTimeout
}

func (s poolSource) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := s.pool().Acquire(ctx)
	if err != nil {
		return nil, connectError(ctx, err, secretsOf(&s.pool().Config().ConnConfig.Config)...)
	}
	return conn.Hijack().PgConn(), nil
}

type dbSource struct{ db func() *sql.DB }

// FromDB makes a source of a database/sql pool on pgx's stdlib driver. As with [FromPool], a session's connection is
// taken out of it for good, and what was left in it is removed. A function of the driver's that panics costs the sql.DB a
// place for good. An sql.DB that stdlib.OpenDBFromPool made gives its pgxpool the place back after 15 s: give the pool to [FromPool].
func FromDB(db *sql.DB) (Source, error) {
	if db == nil {
		return nil, errors.New("the sql.DB is nil")
	}
	if _, ok := db.Driver().(*stdlib.Driver); !ok {
		return nil, fmt.Errorf("the sql.DB uses the driver %T: only pgx's stdlib driver is supported", db.Driver())
	}
	return dbSource{func() *sql.DB { return db }}, nil
}

func (s dbSource) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := s.db().Conn(ctx)
	if err != nil {
		return nil, connectError(ctx, err)
	}
	var taken *pgconn.PgConn
	err = conn.Raw(func(driverConn any) error {
		std, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the sql.DB gave a %T, not a connection of pgx's stdlib driver", driverConn)
		}
		if std.Conn().PgConn().IsBusy() {
			return errors.Join(errBusy, driver.ErrBadConn)
		}
		if err := endBackgroundRead(ctx, std.Conn().PgConn()); err != nil {
			return errors.Join(err, driver.ErrBadConn)
		}
		hijacked, err := std.Conn().PgConn().Hijack()
		if err != nil {
			return err
		}
		if taken, err = pgconn.Construct(hijacked); err != nil {
			return err
		}
		// The husk that stays behind is closed, and database/sql drops it from the pool on this error.
		return driver.ErrBadConn
	})
	if taken != nil {
		return taken, nil
	}
	return nil, errors.Join(err, conn.Close())
}

// endBackgroundRead ends the read in which pgx's background reader may be: a write that takes more than 15 ms starts it, and it would take an answer
// from whoever has the connection next. (PgConn.SyncConn, which is for that, sends a statement, and starts it again where writes are slow.)
func endBackgroundRead(ctx context.Context, conn *pgconn.PgConn) error {
	defer context.AfterFunc(ctx, func() { closeSocket(conn.Conn()) })() // for a connection whose deadlines do nothing
	if err := conn.Conn().SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		return noDeadlines(err)
	}
	for {
		message, err := conn.Frontend().Receive() // once the background reader has ended this reads itself, which the deadline ends at once
		var timeout net.Error
		switch m := message.(type) {
		case *pgproto3.ErrorResponse: // the server's last word
			return pgconn.ErrorResponseToPgError(m)
		case nil:
			if errors.As(err, &timeout) && timeout.Timeout() {
				return conn.Conn().SetReadDeadline(time.Time{})
			}
			return err
		}
	}
}
