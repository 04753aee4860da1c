package pg

import (
	"context"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// slowConn is a connection whose writes return late, as on a machine that has no processor for them: the answer is there before.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	<-time.After(40 * time.Millisecond) // pgx begins to read in the background after 15 ms
	return n, err
}

// pgx's background reader, which a slow write starts, may still be in a read when the write is over. It must not get what is said to a session.
func TestASlowWriteLeavesNoReaderBehind(t *testing.T) {
	d := newDatabase(t)
	withTLS(t, d, tomorrow())
	for network, dsn := range map[string]string{
		"plain": d.tcpDSN(), "TLS": strings.Replace(d.tcpDSN(), "sslmode=disable", "sslmode=require", 1),
	} {
		config := parsed(t, dsn)
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return slowConn{conn}, err
		}
		for name, source := range map[string]func(t *testing.T) Source{
			"pgx":          func(t *testing.T) Source { return fromConfig(t, config) },
			"database/sql": func(t *testing.T) Source { return fromSQL(t, stdlib.OpenDB(*config)) },
			"pgxpool": func(t *testing.T) Source {
				return fromPgxpool(t, dsn, func(c *pgxpool.Config) { c.ConnConfig.DialFunc = config.DialFunc })
			},
		} {
			t.Run(name+" "+network, func(t *testing.T) {
				p := openPool(t, source(t), quick())
				for range 3 {
					c := newCaller(1)
					c.release(t, c.take(t, p))
				}
			})
		}
	}
}

// fullConn is a connection whose writes block until their deadline once full says so.
type fullConn struct {
	net.Conn
	full  *atomic.Bool
	until *atomic.Pointer[time.Time] // the write deadline
	// Sent by writes that block, with their deadline; received by the test; never closed; capacity 8: a session ends with the first.
	blocked chan time.Time
}

func (c fullConn) SetDeadline(t time.Time) error {
	c.until.Store(&t)
	return c.Conn.SetDeadline(t)
}

func (c fullConn) SetWriteDeadline(t time.Time) error {
	c.until.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

func (c fullConn) Write(b []byte) (int, error) {
	if !c.full.Load() {
		return c.Conn.Write(b)
	}
	until := *c.until.Load()
	c.blocked <- until
	<-time.After(time.Until(until))
	return 0, os.ErrDeadlineExceeded
}

// The owner of a session whose connection takes nothing more is back when the trust ends: it has to tell the holders then. The answer to a health
// question may take longer than that where one was asked late.
func TestAWriteBlocksNoLongerThanTheTrust(t *testing.T) {
	noLeaks(t)
	for name, use := range bothKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait
			c := fullConn{full: new(atomic.Bool), blocked: make(chan time.Time, 8)}
			config := parsed(t, newDatabase(t).dsn())
			dial := config.DialFunc
			config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				return fullConn{conn, c.full, new(atomic.Pointer[time.Time]), c.blocked}, err
			}
			events := make(chan Event, 8)
			p := openPool(t, fromConfig(t, config), Config{HealthInterval: 200 * time.Millisecond, HealthTimeout: 8 * time.Second, Event: func(e Event) {
				if e.Kind == EventLost {
					events <- e
				}
			}})
			holder := newCaller(1)
			s := holder.takeOn(t, p, use)
			c.full.Store(true)
			until := receive(t, c.blocked)
			holder.lost(t, CauseSilence)
			if trusted := s.asked.Add(time.Duration(s.trusted.Load())); until.After(trusted) {
				t.Errorf("a write might block for %v longer than the session was trusted", until.Sub(trusted))
			}
			if e := receive(t, events); e.Use != use || e.PID != s.pid || e.Locks != 1 {
				t.Errorf("%+v", e)
			}
			c.full.Store(false)
		})
	}
}
