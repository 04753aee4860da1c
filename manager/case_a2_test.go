package manager_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// terminateMessage is what a client says when it hangs up.
const terminateMessage = "X"

// idleManager gives one whose connections are listened to. It would ask often, if it asked.
func idleManager(t *testing.T, s *pgserver.Server) (*manager.Manager, *taps) {
	t.Helper()
	config, err := pgx.ParseConfig(dsn(s))
	if err != nil {
		t.Fatal(err)
	}
	wires := new(taps)
	config.DialFunc = wires.dial
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return openFrom(t, s, source, manager.WithHealth(50*time.Millisecond, 8*time.Second),
		manager.WithSessionTimeout(9*time.Second), manager.WithIdleTime(4*time.Second)), wires
}

// A2. A manager that holds nothing, and for which nobody waits, sends nothing: its sessions are silent until they are
// closed, and no new ones are opened. The next call works.
func TestA2IdleManagerIsSilent(t *testing.T) {
	s := server(t)
	own := manager.WithDedicatedSession()
	for name, use := range map[string]func(t *testing.T, m, other *manager.Manager){
		"just opened": func(*testing.T, *manager.Manager, *manager.Manager) {},
		"after locks": func(t *testing.T, m, _ *manager.Manager) {
			takeAndRelease(t, m, "shared")
			takeAndRelease(t, m, "dedicated", own)
		},
		"after a wait": func(t *testing.T, m, other *manager.Manager) {
			theirs := acquire(t, other, "k")
			_, err := m.Acquire(bounded(t), "k", manager.WithWaitTimeout(300*time.Millisecond))
			wantIs(t, err, manager.ErrWaitTimeout)
			_, err = m.TryAcquire(bounded(t), "k")
			wantIs(t, err, manager.ErrNotAcquired)
			release(t, theirs)
		},
		"after a loss": func(t *testing.T, m, _ *manager.Manager) {
			lock := acquire(t, m, "k")
			terminate(t, s, held(t, s)[lock.ID()])
			ended(t, "the loss", lock.Context().Done())
			_ = lock.Release(bounded(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			other := open(t)
			m, wires := idleManager(t, s)
			use(t, m, other)
			closeNow(t, other)
			eventually(t, "no key is in use", func() bool { return m.Stats().Keys == 0 && m.Stats().Sessions.Opening == 0 })
			var said string
			quiet := func() bool { said += wires.sent(); return strings.Trim(said, terminateMessage) == "" }
			settled := time.Now() // the question who holds a lock waits for its turn, a second at most where the server is slow, and for the answer to another
			eventually(t, "the last question is answered", func() bool { return time.Since(settled) > 3200*time.Millisecond })
			_, dials := wires.sent(), len(wires.list())

			closed := func() bool { return connections(t, s) == 0 }
			eventually(t, "the sessions are closed", func() bool { return !quiet() || closed() })
			since := time.Now()
			eventually(t, "it stays so", func() bool { return !quiet() || time.Since(since) > 500*time.Millisecond })
			if !quiet() {
				t.Errorf("an idle manager sends messages of the kinds %q", said)
			}
			if n := len(wires.list()) - dials; n > 0 {
				t.Errorf("an idle manager dials %d times", n)
			}
			takeAndRelease(t, m, "shared")
			takeAndRelease(t, m, "dedicated", own)
		})
	}
}

// A2. While something is held it does ask, on the session that holds it.
func TestA2HolderAsks(t *testing.T) {
	s := server(t)
	m, _ := idleManager(t, s)
	for _, lock := range []*manager.Lock{acquire(t, m, "shared"), acquire(t, m, "dedicated", manager.WithDedicatedSession())} {
		if !askedAgain(t, s, held(t, s)[lock.ID()], 10, func() bool { return lock.Err() != nil }) {
			t.Errorf("%s: %v", lock.Key(), lock.Err())
		}
		release(t, lock)
	}
}

// A2. A lock that is taken after a silence is asked about again, and outlives many times the session timeout.
func TestA2HolderAfterSilenceAsks(t *testing.T) {
	s := server(t)
	m, wires := idleManager(t, s)
	takeAndRelease(t, m, "k")
	silent := time.Now()
	eventually(t, "the manager was idle for a while", func() bool { return time.Since(silent) > time.Second })
	lock := acquire(t, m, "k")
	_ = wires.sent()
	if !askedAgain(t, s, held(t, s)[lock.ID()], 30, func() bool { return lock.Err() != nil }) || wires.sent() == "" {
		t.Errorf("%v", lock.Err())
	}
	release(t, lock)
}
