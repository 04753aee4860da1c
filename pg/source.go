package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

type configSource struct{ config func() *pgx.ConnConfig }

// FromDSN makes a source of all that pgx parses: URL or key=value form, several hosts, service files, PG* variables.
func FromDSN(dsn string) (Source, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, connectError(err, "")
	}
	return FromConfig(config)
}

// FromConfig makes a source of a parsed configuration, which is copied. It must come from pgx.ParseConfig.
func FromConfig(config *pgx.ConnConfig) (Source, error) {
	if config == nil {
		return nil, errors.New("the connection config is nil")
	}
	if config.BuildFrontend == nil || config.DialFunc == nil || config.LookupFunc == nil {
		return nil, errors.New("the connection config was not made by pgx.ParseConfig") // pgx would panic
	}
	config = config.Copy()
	return configSource{func() *pgx.ConnConfig { return config }}, nil
}

func (s configSource) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	return s.connectChecked(ctx, nil)
}

// database is the one that is asked for; the server takes the user's name where none is.
func (s configSource) database() string {
	config := s.config()
	if config.Database == "" {
		return config.User
	}
	return config.Database
}

func (s configSource) connectChecked(ctx context.Context,
	check func(context.Context, *pgconn.PgConn) error) (*pgconn.PgConn, error) {
	config := s.hurried(ctx)
	if validate := config.ValidateConnect; check != nil {
		config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			if validate != nil {
				if err := validate(ctx, conn); err != nil {
					return err
				}
			}
			return check(ctx, conn)
		}
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(connecting{}) == nil {
			return nil, errNoCancel
		}
		return dial(ctx, network, addr)
	}
	conn, err := pgconn.ConnectConfig(context.WithValue(ctx, connecting{}, true), config)
	if err != nil {
		return nil, connectError(err, s.config().Password)
	}
	return conn, nil
}

// connecting marks the contexts in which a connection is made. Whatever else pgx dials is a request to cancel what a
// connection did that has failed: of no use here, where the connection is closed, and at a server that hangs it takes 15 s.
type connecting struct{}

var errNoCancel = errors.New("nothing is cancelled, the connection is closed")

// hurried gives each of several hosts its share of the time that there is: one that accepts connections and says nothing
// must not use up what another could be reached in.
func (s configSource) hurried(ctx context.Context) *pgconn.Config {
	config := &s.config().Config
	hosts := map[string]bool{}
	for _, h := range config.Fallbacks { // with and without TLS are two
		hosts[fmt.Sprint(h.Host, " ", h.Port)] = true
	}
	hosts[fmt.Sprint(config.Host, " ", config.Port)] = true
	copied := config.Copy()
	if deadline, bounded := ctx.Deadline(); bounded && len(hosts) > 1 && config.ConnectTimeout == 0 {
		copied.ConnectTimeout = time.Until(deadline) / time.Duration(len(hosts))
	}
	return copied
}

type poolSource struct{ pool func() *pgxpool.Pool }

// FromPool makes a source of the user's own pool. Each session takes one connection out of it for good: a connection
// that may still hold a lock never goes back. The pool's size bounds those it keeps, not those that were taken out.
func FromPool(pool *pgxpool.Pool) (Source, error) {
	if pool == nil {
		return nil, errors.New("the pgxpool.Pool is nil")
	}
	return poolSource{func() *pgxpool.Pool { return pool }}, nil
}

func (s poolSource) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := s.pool().Acquire(ctx)
	if err != nil {
		return nil, connectError(err, s.pool().Config().ConnConfig.Password)
	}
	return conn.Hijack().PgConn(), nil
}

type dbSource struct{ db func() *sql.DB }

// FromDB makes a source of a database/sql pool on pgx's stdlib driver. As with [FromPool], a session's connection is
// taken out of it for good.
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
		return nil, connectError(err, "")
	}
	var taken *pgconn.PgConn
	err = conn.Raw(func(driverConn any) error {
		std, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the sql.DB gave a %T, not a connection of pgx's stdlib driver", driverConn)
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
