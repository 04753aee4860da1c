package faults

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// migrate makes the table of tokens.
func migrate(t *testing.T, s *pgserver.Server) {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(bounded(t))
	if err := manager.Migrate(bounded(t), conn); err != nil {
		t.Fatal(err)
	}
}

// A standby is promoted while the primary lives, and new connections come to the new one. The connection on which tokens are drawn stands on the
// old one: no token of a lock that was taken since is drawn there.
func TestTokensAreDrawnAtTheNewPrimary(t *testing.T) {
	c := newCluster(t)
	audit(t, c.primary)
	audit(t, c.standby)
	migrate(t, c.primary)
	m := open(t, cluster{c.standby, c.primary}.both(t), manager.WithFencing()) // the promoted one comes first in its list
	before := acquire(t, m, "counted").Token()
	rows := func(s *pgserver.Server) string {
		got, err := s.Exec(bounded(t), "SELECT max(token) FROM lockkeeper.fence")
		if err != nil {
			t.Fatal(err)
		}
		return got[0][0]
	}
	counted := rows(c.primary)
	eventually(t, "the standby has all", func() bool {
		there, err := c.standby.Exec(bounded(t), "SELECT FROM pg_tables WHERE schemaname = 'lockkeeper' AND tablename = 'fence'")
		return err == nil && len(there) == 1 && rows(c.standby) == counted
	})
	c.promote(t)
	lock := acquire(t, m, "own", manager.WithDedicatedSession(), manager.WithRetryPolicy(patient())) // its session meets the new primary
	again := acquire(t, m, "counted", manager.WithRetryPolicy(patient()))
	if again.Token() <= before || rows(c.primary) != counted || rows(c.standby) == counted {
		t.Errorf("token %d after %d; the old primary counted to %s, then %s, the new one to %s", again.Token(), before, counted, rows(c.primary), rows(c.standby))
	}
	release(t, again)
	release(t, lock)
}

// A pooler is told to stand before another cluster, as after a move to a new server, while the old one lives. Whoever meets the new one gives up
// what he has at the old one, and does not go back.
func TestAMoveToAnotherCluster(t *testing.T) {
	old := pgtest.New(t, pgserver.Options{})
	t.Setenv(pgserver.TemplatesVariable, "") // servers of one template have one system identifier
	other := pgtest.New(t, pgserver.Options{})
	audit(t, old)
	audit(t, other)
	b := pgtest.NewBouncer(t, old, pgserver.Database, map[string]string{"pool_mode": "session", "default_pool_size": "60", "server_login_retry": "1"})
	m := open(t, source(t, parse(t, b.DSN)))
	atOld, atOther := newOutsider(t, old), newOutsider(t, other)
	lock, once := acquire(t, m, "moves"), manager.WithRetryPolicy(manager.LinearRetry(1, time.Millisecond))
	b.Serve(other)
	var met *manager.Lock
	eventually(t, "new connections reach the new cluster", func() bool {
		got := acquire(t, m, "met", manager.WithDedicatedSession())
		if _, there := atOther.held()[got.ID()]; there {
			met = got
			return true
		}
		release(t, got)
		return false
	})
	ended(t, "the loss", lock.Done())
	if err := lock.Err(); !errors.Is(err, manager.ErrLost) || !strings.Contains(err.Error(), "another cluster answered") {
		t.Error(err)
	}
	lock = acquire(t, m, "moves", manager.WithRetryPolicy(patient()))
	if _, there := atOther.held()[lock.ID()]; !there {
		t.Errorf("the new cluster has %v", atOther.held())
	}
	eventually(t, "nothing is left at the old cluster", func() bool { return len(atOld.held()) == 0 })
	b.Serve(old)
	eventually(t, "the old cluster is what new connections reach", func() bool {
		got, err := m.Acquire(bounded(t), "back", manager.WithDedicatedSession(), once)
		if err == nil { // a connection that was there
			if _, there := atOther.held()[got.ID()]; !there {
				t.Fatal("a manager that knows the new cluster has a lock at the old one")
			}
			release(t, got)
			return false
		}
		if !strings.Contains(err.Error(), "two clusters answer under one name") {
			t.Fatal(err)
		}
		return true
	})
	if met.Err() != nil || lock.Err() != nil || len(atOld.held()) > 0 {
		t.Errorf("%v, %v; the old cluster has %v", met.Err(), lock.Err(), atOld.held())
	}
	b.Serve(other)
	release(t, acquire(t, m, "back", manager.WithDedicatedSession(), manager.WithRetryPolicy(patient())))
	release(t, met)
	release(t, lock)
}

// noticed is a log handler that tells of records with a text in their error.
type noticed struct {
	slog.Handler
	text string
	seen chan struct{}
}

func (n noticed) Enabled(context.Context, slog.Level) bool { return true }

func (n noticed) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if strings.Contains(a.Value.String(), n.text) {
			select {
			case n.seen <- struct{}{}:
			default:
			}
		}
		return true
	})
	return nil
}

// A primary is demoted and answers as a standby, until its address leads to the new one. Whoever waits goes on waiting, and is served there.
func TestADemotedPrimary(t *testing.T) {
	c := newCluster(t)
	b := pgtest.NewBouncer(t, c.primary, pgserver.Database, map[string]string{"pool_mode": "session", "default_pool_size": "60", "server_login_retry": "1"})
	src, met := source(t, parse(t, b.DSN)), noticed{slog.DiscardHandler, "the server is a standby", make(chan struct{}, 1)}
	holder, waiter := open(t, src), open(t, src, manager.WithLogger(slog.New(met)))
	lock := acquire(t, holder, "moves")
	type answer struct {
		lock *manager.Lock
		err  error
	}
	granted := make(chan answer, 1)
	go func() {
		got, err := waiter.Acquire(context.Background(), "moves", manager.WithRetryPolicy(manager.RetryPolicy{Attempts: 1 << 30, Backoff: patient().Backoff}))
		granted <- answer{got, err}
	}()
	o := newOutsider(t, c.primary)
	eventually(t, "it waits at the server", func() bool { return o.waitsFor(lock.ID()) })
	if err := c.primary.SignalAll(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, "the loss", lock.Done())
	c.promote(t)
	if err := c.primary.Follow(bounded(t), c.standby); err != nil {
		t.Fatal(err)
	}
	ended(t, "the refusal of the standby", met.seen)
	b.Serve(c.standby)
	got := ended(t, "the grant by the new primary", granted)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if held := newOutsider(t, c.standby).held(); len(held) != 1 {
		t.Errorf("the new primary has %v", held)
	}
	release(t, got.lock)
}
