package pg

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// A function of the user's that leaves results unread is told so.
func TestAConnectionThatWasLeftBusy(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	leave := func(ctx context.Context, conn *pgconn.PgConn) error { conn.Exec(ctx, "SELECT 1; SELECT 2"); return nil }
	after, validate := parsed(t, d.dsn()), parsed(t, d.dsn())
	after.AfterConnect, validate.ValidateConnect = leave, leave
	for what, source := range map[string]Source{
		"AfterConnect":    fromConfig(t, after),
		"ValidateConnect": fromConfig(t, validate),
		"a pool's": fromPgxpool(t, d.dsn(), func(c *pgxpool.Config) {
			c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) { return true, leave(ctx, conn.PgConn()) }
		}),
		"database/sql's": fromSQL(t, stdlib.OpenDB(*parsed(t, d.dsn()), stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			return leave(ctx, conn.PgConn())
		}))),
	} {
		_, err := newTestConnector(t, source, Config{}).probe(within(t))
		if err == nil || !strings.Contains(err.Error(), "left the connection busy") || Transient(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	d.isEmpty(t)
}
