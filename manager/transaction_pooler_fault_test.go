package manager_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Statements that are cancelled, in the server's queue and among many in flight, cost no lock that was held before, and those in flight behind
// them are executed.
func TestTransactionPoolerCancelledStatements(t *testing.T) {
	p := behindPooler(t, nil)
	m, other := p.open(t, manager.WithSharedSessions(1)), p.open(t, manager.WithHealth(30*time.Second, 5*time.Second)) // it does not ask meanwhile
	lock, theirs := acquire(t, m, "kept"), acquire(t, other, "theirs")
	waits := acquiring(bounded(t), t, m, "theirs")
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	var cancelled atomic.Int64
	var all sync.WaitGroup
	conn, err := pgconn.Connect(ctx, p.DSNOf(p.name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	all.Go(func() {
		for ctx.Err() == nil {
			results, err := conn.Exec(context.Background(), fmt.Sprintf("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE datname = '%s' "+
				"AND state = 'active' AND pid <> pg_backend_pid()", p.name)).ReadAll()
			if err != nil {
				t.Error(err)
				return
			}
			cancelled.Add(int64(len(results[0].Rows)))
			// What settles a cancelled statement is not cancelled as well: the session would end.
			trips := m.Stats().RoundTrip.Count
			poll(func() bool { return ctx.Err() != nil || m.Stats().RoundTrip.Count >= trips+10 })
		}
	})
	for worker := range 40 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				lock, err := m.Acquire(context.Background(), fmt.Sprintf("%d/%d", worker, n%3), manager.WithWaitTimeout(patience))
				if err == nil {
					err = lock.Release(context.Background())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	eventually(t, "many statements were cancelled", func() bool { return cancelled.Load() > 200 })
	stop()
	all.Wait()
	release(t, theirs)
	if got := ended(t, "the turn", waits); got.err != nil {
		t.Error(got.err)
	}
	if err := lock.Err(); err != nil || len(m.Stats().Losses) > 0 {
		t.Errorf("%v, losses %v", err, m.Stats().Losses)
	}
	_, err = other.TryAcquire(bounded(t), "kept")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, lock)
	t.Logf("%d cancellations were sent", cancelled.Load())
}

// Where the server's lock table is full the statement fails, and the session with its locks stays.
func TestTransactionPoolerFullLockTable(t *testing.T) {
	s := pgtest.New(t, pgserver.Options{Settings: map[string]string{"max_locks_per_transaction": "10", "max_connections": "20"}})
	p := poolerOn(t, s, pgserver.Database, map[string]string{"default_pool_size": "10"})
	m := p.open(t, manager.WithRetry(manager.LinearRetry(1, time.Millisecond)))
	lock := acquire(t, m, "kept")
	var more []*manager.Lock
	var err error
	for err == nil {
		var next *manager.Lock
		if next, err = m.TryAcquire(bounded(t), fmt.Sprint(len(more))); err == nil {
			more = append(more, next)
		}
	}
	wantIs(t, err, manager.ErrLockTableFull)
	for _, l := range more {
		release(t, l)
	}
	if err := lock.Err(); err != nil || len(m.Stats().Losses) > 0 {
		t.Errorf("%v, losses %v", err, m.Stats().Losses)
	}
	release(t, lock)
	t.Logf("%d locks", len(more))
}

// The limits of the role and of the database do not end a session, nor a wait.
func TestTransactionPoolerOverridesTheRolesLimits(t *testing.T) {
	p := behindPooler(t, nil)
	for name, limit := range map[string]string{"statement_timeout": "2s", "idle_in_transaction_session_timeout": "2s",
		"lock_timeout": "20ms", "transaction_timeout": "2s"} {
		if len(query(t, p.Server, "SELECT FROM pg_settings WHERE name = '"+name+"'")) > 0 {
			query(t, p.Server, fmt.Sprintf("ALTER DATABASE %s SET %s = '%s'", p.name, name, limit))
		}
	}
	m, other := p.open(t), p.open(t)
	lock := acquire(t, m, "k")
	waits := acquiring(bounded(t), t, other, "k")
	began := time.Now()
	eventually(t, "twice the limit has passed", func() bool { return time.Since(began) > 4*time.Second })
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	release(t, lock)
	got := ended(t, "the other's turn", waits)
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)
	if a, b := m.Stats().Losses, other.Stats().Losses; len(a)+len(b) > 0 {
		t.Errorf("lost: %v %v", a, b)
	}
}

// childHoldPooled holds a lock behind a pooler in transaction mode.
func childHoldPooled(args []string) error {
	m, err := manager.Open(context.Background(), args[0], manager.WithTransactionPooler(),
		manager.WithHealth(500*time.Millisecond, 3*time.Second), manager.WithSessionTimeout(4500*time.Millisecond))
	if err != nil {
		return err
	}
	return holdAndTell(m, args[1])
}

// A pooler closes the backend of a client that has gone in the midst of a transaction, so that its locks are free at once; the lease ends a
// client that is frozen, which finds its lock lost when it wakes.
func TestTransactionPoolerClientKilledOrFrozen(t *testing.T) {
	p := behindPooler(t, nil)
	m := p.open(t)
	for name, stop := range map[string]func(*childtest.Child){
		"killed": func(c *childtest.Child) { c.Kill(t) },
		"frozen": func(c *childtest.Child) { c.Freeze(t) },
	} {
		t.Run(name, func(t *testing.T) {
			child := childtest.Start(t, "hold pooled", p.Bouncer.DSN, name)
			if got := child.Line(t); got != "held" {
				t.Fatal(got)
			}
			_, err := m.TryAcquire(bounded(t), name)
			wantIs(t, err, manager.ErrNotAcquired)
			began := time.Now()
			stop(child)
			lock := acquire(t, m, name)
			t.Logf("free after %v", time.Since(began).Round(time.Millisecond))
			if name == "frozen" {
				child.Wake(t)
				child.Say(t, "?")
				if got := child.Line(t); got != "lost" {
					t.Errorf("it says %q", got)
				}
				child.Kill(t)
			}
			release(t, lock)
		})
	}
}

// The pooler is killed, paused and reloaded. A loss is told by its death alone.
func TestTransactionPoolerKilledPausedReloaded(t *testing.T) {
	p := behindPooler(t, nil)
	m := p.open(t, manager.WithHealth(100*time.Millisecond, 10*time.Second))
	lock := acquire(t, m, "k")
	p.Reload(map[string]string{"pool_mode": "transaction", "default_pool_size": "25"})
	p.Pause()
	eventually(t, "the pooler pauses", func() bool { return strings.Contains(p.Bouncer.Log(), "got SIGUSR1") })
	trips := m.Stats().RoundTrip.Count
	eventually(t, "health questions are answered meanwhile", func() bool { return m.Stats().RoundTrip.Count > trips+5 })
	release(t, acquire(t, m, "during the pause"))
	if err := lock.Err(); err != nil {
		t.Error(err)
	}
	p.Resume()
	release(t, acquire(t, m, "after the pause", manager.WithDedicatedSession()))
	p.Kill()
	ended(t, "the loss", lock.Done())
	wantIs(t, lock.Err(), manager.ErrLost)
	eventually(t, "the lock is free", func() bool { return len(held(t, p.Server)) == 0 })
}

// The pooler's own limit of idle transactions is obeyed where the health questions come sooner, and ends a session, with a word of what to
// do, where they do not.
func TestTransactionPoolerIdleTransactionTimeout(t *testing.T) {
	p := behindPooler(t, map[string]string{"idle_transaction_timeout": "4"})
	often, seldom := p.open(t, manager.WithHealth(200*time.Millisecond, 10*time.Second)), p.open(t, manager.WithHealth(20*time.Second, 20*time.Second))
	kept, lost := acquire(t, often, "kept"), acquire(t, seldom, "lost")
	ended(t, "the loss", lost.Done())
	wantIs(t, lost.Err(), manager.ErrLost)
	if text := lost.Err().Error(); !strings.Contains(text, "idle transaction timeout") || !strings.Contains(text, "WithHealth") {
		t.Error(text)
	}
	if err := kept.Err(); err != nil {
		t.Error(err)
	}
	release(t, kept)
	release(t, acquire(t, seldom, "lost"))
}

// A pooler without enough server connections: the error says so.
func TestTransactionPoolerTooSmall(t *testing.T) {
	for size, enough := range map[string]bool{"1": false, "2": true} {
		p := behindPooler(t, map[string]string{"default_pool_size": size})
		if !enough {
			var err error
			eventually(t, "the error says so", func() bool { // a busy server may not give the first one in time
				err = p.refuses(t, manager.WithTransactionPooler(), manager.WithConnectTimeout(2*time.Second))
				return strings.Contains(err.Error(), "no session to spare: opening takes 2 at once")
			})
			wantIs(t, err, os.ErrDeadlineExceeded)
			continue
		}
		m := p.open(t, manager.WithConnectTimeout(time.Second))
		one := acquire(t, m, "a")
		two := acquire(t, m, "b", manager.WithDedicatedSession())
		_, err := m.Acquire(bounded(t), "c", manager.WithDedicatedSession(), manager.WithRetryPolicy(manager.LinearRetry(1, time.Millisecond)))
		if err == nil || !strings.Contains(err.Error(), "each session needs a server connection of the pooler's") {
			t.Error(err)
		}
		release(t, two)
		release(t, one)
	}
}
