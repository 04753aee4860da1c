package pg

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// newTestConnector makes a connector whose timeouts are those of tests.
func newTestConnector(t testing.TB, source Source, config Config) *connector {
	t.Helper()
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 20 * time.Second
	}
	config, err := config.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newConnector(source, config)
}

// probed is a connector whose server has passed, and its first connection, which is closed with the test.
func probed(t testing.TB, source Source, config Config) (*connector, *connection) {
	t.Helper()
	c := newTestConnector(t, source, config)
	conn, err := c.probe(within(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSocket(conn.conn) })
	return c, conn
}

// another opens a further connection, which is closed with the test.
func another(t testing.TB, c *connector) *connection {
	t.Helper()
	conn, err := c.open(within(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSocket(conn.conn) })
	return conn
}

// opensOrFails opens a connection that nobody keeps.
func opensOrFails(ctx context.Context, c *connector) error {
	conn, err := c.open(ctx)
	if err == nil {
		closeSocket(conn.conn)
	}
	return err
}

func parsed(t testing.TB, dsn string) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func fromConfig(t testing.TB, config *pgx.ConnConfig) Source {
	t.Helper()
	source, err := FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return source
}
