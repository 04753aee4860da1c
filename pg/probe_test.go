package pg

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// What is refused when a pool is opened, since no lock would be safe on it.

// refused checks that a pool cannot be opened, and that the error says why.
func refused(t *testing.T, source Source, reason string) {
	t.Helper()
	p, err := Open(within(t), source, quick())
	if err == nil {
		closePool(t, p)
		t.Errorf("it was not refused: %s", reason)
		return
	}
	if !errors.Is(err, ErrUnsafe) || Transient(err) || !strings.Contains(err.Error(), reason) {
		t.Errorf("refused by %v", err)
	}
}

func TestAStandbyIsRefused(t *testing.T) {
	noLeaks(t)
	primary := newServer(t, nil)
	standby := watch(t, pgtest.Standby(t, primary.Server), primary.name)
	refused(t, sourceOf(t, standby.dsn()), "standby")
	if locks := standby.locks(t); len(locks) != 0 {
		t.Errorf("left at the standby: %v", locks)
	}
	// Both as one DSN: whoever is the primary is found.
	both := fmt.Sprintf("host=%s,%s port=%d,%d user=lockkeeper dbname=%s sslmode=disable target_session_attrs=read-write",
		standby.SocketDir(), primary.SocketDir(), standby.Port(), primary.Port(), primary.name)
	works(t, primary, sourceOf(t, both))
	if err := primary.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(within(t), sourceOf(t, both), quick()); err == nil || !Transient(err) {
		t.Errorf("only the standby is left: %v", err) // one may be promoted any moment
	}
	if err := standby.Promote(within(t)); err != nil {
		t.Fatal(err)
	}
	works(t, standby, sourceOf(t, both))
}

func TestAReadOnlyServerIsRefused(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	refused(t, sourceOf(t, d.newRole(t, "reader", "default_transaction_read_only = on")), "read-only")
}

// Poolers may have names of their own for databases, and two of those names may be one database or one of them two.
func TestAnotherDatabaseThanAskedForIsRefused(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	alias := strings.Replace(startBouncer(t, d, map[string]string{"pool_mode": "session"}), "/"+d.name, "/nickname", 1)
	refused(t, sourceOf(t, alias), `"nickname" was asked for and "`+d.name+`" answers`)
	config := quick()
	config.Database = "other"
	if p, err := Open(within(t), sourceOf(t, d.dsn()), config); !errors.Is(err, ErrUnsafe) {
		t.Errorf("not refused: %v", err)
		closePool(t, p)
	}
	config.Database = d.name
	p := openDSN(t, alias, config)
	c := newCaller(1)
	c.release(t, c.take(t, p))
}

// What later sessions of the same source lead to is looked at as well. A standby there may be a primary that was demoted: that passes.
func TestALaterSessionElsewhereIsRefused(t *testing.T) {
	for answer, reason := range map[string]string{"f 1700000000500000 1700000001500000 fakes": `"fakes" answered`, "t 1700000000500000 1700000001500000 fake": "standby"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			p := openPool(t, f.source(t), Config{})
			synctest.Wait() // the first session is in its place
			f.onStatement(func(s *fakeSession, q *question) {
				if q.Kind == "ask" {
					q.answered = true
					q.Text(fmt.Sprint(s.PID, " ", answer))
				}
			})
			c := newCaller(1)
			p.Reserve(&Reservation{Client: c, Use: UseDedicated})
			got := receive(t, c.reserved)
			if !errors.Is(got.err, ErrUnsafe) || !strings.Contains(got.err.Error(), reason) || Transient(got.err) != (reason == "standby") {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestADirectConnectionIsAccepted(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	box, dsn := newSocketMiddlebox(t, d)
	p := openDSN(t, dsn, quick())
	if n := box.Accepted(); n != 2 {
		t.Errorf("%d connections were made: one to work with and one to compare it with were expected", n)
	}
	newCaller(1).take(t, p)
	if locks := d.locks(t); len(locks) != 1 {
		t.Errorf("the server has %v", locks)
	}
}

func TestPoolersThatAreRefused(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"transaction":                     {"pool_mode": "transaction"},
		"statement":                       {"pool_mode": "statement"},
		"transaction with a reset query":  {"pool_mode": "transaction", "server_reset_query_always": "1"},
		"transaction, last in, first out": {"pool_mode": "transaction", "server_round_robin": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			d := newDatabase(t)
			source := sourceOf(t, startBouncer(t, d, settings))
			for range 3 {
				refused(t, source, "a proxy that pools by transaction or statement")
			}
			nothingIsLeft(t, d)
		})
	}
}

// nothingIsLeft checks the backends that a pooler keeps: no lock, and no transaction.
func nothingIsLeft(t *testing.T, d database) {
	t.Helper()
	if locks := d.locks(t); len(locks) != 0 {
		t.Errorf("left in the pooler's sessions: %v", locks)
	}
	eventually(t, "no transaction is open", func() bool {
		return len(d.exec(t, "SELECT 1 FROM pg_stat_activity WHERE datname = '%s' AND state LIKE 'idle in%%'", d.name)) == 0
	})
}

// Other clients make the pooler choose a backend at random, so that a probe that only looks sees what it expects.
func TestABusyTransactionPoolerIsRefused(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := startBouncer(t, d, map[string]string{"pool_mode": "transaction"})
	var stop atomic.Bool
	var statements atomic.Int64
	var busy sync.WaitGroup
	defer busy.Wait()
	defer stop.Store(true)
	for range 20 {
		busy.Go(func() {
			conn, err := pgconn.Connect(context.Background(), dsn)
			if err != nil {
				t.Error(err)
				return
			}
			defer closeConn(conn)
			for !stop.Load() {
				if _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
					t.Error(err)
					return
				}
				statements.Add(1)
			}
		})
	}
	eventually(t, "the pooler is busy", func() bool { return statements.Load() > 100 })
	source := sourceOf(t, dsn)
	for range 10 {
		refused(t, source, "a proxy that pools by transaction or statement")
	}
	if locks := d.locks(t); len(locks) != 0 {
		t.Errorf("left in the pooler's sessions: %v", locks)
	}
}

func TestASessionPoolerIsAccepted(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := startBouncer(t, d, map[string]string{"pool_mode": "session", "server_reset_query": "DISCARD ALL"})
	direct := openDSN(t, d.dsn(), quick())
	for range 3 { // the same backends again and again
		p, err := Open(within(t), sourceOf(t, dsn), quick())
		if err != nil {
			t.Fatal(err)
		}
		mine, theirs := newCaller(1), newCaller(1)
		s := mine.take(t, p)
		if a := theirs.try(t, direct); a.ok || a.err != nil {
			t.Errorf("granted twice: %+v", a)
		}
		if holds := d.locks(t)[1]; holds != s.PID() {
			t.Errorf("backend %d holds the lock, the session's is %d", holds, s.PID())
		}
		waiter := newCaller(1)
		own := waiter.reserve(t, p, UseWaiting)
		waiter.waits(t, d, own)
		if a := waiter.await(t); a.ok || a.err != nil {
			t.Errorf("%+v", a)
		}
		closePool(t, p) // with the lock held
		mine.lost(t, CauseClosed)
		eventually(t, "the pooler has reset the session", func() bool { return len(d.locks(t)) == 0 })
	}
}

// Without a reset query a pooler in session mode hands on what a client leaves behind: locks among it.
func TestASessionPoolerThatResetsNothingIsRefused(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := startBouncer(t, d, map[string]string{"pool_mode": "session", "server_reset_query": ""})
	refused(t, sourceOf(t, dsn), "server_reset_query")
	if locks := d.locks(t); len(locks) != 0 {
		t.Errorf("left in the pooler's sessions: %v", locks)
	}
}

func TestLookAlikesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(f *fakeServer)
		meddle  func(s *fakeSession, q *question)
		reason  string
	}{
		"CockroachDB": {prepare: func(f *fakeServer) { f.facts.Version = "CockroachDB CCL v25.1" }, reason: "CockroachDB"},
		"YugabyteDB":  {prepare: func(f *fakeServer) { f.facts.Version = "PostgreSQL 15.2-YB-2.25.1.0-b0 on x86_64" }, reason: "YugabyteDB"},
		"no such feature": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "try" {
				q.answered, q.Code = true, "0A000"
			}
		}, reason: "no session advisory locks"},
		"no such function": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "try in transaction" {
				q.answered, q.Code = true, "42883"
			}
		}, reason: "no session advisory locks"},
		"a proxy that passes on a backend's number": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "who am I" {
				q.answered = true
				q.Text("4711 2023-11-14")
			}
		}, reason: "pools by transaction"},
		"locks that always say true": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "try" || q.Kind == "unlock" {
				q.answered = true
				q.Bool(true)
			}
		}, reason: "granted to another"},
		"locks that always say false": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "try" {
				q.answered = true
				q.Bool(false)
			}
		}, reason: "was not granted"},
		"unlocks that do nothing": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "unlock" {
				q.answered = true
				q.Bool(true)
			}
		}, reason: "a released lock"},
		"a reset after each statement": {meddle: func(s *fakeSession, q *question) {
			if q.Kind == "try" {
				q.answered = true
				q.Bool(true)
			}
		}, reason: "server_reset_query_always"},
		"a backend without a number": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "ask" || q.Kind == "pid" {
				q.answered = true
				q.Text("-1 f 1700000000500000 1700000001500000 fake")
			}
		}, reason: "which backend answers"},
		"a backend numbered 0": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "ask" {
				q.answered = true
				q.Text("0 f 1700000000500000 1700000001500000 fake")
			}
		}, reason: "which backend answers"},
		"nothing about the backend": {meddle: func(_ *fakeSession, q *question) {
			if q.Kind == "ask" {
				q.answered = true
				q.Text("")
			}
		}, reason: "which backend answers"},
		"a standby behind the second connection": {meddle: func(s *fakeSession, q *question) {
			if q.Kind == "ask" {
				q.answered = true
				q.Text(fmt.Sprint(s.PID, " t 1700000000500000 1700000001500000 fake"))
			}
		}, reason: "standby"},
		"a proxy that hands everybody one backend": {prepare: func(f *fakeServer) { f.noKey = true },
			meddle: func(_ *fakeSession, q *question) {
				if q.Kind == "who am I" {
					q.answered = true
					q.Text("4711 2023-11-14")
				}
			}, reason: "pools by transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				if c.prepare != nil {
					c.prepare(f)
				}
				f.onStatement(c.meddle)
				refused(t, f.source(t), c.reason)
				synctest.Wait() // the server's side of what was closed
				if held := f.held(); len(held) != 0 {
					t.Errorf("held: %v", held)
				}
				if n := len(f.all()); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
}

// Some proxies keep sessions whole and do not say which backend they lead to: they are looked at more closely, and pass.
func TestAProxyThatHidesTheBackendIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.noKey = true
		var rounds atomic.Int32
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "begin" {
				rounds.Add(1)
			}
		})
		p := openPool(t, f.source(t), Config{})
		if n := rounds.Load(); n != probeRounds*probePeers {
			t.Errorf("%d transactions were opened to look at it", n)
		}
		c := newCaller(1)
		c.release(t, c.take(t, p))
	})
}

// A server that cannot prepare a statement, or fails in another way while a session is set up, is no reason for a panic
// and leaves nothing.
func TestASessionThatCannotBeSetUp(t *testing.T) {
	for _, kind := range []string{"set", "read back", "ask", "version", "recovery", "read only", "pid", "try", "unlock",
		"begin", "who am I", "try in transaction", "rollback"} {
		for _, how := range []string{"error", "hang-up", "garbage"} {
			t.Run(kind+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t)
					f.noKey = true
					f.onStatement(func(_ *fakeSession, q *question) {
						if q.Kind != kind {
							return
						}
						q.answered = true
						switch how {
						case "error":
							q.Code = "XX000"
						case "hang-up":
							q.hangUp = true
							q.edit = func([]pgproto3.BackendMessage) []pgproto3.BackendMessage { return nil }
						case "garbage":
							q.Text("\x00\xff", strconv.Itoa(1<<30), "")
						}
					})
					p, err := Open(t.Context(), f.source(t), Config{})
					if err == nil { // settings are asked for as a favour
						closePool(t, p)
						if kind != "set" && kind != "read back" && (kind != "rollback" || how != "garbage") && (kind != "begin" || how != "garbage") {
							t.Errorf("opened")
						}
					}
					synctest.Wait()
					if n := len(f.all()); n != 0 {
						t.Errorf("%d connections are left", n)
					}
				})
			})
		}
	}
}
