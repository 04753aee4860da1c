package faults

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// A pooler in transaction or statement mode is refused, every time, however busy it is: other clients make it choose a
// backend at random, so that a probe which only looks once sees what it hopes for. A pooler in session mode, and the
// server itself, are accepted every time, and so is one in transaction mode with the option for it. Nothing is left in the pooler's sessions.
func TestPoolersUnderLoad(t *testing.T) {
	s := pgtest.Shared(t)
	inTransaction := []manager.Option{manager.WithTransactionPooler()}
	for name, c := range map[string]struct {
		mode    string
		refused bool
		opts    []manager.Option
	}{"transaction": {"transaction", true, nil}, "transaction, with the option": {"transaction", false, inTransaction},
		"statement": {"statement", true, nil}, "session": {"session", false, nil}, "direct": {"", false, nil}} {
		t.Run(name, func(t *testing.T) {
			audit(t, s)
			dsn := s.TCPDSN()
			if c.mode != "" {
				dsn = pgtest.NewBouncer(t, s, pgserver.Database, map[string]string{"pool_mode": c.mode, "default_pool_size": "60"}).DSN
			}
			config := parse(t, dsn)
			config.RuntimeParams["application_name"] = "lk probing"
			src := source(t, config)
			stop := crowd(t, dsn, 20)
			o := newOutsider(t, s)
			rounds, right := often(3, 100), 0
			var took figures
			for range rounds {
				began := time.Now()
				m, err := manager.New(bounded(t), src, c.opts...)
				took = append(took, time.Since(began))
				if err == nil {
					use(t, m)
				}
				switch {
				case c.refused != errors.Is(err, manager.ErrUnsafe):
					t.Errorf("%v", err)
				case c.refused && !strings.Contains(err.Error(), "pools by transaction or statement"):
					t.Errorf("the error does not name the cure: %v", err)
				default:
					right++
				}
				if left := o.held(); len(left) > 0 && !poll(func() bool { return len(o.held()) == 0 }) {
					t.Fatalf("left in the pooler's sessions: %v", left)
				}
			}
			statements := stop()
			verdict := "accepted"
			if c.refused {
				verdict = "refused"
			}
			t.Logf("%s, 20 busy clients (%d statements): %s %d of %d; Open took: %v", name, statements, verdict, right, rounds, took)
		})
	}
}

// use takes a lock and closes the manager.
func use(t *testing.T, m *manager.Manager) {
	t.Helper()
	lock := acquire(t, m, "pooled")
	other := acquire(t, m, "pooled too", manager.WithDedicatedSession())
	release(t, lock)
	release(t, other)
	closeNow(t, m)
}

// crowd keeps clients busy until it is stopped, and says how many statements they ran.
func crowd(t *testing.T, dsn string, clients int) (stop func() int64) {
	t.Helper()
	var done atomic.Bool
	var statements atomic.Int64
	var busy sync.WaitGroup
	for range clients {
		busy.Go(func() {
			conn, err := pgconn.Connect(context.Background(), dsn)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for !done.Load() {
				if _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
					t.Error(err)
					return
				}
				statements.Add(1)
			}
		})
	}
	end := sync.OnceFunc(func() {
		done.Store(true)
		busy.Wait()
	})
	t.Cleanup(end)
	eventually(t, "the clients are busy", func() bool { return statements.Load() > 100 })
	return func() int64 {
		end()
		return statements.Load()
	}
}

// An administrator changes a pooler from session to transaction mode under a manager's feet. The next health question that
// another backend answers ends the session: within one interval from then on.
func TestSessionPoolerTurnsIntoATransactionPooler(t *testing.T) {
	s := pgtest.Shared(t)
	audit(t, s)
	b := pgtest.NewBouncer(t, s, pgserver.Database, map[string]string{"pool_mode": "session"})
	m := open(t, source(t, parse(t, b.DSN)), manager.WithHealth(200*time.Millisecond, 20*time.Second), manager.WithSharedSessions(1))
	lock := acquire(t, m, "pooled")
	b.Reload(map[string]string{"pool_mode": "transaction"})
	stop := crowd(t, b.DSN, 20)
	began := time.Now()
	ended(t, "the loss", lock.Done())
	took := time.Since(began)
	// Another backend answers with another number, or does not know our statements.
	losses := m.Stats().Losses
	if err := lock.Err(); !errors.Is(err, manager.ErrLost) || losses["backend changed"]+losses["state of a lock unknown"] != 1 {
		t.Errorf("%v, losses %v", err, losses)
	}
	stop()
	t.Logf("lost %v after the pooler was busy in transaction mode (interval 200ms)", took.Round(time.Millisecond))
	if held := newOutsider(t, s).held(); len(held) != 1 { // it is the pooler's now, and still excludes
		t.Errorf("held at the server: %v", held)
	}
}
