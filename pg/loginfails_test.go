package pg

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A log-in that fails, or a function of the user's, says nothing about the server's locks.
func TestAFailedLogInIsNoLackOfLocks(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	ask := func(ctx context.Context, conn *pgconn.PgConn) error {
		_, err := conn.Exec(ctx, "SELECT no_such_function()").ReadAll()
		return err
	}
	hooked := parsed(t, d.dsn())
	hooked.AfterConnect = ask
	for what, source := range map[string]Source{
		"options":           sourceOf(t, d.dsn()+"&options=nonsense"),
		"options by a pool": fromPgxpool(t, d.dsn()+"&options=nonsense", func(*pgxpool.Config) {}),
		"AfterConnect":      fromConfig(t, hooked),
		"a pool's BeforeCall": fromPgxpool(t, d.dsn(), func(c *pgxpool.Config) {
			c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { return ask(ctx, conn.PgConn()) }
		}),
	} {
		_, err := newTestConnector(t, source, Config{}).probe(within(t))
		if code := sqlState(err); err == nil || errors.Is(err, ErrUnsafe) || Transient(err) || code != "42601" && code != "42883" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
