package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// A pooler whose reset query removes prepared statements only hands a dead client's locks on. Whatever the order is in which it uses its sessions,
// the lock that the probe leaves is found and released.
func TestASessionPoolerThatKeepsLocksIsRefused(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"last in, first out":         {},
		"first in, first out":        {"server_round_robin": "1"},
		"no more than four sessions": {"default_pool_size": "4"},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			d := newDatabase(t)
			settings["pool_mode"], settings["server_reset_query"] = "session", "DEALLOCATE ALL"
			dsn := startBouncer(t, d, settings)
			pool, err := pgxpool.New(within(t), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			fromPool, err := FromPool(pool)
			if err != nil {
				t.Fatal(err)
			}
			sources := []Source{sourceOf(t, dsn)}
			if len(settings) == 2 { // from a pgxpool once, with the settings that most have
				sources = append(sources, fromPool)
			}
			for _, source := range sources {
				refused(t, source, "server_reset_query = DISCARD ALL")
				nothingIsLeft(t, d)
			}
			// Every session that the pooler has, each asked while the others are used.
			for range 4 {
				conn, err := pgconn.Connect(within(t), dsn)
				if err != nil {
					t.Fatal(err)
				}
				defer closeConn(conn)
				// 13 has no idle_session_timeout.
				results, err := conn.Exec(within(t), "SELECT count(*), current_setting('lock_timeout'), "+
					"coalesce(current_setting('idle_session_timeout', true), '0'), current_setting('synchronous_commit') "+
					"FROM pg_prepared_statements").ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				if row := results[0].Rows[0]; string(row[0]) != "0" || string(row[1]) != "0" || string(row[2]) != "0" || string(row[3]) != "on" {
					t.Errorf("left in a session of the pooler's: %s", row)
				}
			}
		})
	}
}

// A pooler may be slow, as its machine may be.
func TestASlowPoolerIsAccepted(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"as usual": 0, "a short connect timeout": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.noKey = true
				f.gone = func() { <-time.NewTimer(9 * time.Second).C }
				openPool(t, f.source(t), Config{ConnectTimeout: timeout})
			})
		})
	}
}

// Where the probe never meets the session that has the lock, it waits until its patience is over, or its context.
func TestAPoolerThatReleasesNothingIsRefused(t *testing.T) {
	for name, short := range map[string]bool{"to the end": false, "until its context ends": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.noKey = true
				never := make(chan struct{})
				t.Cleanup(func() { close(never) })
				f.gone = func() { <-never }
				if !short {
					refused(t, f.source(t), "let it reset its sessions")
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				begin := time.Now()
				_, err := Open(ctx, f.source(t), Config{})
				if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took > keptBound {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// The poolers that use a server connection again whose client has gone in the midst of a transaction, and roll it back: what else they do decides.
func TestAPoolerThatRollsBack(t *testing.T) {
	noLeaks(t)
	for name, c := range map[string]struct {
		transaction bool
		cleanup     string
		others      int    // idle connections that it uses before one whose client has gone without a word
		reason      string // that it is refused for, "": it is not
	}{
		"transaction, keeps locks":                 {true, "ROLLBACK; RESET ALL; DEALLOCATE ALL", 0, "gone in the midst of a transaction"},
		"transaction, keeps locks in one of three": {true, "ROLLBACK; RESET ALL; DEALLOCATE ALL", 2, "gone in the midst of a transaction"},
		"transaction, releases locks":              {true, "ROLLBACK; RESET ALL; DEALLOCATE ALL; SELECT pg_advisory_unlock_all()", 0, ""},
		"session, keeps locks":                     {false, "ROLLBACK; RESET ALL; DEALLOCATE ALL", 0, "server_reset_query = DISCARD ALL"},
		"session, keeps locks in one of three":     {false, "ROLLBACK; RESET ALL; DEALLOCATE ALL", 2, "server_reset_query = DISCARD ALL"},
		"session, releases locks":                  {false, "DISCARD ALL", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDatabase(t)
			source := newRecycler(t, d, c.cleanup, c.others).source(t)
			config := quick()
			config.InTransaction = c.transaction
			for range 2 {
				p, err := Open(within(t), source, config)
				if err == nil {
					closePool(t, p)
				}
				if (c.reason != "") != errors.Is(err, ErrUnsafe) || err != nil && !strings.Contains(err.Error(), c.reason) {
					t.Errorf("opened with %v", err)
				}
				eventually(t, "the pooler has used the connections again", func() bool {
					return len(d.exec(t, "SELECT 1 FROM pg_stat_activity WHERE datname = '%s' AND state LIKE 'idle in%%'", d.name)) == 0
				})
				if c.reason == "" {
					eventually(t, "no lock is left", func() bool { return len(d.locks(t)) == 0 })
				}
				nothingIsLeft(t, d)
			}
		})
	}
}

// recycler is a pooler that gives each client a server connection to the client's end, and then does its clean-up on it and uses it again: the last
// one first. Where it has others, it uses those before one whose client has gone without a word.
type recycler struct {
	dsn     string
	cleanup string
	others  int
	done    sync.WaitGroup

	mu      sync.Mutex
	clients []net.Conn
	idle    []*pgconn.PgConn
}

func newRecycler(t *testing.T, d database, cleanup string, others int) *recycler {
	t.Helper()
	r := &recycler{dsn: d.dsn(), cleanup: cleanup, others: others}
	t.Cleanup(func() {
		r.mu.Lock()
		for _, client := range r.clients {
			client.Close()
		}
		r.mu.Unlock()
		r.done.Wait()
		for _, server := range r.idle {
			closeConn(server)
		}
	})
	return r
}

func (r *recycler) source(t *testing.T) Source {
	t.Helper()
	config := parsed(t, r.dsn)
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		near, far := pgfake.Pipe()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.clients = append(r.clients, far)
		r.done.Go(func() {
			defer far.Close()
			if err := r.serve(far); err != nil {
				t.Error(err)
			}
		})
		return near, nil
	}
	return fromConfig(t, config)
}

// take gives an idle server connection, or a new one.
func (r *recycler) take() (*pgconn.PgConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.idle); n > 0 {
		server := r.idle[n-1]
		r.idle = r.idle[:n-1]
		return server, nil
	}
	return pgconn.Connect(context.Background(), r.dsn)
}

func (r *recycler) serve(client net.Conn) error {
	backend := pgproto3.NewBackend(client, client)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return nil // the client has gone
	}
	server, err := r.take()
	if err != nil {
		return err
	}
	welcome := (&pgfake.Session{PID: 1}).Welcome(true) // a number of its own
	if _, err := client.Write(pgfake.Encode(welcome...)); err != nil {
		return err
	}
	front := server.Frontend()
	answered := make(chan error, 1)
	// Joined by the receiver of answered.
	go func() {
		for {
			m, err := front.Receive()
			if err == nil {
				_, _ = client.Write(pgfake.Encode(m)) // a client that has gone
				continue
			}
			answered <- err
			return
		}
	}()
	var bye bool
	for {
		m, err := backend.Receive()
		if _, bye = m.(*pgproto3.Terminate); bye || err != nil {
			break
		}
		raw, err := m.Encode(nil)
		if err == nil {
			_, err = server.Conn().Write(raw)
		}
		if err != nil {
			return errors.Join(err, <-answered)
		}
	}
	if err := server.Conn().SetReadDeadline(time.Unix(1, 0)); err != nil { // nothing is being answered: the client has read its answers
		return err
	}
	var timeout net.Error
	if err := <-answered; !errors.As(err, &timeout) || !timeout.Timeout() {
		return err
	}
	if err := server.Conn().SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	for sql := range strings.SplitSeq(r.cleanup, "; ") {
		if _, err := server.Exec(context.Background(), sql).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle = append(r.idle, server); bye {
		return nil
	}
	for range r.others {
		other, err := pgconn.Connect(context.Background(), r.dsn)
		if err != nil {
			return err
		}
		r.idle = append(r.idle, other)
	}
	return nil
}
