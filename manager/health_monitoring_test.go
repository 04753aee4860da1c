package manager_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// wantLost waits until a hold has ended by loss, in every way in which its holder may look.
func wantLost(t *testing.T, lock *manager.Lock) {
	t.Helper()
	ctx := lock.Context()
	ended(t, "the loss", lock.Done())
	ended(t, "the end of the lock's context", ctx.Done())
	wantIs(t, lock.Err(), manager.ErrLost)
	wantIs(t, context.Cause(ctx), manager.ErrLost)
	wantIs(t, ctx.Err(), context.Canceled)
}

func wantHeld(t *testing.T, lock *manager.Lock) {
	t.Helper()
	if lock.Err() != nil || isEnded(lock.Done()) || lock.Context().Err() != nil {
		t.Errorf("%s is not held any more: %v", lock.Key(), lock.Err())
	}
}

// A backend that the server ends takes its locks with it, and those alone; each holder hears why.
func TestTerminatedBackend(t *testing.T) {
	s, m := server(t), open(t, manager.WithSharedSessions(1))
	var locks []*manager.Lock
	for i := range 20 {
		locks = append(locks, acquire(t, m, fmt.Sprint("key ", i)))
	}
	dedicated := acquire(t, m, "dedicated", manager.WithDedicatedSession())
	spared := acquire(t, m, "spared", manager.WithDedicatedSession())
	where := held(t, s)
	for _, lock := range locks[1:] {
		if where[lock.ID()] != where[locks[0].ID()] {
			t.Fatal("the locks are on several shared sessions")
		}
	}

	terminate(t, s, where[locks[0].ID()])
	for _, lock := range locks {
		wantLost(t, lock)
		var server *pgconn.PgError
		if !errors.As(lock.Err(), &server) || server.Code != "57P01" {
			t.Errorf("the loss does not say what the server said: %v", lock.Err())
		}
	}
	wantHeld(t, dedicated)
	wantHeld(t, spared)
	eventually(t, "twenty are counted as lost and two as held", func() bool {
		stats := m.Stats()
		return stats.Held == 2 && stats.Losses["ended by the server"] == 20
	})

	terminate(t, s, where[dedicated.ID()])
	wantLost(t, dedicated)
	wantHeld(t, spared)
	for _, lock := range append(locks, dedicated) {
		wantIs(t, lock.Release(bounded(t)), manager.ErrLost)
		release(t, acquire(t, m, lock.Key())) // it can be taken again
	}
	release(t, spared)
}

// Whoever waits when a session is lost goes on waiting.
func TestWaitersOutliveALoss(t *testing.T) {
	s, m, other := server(t), open(t), open(t, manager.WithApplicationName("lk other"))
	lock := acquire(t, m, "local")
	theirs := acquire(t, other, "theirs")
	behind := acquiring(bounded(t), t, m, "local")
	remote := acquiring(bounded(t), t, m, "theirs")
	eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
	query(t, s, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '"+applicationName+"'")
	wantLost(t, lock)
	next := ended(t, "the grant to the next", behind)
	if next.err != nil {
		t.Fatal(next.err)
	}
	wantHeld(t, next.lock)
	release(t, next.lock)
	release(t, theirs)
	got := ended(t, "the grant of the other", remote)
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)
}

func TestRestartedServer(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s)
	for _, mode := range []pgserver.StopMode{pgserver.Fast, pgserver.Immediate} {
		shared := acquire(t, m, "shared")
		dedicated := acquire(t, m, "dedicated", manager.WithDedicatedSession())
		if err := s.Restart(bounded(t), mode); err != nil {
			t.Fatal(err)
		}
		wantLost(t, shared)
		wantLost(t, dedicated)
		wantIs(t, shared.Release(bounded(t)), manager.ErrLost)
		release(t, acquire(t, m, "shared"))
	}
}

// A server that hangs keeps its connections open and says nothing: the clock alone ends the trust.
func TestSilentServer(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s, manager.WithHealth(200*time.Millisecond, 300*time.Millisecond), manager.WithSessionTimeout(time.Minute)) // not the server's clock
	shared := acquire(t, m, "shared")
	dedicated := acquire(t, m, "dedicated", manager.WithDedicatedSession())
	thaw := freeze(t, s)
	wantLost(t, shared)
	wantLost(t, dedicated)
	eventually(t, "both are counted as lost to silence", func() bool { // a moment after whoever looked at the clock himself
		got := m.Stats()
		return got.Losses["no answer in time"] >= 2 && len(got.Losses) == 1 && got.Held == 0
	})
	wantIs(t, shared.Release(bounded(t)), manager.ErrLost)
	thaw()
	for key, opts := range map[string][]manager.AcquireOption{"shared": nil, "dedicated": {manager.WithDedicatedSession()}} {
		eventually(t, "it can be had again", func() bool { // a server that has just woken up may answer too late once more
			lock, err := m.Acquire(bounded(t), key, opts...)
			return err == nil && lock.Release(bounded(t)) == nil
		})
	}
}

// Health questions keep an idle session trusted, far beyond the time for which one answer is believed.
func TestHealthKeepsALockAlive(t *testing.T) {
	m := open(t, manager.WithHealth(10*time.Millisecond, 10*time.Second), manager.WithSessionTimeout(12*time.Second))
	shared, dedicated := acquire(t, m, "shared"), acquire(t, m, "dedicated", manager.WithDedicatedSession())
	before := m.Stats().RoundTrip.Count
	eventually(t, "many health questions are answered", func() bool { return m.Stats().RoundTrip.Count > before+100 })
	wantHeld(t, shared)
	wantHeld(t, dedicated)
	if stats := m.Stats(); len(stats.Losses) != 0 {
		t.Errorf("%v", stats.Losses)
	}
	release(t, shared)
	release(t, dedicated)
}

// The owner of the session stands still, as in a process that was stopped: nobody but the clock can tell, and whoever
// looks at the lock is told. That comes before the server frees the lock.
func TestErrComparesTheClock(t *testing.T) {
	s := server(t)
	needSessionTimeout(t, s)
	for name, look := range map[string]func(lock *manager.Lock) error{
		"Err":           func(lock *manager.Lock) error { return lock.Err() },
		"Context().Err": func(lock *manager.Lock) error { return lock.Context().Err() },
	} {
		t.Run(name, func(t *testing.T) {
			other := open(t)
			var n network
			m := n.manager(t, s, manager.WithHealth(200*time.Millisecond, 200*time.Millisecond), manager.WithSessionTimeout(time.Second))
			lock := acquire(t, m, "k")
			if name == "Context().Err" {
				lock.Context()
			}
			n.stuck.shut()
			theirs := acquire(t, other, "k") // the server has ended the silent session
			if err := look(lock); err == nil {
				t.Error("the lock is another's, and its old holder is not told")
			}
			wantLost(t, lock)
			n.stuck.open()
			if err := lock.Release(bounded(t)); !errors.Is(err, manager.ErrLost) && !errors.Is(err, manager.ErrReleaseUnknown) {
				t.Errorf("released: %v", err)
			}
			release(t, theirs)
		})
	}
}

// A grant that comes when the trust in its session is over is not handed out.
func TestLateGrantIsNotHandedOut(t *testing.T) {
	s := server(t)
	var n network
	m := n.manager(t, s, manager.WithHealth(500*time.Millisecond, 3*time.Second), manager.WithSessionTimeout(5*time.Second))
	first := acquire(t, m, "k")
	second := acquiring(bounded(t), t, m, "k")
	n.stuck.shut()
	eventually(t, "the trust is over", func() bool { return first.Err() != nil })
	past, cancel := context.WithCancel(bounded(t))
	cancel()
	if err := first.Release(past); err == nil {
		t.Error("released without the server")
	}
	eventually(t, "the keeper has seen the release", func() bool { return m.Stats().Held == 0 })
	if got := m.Stats(); got.GrantsLocal != 0 || len(second) != 0 {
		t.Errorf("granted without the server: %+v", got)
	}
	n.stuck.open()
	got := ended(t, "the grant", second)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantHeld(t, got.lock)
	release(t, got.lock)
}
