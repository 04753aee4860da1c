package pg

import (
	"context"
	"net"
	"strings"
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
