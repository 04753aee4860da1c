package manager_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// connections is how many the server has of the code under test.
func connections(t *testing.T, s *pgserver.Server) int {
	t.Helper()
	return len(query(t, s, "SELECT 1 FROM pg_stat_get_activity(NULL) WHERE application_name LIKE 'lk %'"))
}

func TestManyLocksFewSessions(t *testing.T) {
	s, m := server(t), open(t)
	ctx := bounded(t)
	const n = 2000
	locks := make([]*manager.Lock, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			lock, err := m.Acquire(ctx, fmt.Sprint("key ", i))
			if err != nil {
				t.Error(err)
				return
			}
			locks[i] = lock
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if got := held(t, s); len(got) != n {
		t.Errorf("the server has %d locks of %d", len(got), n)
	}
	eventually(t, "the connections are few", func() bool { // those that Open has closed end when the server has seen it
		got := connections(t, s)
		return got >= 1 && got <= 4
	})
	if stats := m.Stats(); stats.Held != n || stats.Keys != n || stats.Batches.Largest < 2 {
		t.Errorf("%+v", stats)
	}
	for _, lock := range locks {
		wg.Go(func() {
			if err := lock.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := held(t, s); len(got) != 0 {
		t.Errorf("%d locks are left", len(got))
	}
}

func TestSessionLimitsHold(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithMaxSessions(3), manager.WithSharedSessions(1), manager.WithWaitingSessions(1))
	other := open(t, manager.WithSharedSessions(1))
	var waiting []<-chan acquired
	var theirs []*manager.Lock
	for i := range 6 { // more keys to wait for than sessions to wait on: the rest polls
		key := fmt.Sprint("key ", i)
		theirs = append(theirs, acquire(t, other, key))
		waiting = append(waiting, acquiring(bounded(t), t, m, key))
	}
	eventually(t, "one waits and five queue for its session", func() bool {
		sessions := m.Stats().Sessions
		return sessions.Waiting == 1 && sessions.Queued == 5
	})
	first := acquire(t, m, "first", manager.WithDedicatedSession())
	ctx, cancel := context.WithCancel(bounded(t))
	second := acquiring(ctx, t, m, "second", manager.WithDedicatedSession())
	eventually(t, "the second queues for a session", func() bool { return m.Stats().Sessions.Queued == 6 })
	eventually(t, "there are three connections, and the other's", func() bool { return connections(t, s) <= 3+1 })
	cancel()
	wantIs(t, ended(t, "the withdrawal", second).err, context.Canceled)
	release(t, first)
	for i, lock := range theirs {
		release(t, lock)
		got := ended(t, "the grant", waiting[i])
		if got.err != nil {
			t.Fatal(got.err)
		}
		release(t, got.lock)
	}
}

func TestDedicatedSessionHoldsNothingElse(t *testing.T) {
	s, m := server(t), open(t)
	shared := acquire(t, m, "shared")
	pids := map[int]bool{held(t, s)[shared.ID()]: true}
	var locks []*manager.Lock
	for i := range 3 {
		lock := acquire(t, m, fmt.Sprint("dedicated ", i), manager.WithDedicatedSession())
		locks = append(locks, lock)
		pids[held(t, s)[lock.ID()]] = true
	}
	if len(pids) != 4 || m.Stats().Sessions.Dedicated != 3 {
		t.Errorf("4 locks on backends %v, sessions %+v", pids, m.Stats().Sessions)
	}
	for _, lock := range append(locks, shared) {
		release(t, lock)
	}
	eventually(t, "the sessions are idle", func() bool { return m.Stats().Sessions.Idle == 3 })
	again := acquire(t, m, "again", manager.WithDedicatedSession())
	if !pids[held(t, s)[again.ID()]] {
		t.Error("a new connection was made while one was idle")
	}
	release(t, again)
}

func TestFailedConnectsLeakNothing(t *testing.T) {
	s := server(t)
	leakFree(t, s)
	var n network
	n.failWith(refused)
	for range 5 {
		if _, err := manager.New(bounded(t), n.source(t, s)); err == nil {
			t.Fatal("opened without a connection")
		}
	}
	var dials atomic.Int64
	n.failWith(func(int) error { dials.Add(1); return nil })
	first, err := manager.New(bounded(t), n.source(t, s))
	if err != nil {
		t.Fatal(err)
	}
	closeNow(t, first)
	all := int(dials.Load())
	if all < 2 {
		t.Errorf("opened with %d connections: one session cannot tell whether its locks exclude another", all)
	}
	for dial := 1; dial <= all; dial++ {
		n.failWith(func(d int) error {
			if d == dial {
				return refused(d)
			}
			return nil
		})
		if _, err := manager.New(bounded(t), n.source(t, s)); err == nil {
			t.Fatalf("opened although dial %d failed", dial)
		}
		eventually(t, "the other connections are closed", func() bool { return n.openNow() == 0 })
	}
	n.failWith(nil)
	m := n.manager(t, s)
	terminateAll(t, s, m)
	n.failWith(refused)
	for range 5 {
		_, err := m.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrAttempts)
	}
	if open := n.openNow(); open != 0 || m.Stats().Held != 0 || m.Stats().Waiting != 0 {
		t.Errorf("%d connections are open; %+v", open, m.Stats())
	}
}

func TestReconnectsAfterRestart(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s)
	release(t, acquire(t, m, "k"))
	for _, mode := range []pgserver.StopMode{pgserver.Fast, pgserver.Immediate} {
		if err := s.Restart(bounded(t), mode); err != nil {
			t.Fatal(err)
		}
		release(t, acquire(t, m, "k"))
		release(t, acquire(t, m, "dedicated", manager.WithDedicatedSession()))
	}
}

// Close does not return before the server has let go of everything.
func TestCloseLeavesNothingAtTheServer(t *testing.T) {
	s, m, other := server(t), open(t, manager.WithCloseTimeout(soon)), open(t)
	for i := range 20 {
		acquire(t, m, fmt.Sprint("shared ", i))
	}
	acquire(t, m, "dedicated", manager.WithDedicatedSession())
	theirs := acquire(t, other, "theirs")
	waiting := acquiring(bounded(t), t, m, "theirs")
	eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
	eventually(t, "the connections that Open has closed are gone", func() bool {
		return connections(t, s) == m.Stats().Sessions.Total()+other.Stats().Sessions.Total()
	})
	began := time.Now()
	closeNow(t, m)
	if took := time.Since(began); took > soon { // a slice is 0.8 s
		t.Errorf("Close took %v", took)
	}
	wantIs(t, ended(t, "the waiter's answer", waiting).err, manager.ErrClosed)
	if got := held(t, s); len(got) != 1 || got[theirs.ID()] == 0 {
		t.Errorf("held after Close: %v", got)
	}
	if got := queued(t, s, theirs.ID()); got != 0 {
		t.Error("a backend waits on")
	}
	if got := connections(t, s); got != other.Stats().Sessions.Total() {
		t.Errorf("%d connections are left, %+v are the other's", got, other.Stats().Sessions)
	}
	release(t, theirs)
}

// A connection that may hold a lock never goes back to a pool of the user's.
func TestSources(t *testing.T) {
	s := server(t)
	config, err := pgx.ParseConfig(dsn(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("config", func(t *testing.T) {
		source, err := manager.FromConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		m := openFrom(t, s, source)
		release(t, acquire(t, m, "k"))
	})
	t.Run("pgxpool", func(t *testing.T) {
		leakFree(t, s)
		pool, err := pgxpool.New(bounded(t), dsn(s)+"&pool_max_conns=2")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		source, err := manager.FromPool(pool)
		if err != nil {
			t.Fatal(err)
		}
		m := openFrom(t, s, source)
		lock := acquire(t, m, "k")
		dedicated := acquire(t, m, "dedicated", manager.WithDedicatedSession())
		ours := func() (pid int) {
			if err := pool.QueryRow(bounded(t), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
				t.Fatal(err)
			}
			return pid
		}
		if got := held(t, s); got[lock.ID()] == 0 || got[lock.ID()] == ours() || got[dedicated.ID()] == ours() {
			t.Errorf("locks on %v, and the pool has %d", got, ours())
		}
		closeNow(t, m)
		if got := pool.Stat(); got.AcquiredConns() != 0 || got.TotalConns() > 1 {
			t.Errorf("the pool has %d connections, %d in use", got.TotalConns(), got.AcquiredConns())
		}
		if got := held(t, s); len(got) != 0 {
			t.Errorf("held after Close: %v", got)
		}
		ours() // it works on
	})
	t.Run("database/sql", func(t *testing.T) {
		leakFree(t, s)
		db := stdlib.OpenDB(*config)
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		db.SetMaxOpenConns(2)
		source, err := manager.FromDB(db)
		if err != nil {
			t.Fatal(err)
		}
		m := openFrom(t, s, source)
		lock := acquire(t, m, "k")
		acquire(t, m, "dedicated", manager.WithDedicatedSession())
		var pid int
		if err := db.QueryRowContext(bounded(t), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
			t.Fatal(err)
		}
		if got := held(t, s); len(got) != 2 || got[lock.ID()] == pid {
			t.Errorf("locks on %v, and the pool has %d", got, pid)
		}
		if got := db.Stats(); got.InUse != 0 || got.OpenConnections > 1 {
			t.Errorf("the pool: %+v", got)
		}
	})
}

type strangeDriver struct{}

func (strangeDriver) Open(string) (driver.Conn, error) { return nil, errors.New("not to be called") }

type strangeConnector struct{}

func (strangeConnector) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("not to be called")
}
func (strangeConnector) Driver() driver.Driver { return strangeDriver{} }

func TestSourcesRefuse(t *testing.T) {
	db := sql.OpenDB(strangeConnector{})
	defer db.Close()
	_, ofDB := manager.FromDB(nil)
	_, ofStrange := manager.FromDB(db)
	_, ofPool := manager.FromPool(nil)
	_, ofConfig := manager.FromConfig(nil)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no sql.DB":      {ofDB, "sql.DB is nil"},
		"another driver": {ofStrange, "strangeDriver"},
		"no pool":        {ofPool, "pgxpool.Pool is nil"},
		"no config":      {ofConfig, "config is nil"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}

// A session that dies in a key's hands is given back while it is still dying. It must not come to hold the locks of others,
// who would then meet a dead session for ever.
func TestDyingSessionIsNotShared(t *testing.T) {
	s := server(t)
	var armed atomic.Bool
	dying, goOn := make(chan struct{}), make(chan struct{})
	m := open(t, manager.WithSharedSessions(1), manager.WithHook(func(_ int64, step string) {
		if step == "try" && armed.CompareAndSwap(true, false) { // for the next waiter, after the session was given back
			close(dying)
			<-goOn
		}
	}))
	wake := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(wake)
	shared, dedicated := acquire(t, m, "shared"), acquire(t, m, "dedicated", manager.WithDedicatedSession())
	behind := acquiring(bounded(t), t, m, "dedicated")
	where := held(t, s)
	terminate(t, s, where[shared.ID()])
	wantLost(t, shared)
	eventually(t, "no session is shared", func() bool { return m.Stats().Sessions.Shared == 0 })

	armed.Store(true)
	terminate(t, s, where[dedicated.ID()])
	ended(t, "the session is dying", dying)
	other := acquiring(bounded(t), t, m, "other")
	eventually(t, "a session is shared", func() bool { return m.Stats().Sessions.Shared == 1 })
	wake()
	for _, call := range []<-chan acquired{behind, other} {
		got := ended(t, "the grant", call)
		if got.err != nil {
			t.Fatal(got.err)
		}
		release(t, got.lock)
	}
	for i := range 5 {
		release(t, acquire(t, m, fmt.Sprint("later ", i)))
	}
}
