package pg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// Where connections come from.

// works opens a pool, takes a lock by it, and gives everything back.
func works(t *testing.T, d database, source Source) {
	t.Helper()
	p, err := Open(within(t), source, quick())
	if err != nil {
		t.Error(err)
		return
	}
	defer closePool(t, p)
	c := newCaller(1)
	s := c.take(t, p)
	if holds := d.locks(t)[1]; holds != s.PID() {
		t.Errorf("backend %d holds the lock, the session's is %d", holds, s.PID())
	}
	c.release(t, s)
}

func TestEveryFormOfDSN(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	folder := t.TempDir()
	service := fmt.Sprintf("[locks]\nhost=%s\nport=%d\nuser=%s\ndbname=%s\n", d.SocketDir(), d.Port(), pgserver.Superuser, d.name)
	serviceFile := filepath.Join(folder, "services")
	passFile := filepath.Join(folder, "passwords")
	passwords := fmt.Sprintf("127.0.0.1:%d:*:%s:%s\n", d.Port(), pgserver.Superuser, d.Password())
	for path, content := range map[string]string{serviceFile: service, passFile: passwords} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const closedPort = "1"
	port := strconv.Itoa(d.Port())
	for name, c := range map[string]struct {
		dsn string
		env map[string]string
	}{
		"URL on a socket": {dsn: d.dsn()},
		"URL over TCP":    {dsn: d.tcpDSN()},
		"keywords":        {dsn: fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable", d.SocketDir(), port, pgserver.Superuser, d.name)},
		"keywords with quotes": {dsn: fmt.Sprintf("host = '127.0.0.1' port = %s user = '%s' password = '%s' dbname='%s'",
			port, pgserver.Superuser, d.Password(), d.name)},
		"several hosts": {dsn: fmt.Sprintf("postgres://%s:%s@127.0.0.1:%s,127.0.0.1:%s/%s?sslmode=disable",
			pgserver.Superuser, d.Password(), closedPort, port, d.name)},
		"service": {dsn: "service=locks servicefile=" + serviceFile},
		"service by variables": {dsn: "", env: map[string]string{"PGSERVICE": "locks",
			"PGSERVICEFILE": serviceFile}},
		"variables": {dsn: "", env: map[string]string{"PGHOST": "127.0.0.1", "PGPORT": port, "PGUSER": pgserver.Superuser,
			"PGPASSWORD": d.Password(), "PGDATABASE": d.name}},
		"password file": {dsn: fmt.Sprintf("host=127.0.0.1 port=%s user=%s dbname=%s", port, pgserver.Superuser, d.name),
			env: map[string]string{"PGPASSFILE": passFile}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			works(t, d, sourceOf(t, c.dsn))
		})
	}
}

// The first of several hosts accepts connections and says nothing, as a frozen server or a firewall does.
func TestAHostThatHangsDoesNotKeepTheNextFromBeingTried(t *testing.T) {
	for name, dsn := range map[string]string{
		"two hosts":           "host=10.0.0.1,10.0.0.2 port=1 user=fake sslmode=disable",
		"with or without TLS": "host=10.0.0.1,10.0.0.2 port=1 user=fake sslmode=prefer",
		"with a bound":        "host=10.0.0.1,10.0.0.2 port=1 user=fake sslmode=disable connect_timeout=1",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				f.dial = func(_ context.Context, addr string) error {
					if strings.HasPrefix(addr, "10.0.0.1:") {
						return errMute
					}
					return nil
				}
				p := openPool(t, f.sourceOf(t, dsn), Config{})
				newCaller(1).take(t, p)
			})
		})
	}
}

func TestAConfigIsCopied(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config, err := pgx.ParseConfig(d.dsn())
	if err != nil {
		t.Fatal(err)
	}
	source, err := FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	config.Host, config.Database = "nowhere.invalid", "nothing"
	works(t, d, source)
}

func TestSourcesThatAreNone(t *testing.T) {
	for name, source := range map[string]func() (Source, error){
		"no config":                         func() (Source, error) { return FromConfig(nil) },
		"a config that pgx did not make":    func() (Source, error) { return FromConfig(&pgx.ConnConfig{}) },
		"no pool":                           func() (Source, error) { return FromPool(nil) },
		"no sql.DB":                         func() (Source, error) { return FromDB(nil) },
		"a sql.DB of another driver":        func() (Source, error) { return FromDB(sql.OpenDB(otherDriver{})) },
		"a DSN that is nothing of the kind": func() (Source, error) { return FromDSN("::") },
	} {
		if source, err := source(); err == nil || source != nil {
			t.Errorf("%s: %v, %v", name, source, err)
		}
	}
}

type otherDriver struct{}

func (otherDriver) Connect(context.Context) (driver.Conn, error) { return nil, errors.New("never") }
func (o otherDriver) Driver() driver.Driver                      { return o }
func (otherDriver) Open(string) (driver.Conn, error)             { return nil, errors.New("never") }

// userPool is a pool of the user's own: how it is asked which backend answers, and how many connections it counts.
type userPool struct {
	source Source
	ask    func(ctx context.Context) (pid uint32, err error)
	open   func() int
}

func userPools(t *testing.T, d database) map[string]userPool {
	t.Helper()
	config, err := pgxpool.ParseConfig(d.dsn() + "&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(within(t), config)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*config.ConnConfig)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		pool.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	fromPool, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	fromDB, err := FromDB(db)
	if err != nil {
		t.Fatal(err)
	}
	const sql = "SELECT pg_backend_pid()"
	return map[string]userPool{
		"pgxpool": {
			source: fromPool,
			ask:    func(ctx context.Context) (pid uint32, err error) { return pid, pool.QueryRow(ctx, sql).Scan(&pid) },
			open:   func() int { return int(pool.Stat().TotalConns()) },
		},
		"database/sql": {
			source: fromDB,
			ask:    func(ctx context.Context) (pid uint32, err error) { return pid, db.QueryRowContext(ctx, sql).Scan(&pid) },
			open:   func() int { return db.Stats().OpenConnections },
		},
	}
}

// Sessions are taken out of the user's pool for good: what may hold a lock never goes back, and the pool, of one
// connection only, works on.
func TestTheUsersOwnPool(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for name, user := range userPools(t, d) {
		t.Run(name, func(t *testing.T) {
			seen := make(map[uint32]bool)
			ask := func() {
				t.Helper()
				pid, err := user.ask(within(t))
				if err != nil {
					t.Fatal(err)
				}
				seen[pid] = true
			}
			ask()
			p := openPool(t, user.source, quick())
			ask()
			callers := newCallers(span(1, 3))
			dedicated := callers[2].reserve(t, p, UseDedicated)
			sessions := []Session{callers[0].take(t, p), callers[1].reserve(t, p, UseWaiting), dedicated}
			for i, c := range callers[1:] {
				if a := c.on(t, sessions[i+1], OpTry); !a.ok {
					t.Fatalf("%+v", a)
				}
			}
			clear(seen) // a connection may have been the user's before it was taken
			for range 5 {
				ask()
			}
			if n := user.open(); n > 1 {
				t.Errorf("the user's pool counts %d connections", n)
			}
			locks := d.locks(t)
			for i, s := range sessions {
				if locks[callers[i].r.ID] != s.PID() {
					t.Errorf("lock %d is on backend %d", callers[i].r.ID, locks[callers[i].r.ID])
				}
			}
			callers[2].release(t, sessions[2])
			p.Return(dedicated)
			closePool(t, p)
			ask()
			ask()
			for _, s := range sessions {
				if seen[s.PID()] {
					t.Errorf("the user's pool had backend %d, which a session of ours had", s.PID())
				}
			}
			if locks := d.locks(t); len(locks) != 0 {
				t.Errorf("left: %v", locks)
			}
			for _, c := range callers[:2] {
				c.lost(t, CauseClosed)
			}
		})
	}
}

// The user's one connection is in use, and stays so.
func TestAUsersPoolWithoutAFreeConnection(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config, err := pgxpool.ParseConfig(d.dsn() + "&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(within(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	theirs, err := pool.Acquire(within(t))
	if err != nil {
		t.Fatal(err)
	}
	source, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	hurried := quick()
	hurried.ConnectTimeout = 50 * time.Millisecond
	_, err = Open(within(t), source, hurried)
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || !Transient(err) || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("%v", err)
	}
	theirs.Release()
	works(t, d, source)
}

// The user closes their pool first: sessions are ours, and live on.
func TestAUsersPoolThatIsClosed(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	pool, err := pgxpool.New(within(t), d.dsn())
	if err != nil {
		t.Fatal(err)
	}
	source, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	p := openPool(t, source, quick())
	c := newCaller(1)
	s := c.take(t, p)
	pool.Close()
	c.release(t, s)
	p.Reserve(&Reservation{Client: c, Use: UseWaiting})
	if got := receive(t, c.reserved); got.err == nil {
		t.Error("a session came out of a closed pool")
	}
	c.release(t, c.take(t, p))
}

// A pool of the user's that cannot connect says so as a source of ours does, and no more than that.
func TestAUsersPoolThatCannotConnect(t *testing.T) {
	noLeaks(t)
	config, err := pgxpool.ParseConfig("postgres://user:" + secret + "@127.0.0.1:1/db?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(within(t), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := stdlib.OpenDB(*config.ConnConfig)
	defer db.Close()
	fromPool, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	fromDB, err := FromDB(db)
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []Source{fromPool, fromDB} {
		_, err := Open(within(t), source, quick())
		if !errors.Is(err, syscall.ECONNREFUSED) || !Transient(err) {
			t.Errorf("%T: %v", source, err)
		}
		keepsTheSecret(t, err)
	}
}
