package manager_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// hungOptions let a call on a server that hangs end within a few seconds by itself.
func hungOptions() []manager.Option {
	return []manager.Option{manager.WithHealth(200*time.Millisecond, 300*time.Millisecond),
		manager.WithConnectTimeout(500 * time.Millisecond), manager.WithRetry(manager.LinearRetry(3, time.Millisecond))}
}

// hungHolder are such options with which a busy machine does not lose a lock before the server hangs.
func hungHolder() []manager.Option {
	return append(hungOptions(), manager.WithHealth(200*time.Millisecond, 3*time.Second), manager.WithConnectTimeout(3*time.Second))
}

// hungCalls are the calls that a server which hangs leaves without an answer.
var hungCalls = map[string]func(ctx context.Context, s *pgserver.Server, m *manager.Manager) error{
	"Acquire": func(ctx context.Context, _ *pgserver.Server, m *manager.Manager) error {
		_, err := m.Acquire(ctx, "k")
		return err
	},
	"TryAcquire": func(ctx context.Context, _ *pgserver.Server, m *manager.Manager) error {
		_, err := m.TryAcquire(ctx, "k")
		return err
	},
	"Acquire dedicated": func(ctx context.Context, _ *pgserver.Server, m *manager.Manager) error {
		_, err := m.Acquire(ctx, "k", manager.WithDedicatedSession())
		return err
	},
	"TryAcquire dedicated": func(ctx context.Context, _ *pgserver.Server, m *manager.Manager) error {
		_, err := m.TryAcquire(ctx, "k", manager.WithDedicatedSession())
		return err
	},
	"Do": func(ctx context.Context, _ *pgserver.Server, m *manager.Manager) error {
		return m.Do(ctx, "k", func(context.Context) error { return errors.New("f runs") })
	},
	"Open": func(ctx context.Context, s *pgserver.Server, _ *manager.Manager) error {
		m, err := manager.Open(ctx, dsn(s), append(hungOptions(), manager.WithConnectTimeout(3*time.Second))...)
		if err == nil {
			return errors.Join(errors.New("opened on a server that hangs"), m.Close(ctx))
		}
		return err
	},
}

// W13. The server hangs and the caller's context is fine: the error is a timeout of ours, and no end of a context.
func TestW13HungServerIsNoContextError(t *testing.T) {
	s := breakable(t)
	for name, call := range hungCalls {
		t.Run(name, func(t *testing.T) {
			m := openOn(t, s, hungOptions()...)
			thaw := freeze(t, s)
			got, ok := inTime(t, "the call gives up by itself", fateOf(only(func() error { return call(bounded(t), s, m) })))
			thaw()
			if ok {
				wantOutage(t, got.err)
			}
		})
	}
}

// W13. The same behind a connection that is up and brings nothing, as a dead middlebox leaves it.
func TestW13SilentNetworkIsNoContextError(t *testing.T) {
	s := server(t)
	for name, call := range hungCalls {
		if name == "Open" {
			continue // it dials by itself
		}
		t.Run(name, func(t *testing.T) {
			var n network
			m := n.manager(t, s, hungOptions()...)
			n.deaf.shut()
			got, ok := inTime(t, "the call gives up by itself", fateOf(only(func() error { return call(bounded(t), s, m) })))
			n.deaf.open()
			if ok {
				wantOutage(t, got.err)
			}
		})
	}
}

// A9. TryAcquire of a server that hangs: its doc comment says that it is given up after the health times and the connect timeout
// together, one round trip on each of two sessions, and so it is.
func TestA9TryAcquireOfAHungServer(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s, manager.WithHealth(time.Second, 3*time.Second), manager.WithConnectTimeout(time.Second))
	release(t, acquire(t, m, "k"))
	thaw := freeze(t, s)
	defer thaw()
	_, err := m.TryAcquire(bounded(t), "k")
	wantOutage(t, err)
	why := failure(t, err)
	if why.Attempts > 2 {
		t.Errorf("%d attempts of one try", why.Attempts)
	}
	// Each attempt waited for no longer than that: what is beyond is the machine's.
	if least, most := time.Second, 5*time.Second+soon; why.Waited < least || why.Waited > most {
		t.Errorf("given up after %v: %v", why.Waited, err)
	}
}

func wantOutage(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("the caller's context is fine: %v", err)
	}
	wantIs(t, err, os.ErrDeadlineExceeded)
}

// W13. The caller's own context is what errors.Is finds, whether it times out or is cancelled.
func TestW13OwnContextIsFound(t *testing.T) {
	s := breakable(t)
	for name, call := range hungCalls {
		t.Run(name, func(t *testing.T) {
			m := openOn(t, s, manager.WithConnectTimeout(10*time.Second))
			thaw := freeze(t, s)
			short, cancel := context.WithTimeout(bounded(t), 300*time.Millisecond)
			defer cancel()
			late, ok := inTime(t, "the call returns at its deadline", fateOf(only(func() error { return call(short, s, m) })))
			if ok {
				wantIs(t, late.err, context.DeadlineExceeded)
			}
			ctx, hangUp := context.WithCancelCause(bounded(t))
			calling := fateOf(only(func() error { return call(ctx, s, m) }))
			hangUp(errHangUp)
			if got, ok := inTime(t, "the call returns when it is cancelled", calling); ok {
				wantIs(t, got.err, context.Canceled)
				if errors.Is(got.err, context.DeadlineExceeded) {
					t.Errorf("cancelled, not timed out: %v", got.err)
				}
			}
			thaw()
		})
	}
}

// W13. A hold that silence has ended is a loss, and no end of a context; nor is its release, or Close.
func TestW13LossByHungServerIsNoContextError(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s, hungHolder()...)
	lock := acquire(t, m, "k")
	thaw := freeze(t, s)
	ended(t, "the loss", lock.Context().Done())
	for what, err := range map[string]error{
		"Err": lock.Err(), "cause": context.Cause(lock.Context()), "Release": prompt(t, "release", lock.Release),
	} {
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the caller's context is fine: %v", what, err)
		}
		wantIs(t, err, manager.ErrLost)
	}
	closesNow(t, m)
	thaw()
}

// W13. The same where the server hangs when the lock is to be released: by Do, whose context is fine or has ended, by Release.
func TestW13ReleaseByHungServerIsNoContextError(t *testing.T) {
	s := breakable(t)
	for name, call := range map[string]func(m *manager.Manager, freezes func()) error{
		"Do": func(m *manager.Manager, freezes func()) error {
			return m.Do(bounded(t), "k", func(context.Context) error { freezes(); return nil })
		},
		"Do whose context has ended": func(m *manager.Manager, freezes func()) error {
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			return m.Do(ctx, "k", func(context.Context) error { freezes(); cancel(); return nil })
		},
		"Do on a session of its own": func(m *manager.Manager, freezes func()) error {
			return m.Do(bounded(t), "k", func(context.Context) error { freezes(); return nil }, manager.WithDedicatedSession())
		},
		"Release": func(m *manager.Manager, freezes func()) error {
			lock := acquire(t, m, "k")
			freezes()
			return lock.Release(bounded(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := openOn(t, s, hungHolder()...)
			neighbour := acquire(t, m, "neighbour") // whose loss is told before the session is given up
			var thaw func()
			got, ok := inTime(t, "the call gives up by itself", fateOf(only(func() error {
				return call(m, func() { thaw = freeze(t, s) })
			})))
			if ok {
				if errors.Is(got.err, context.DeadlineExceeded) || errors.Is(got.err, context.Canceled) {
					t.Errorf("no context has to do with it: %v", got.err)
				}
				wantIs(t, got.err, manager.ErrReleaseUnknown)
				wantLost(t, neighbour)
				thaw()
			}
		})
	}
}
