package pg

import (
	"context"
	"database/sql"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// hooked are the functions that a user may give, each of which calls hook first. What pgxpool calls on goroutines of its own
// is not among them: a panic there ends the program before anybody can recover it.
var hooked = map[string]func(t *testing.T, dsn string, hook func() error) Source{
	"DialFunc": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		dial := config.DialFunc
		config.DialFunc = func(_ context.Context, network, address string) (net.Conn, error) {
			if err := hook(); err != nil {
				return nil, err
			}
			return dial(context.Background(), network, address) // it does not listen to its context
		}
		return fromConfig(t, config)
	},
	"LookupFunc": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, hook() }
		return fromConfig(t, config)
	},
	"ValidateConnect": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		config.ValidateConnect = func(context.Context, *pgconn.PgConn) error { return hook() }
		return fromConfig(t, config)
	},
	"AfterConnect": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		config.AfterConnect = func(context.Context, *pgconn.PgConn) error { return hook() }
		return fromConfig(t, config)
	},
	"AfterNetConnect": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		config.AfterNetConnect = func(_ context.Context, _ *pgconn.Config, conn net.Conn) (net.Conn, error) { return conn, hook() }
		return fromConfig(t, config)
	},
	"a connection's Read": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return hookedConn{conn, hook}, err
		}
		return fromConfig(t, config)
	},
	"database/sql's BeforeConnect": func(t *testing.T, dsn string, hook func() error) Source {
		return fromSQL(t, stdlib.OpenDB(*parsed(t, dsn), stdlib.OptionBeforeConnect(func(context.Context, *pgx.ConnConfig) error { return hook() })))
	},
	"database/sql's AfterConnect": func(t *testing.T, dsn string, hook func() error) Source {
		return fromSQL(t, stdlib.OpenDB(*parsed(t, dsn), stdlib.OptionAfterConnect(func(context.Context, *pgx.Conn) error { return hook() })))
	},
	"pgxpool's PrepareConn": func(t *testing.T, dsn string, hook func() error) Source {
		return fromPgxpool(t, dsn, func(config *pgxpool.Config) {
			config.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { err := hook(); return err == nil, err }
		})
	},
}

// poolHooks are called on a goroutine of pgxpool's.
var poolHooks = map[string]func(t *testing.T, dsn string, hook func() error) Source{
	"pgxpool's BeforeConnect": func(t *testing.T, dsn string, hook func() error) Source {
		return fromPgxpool(t, dsn, func(config *pgxpool.Config) {
			config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { return hook() }
		})
	},
	"pgxpool's AfterConnect": func(t *testing.T, dsn string, hook func() error) Source {
		return fromPgxpool(t, dsn, func(config *pgxpool.Config) {
			config.AfterConnect = func(context.Context, *pgx.Conn) error { return hook() }
		})
	},
}

// noticed are called with what the server says, and return no error.
var noticed = map[string]func(t *testing.T, dsn string, hook func() error) Source{
	"OnPgError": func(t *testing.T, dsn string, hook func() error) Source {
		config := parsed(t, dsn)
		config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			_, _ = conn.Exec(ctx, "SELECT 1/0").ReadAll()
			return nil
		}
		config.OnPgError = func(*pgconn.PgConn, *pgconn.PgError) bool { return hook() == nil }
		return fromConfig(t, config)
	},
}

type hookedConn struct {
	net.Conn
	hook func() error
}

func (c hookedConn) Read(b []byte) (int, error) {
	if err := c.hook(); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func fromSQL(t *testing.T, db *sql.DB) Source {
	t.Helper()
	t.Cleanup(func() { _ = db.Close() })
	source, err := FromDB(db)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func fromPgxpool(t *testing.T, dsn string, change func(*pgxpool.Config)) Source {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MinConns = 0
	change(config)
	pool, err := pgxpool.NewWithConfig(within(t), config)
	if err != nil {
		t.Fatal(err)
	}
	// A hook that panics loses its connection to the pool for good: Close would wait for it.
	t.Cleanup(func() { go pool.Close() })
	source, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	return source
}
