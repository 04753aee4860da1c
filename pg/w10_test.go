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

// stubDeadlineConn accepts deadlines and does nothing about them.
type stubDeadlineConn struct{ net.Conn }

func (stubDeadlineConn) SetDeadline(time.Time) error      { return nil }
func (stubDeadlineConn) SetReadDeadline(time.Time) error  { return nil }
func (stubDeadlineConn) SetWriteDeadline(time.Time) error { return nil }

// W10. Nor can one be used whose deadlines do nothing: a session on it would never end once the server falls silent. One that is wrapped
// and keeps its deadlines can.
func TestW10_DeadlinesThatDoNothing(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	wrapped := func(wrap func(net.Conn) net.Conn) Source {
		config := parsed(t, d.dsn())
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return wrap(conn), err
		}
		return fromConfig(t, config)
	}
	soon := quick()
	soon.HealthInterval, soon.HealthTimeout = 2*time.Second, 2*time.Second // PostgreSQL 14 and later end the session after eight seconds, and so the read
	_, err := Open(within(t), wrapped(func(conn net.Conn) net.Conn { return stubDeadlineConn{conn} }), soon)
	if !errors.Is(err, errNoEnd) || !strings.Contains(err.Error(), "has no deadlines") {
		t.Errorf("%v", err)
	}
	p, err := Open(within(t), wrapped(func(conn net.Conn) net.Conn { return struct{ net.Conn }{conn} }), quick())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(within(t)); err != nil {
		t.Error(err)
	}
	d.isEmpty(t)
}

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
