package pg

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// noDeadlineConn is what an ssh tunnel gives.
type noDeadlineConn struct{ net.Conn }

var errNoDeadline = errors.New("deadlines are not supported")

func (noDeadlineConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (noDeadlineConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (noDeadlineConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

// W10. A connection without deadlines cannot be used, and the error says so, with the connection's own.
func TestW10_AConnectionWithoutDeadlines(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	tunnel := func(config *pgx.ConnConfig) *pgx.ConnConfig {
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return noDeadlineConn{conn}, err
		}
		return config
	}
	for name, source := range map[string]Source{
		"a config": fromConfig(t, tunnel(parsed(t, d.dsn()))),
		"a pool":   fromPgxpool(t, d.dsn(), func(config *pgxpool.Config) { tunnel(config.ConnConfig) }),
	} {
		_, err := Open(within(t), source, quick())
		if !errors.Is(err, errNoDeadline) || !strings.Contains(err.Error(), "has no deadlines") {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.isEmpty(t)
}
