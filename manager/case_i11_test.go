package manager_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// I11. User code of each kind blocks, panics or calls runtime.Goexit, while fifty neighbours on other keys of the same
// manager hold locks, and take and release others. None of them notices, and Close ends.
func TestI11UserCodeAndNeighbours(t *testing.T) {
	s := server(t)
	// Each asks for what brings the manager to the user's code, and goes on until its context ends.
	acquireBusy := func(ctx context.Context, _ *trap, m *manager.Manager) error {
		lock, err := m.Acquire(ctx, "busy") // by the manager's own policy, which is the trap's
		if err == nil {
			err = lock.Release(ctx)
		}
		return err
	}
	acquireDedicated := func(ctx context.Context, _ *trap, m *manager.Manager) error {
		lock, err := m.Acquire(ctx, "own", plainRetry, manager.WithDedicatedSession())
		if err == nil {
			err = lock.Release(ctx)
		}
		return err
	}
	lose := func(ctx context.Context, _ *trap, m *manager.Manager) error {
		lock, err := m.Acquire(ctx, "victim", plainRetry, manager.WithDedicatedSession())
		if err != nil {
			return err
		}
		terminate(t, s, held(t, s)[lock.ID()])
		<-lock.Context().Done()
		return lock.Err()
	}
	do := func(ctx context.Context, tr *trap, m *manager.Manager) error {
		return m.Do(ctx, "own", func(context.Context) error { tr.at(inF); return nil }, plainRetry)
	}
	for _, kind := range []struct {
		where place
		call  func(ctx context.Context, tr *trap, m *manager.Manager) error
	}{
		{inConstructor, acquireBusy}, {inNextBackOff, acquireBusy}, {inEnabled, lose}, {inHandle, lose},
		{inLookup, acquireDedicated}, {inDial, acquireDedicated}, {inAfter, acquireDedicated}, {inValidate, acquireDedicated},
		{inF, do},
	} {
		for _, what := range []deed{blocks, panics, exits} {
			t.Run(string(kind.where)+" "+string(what), func(t *testing.T) {
				other, tr := open(t), newTrap(t)
				m := tr.open(t, s, manager.WithHealth(300*time.Millisecond, 8*time.Second), manager.WithConnectTimeout(2*time.Second))
				busy := acquire(t, other, "busy")
				ns := settle(t, m, 50)
				ns.unharmed(t)
				entered := tr.set(kind.where, what)
				ctx, cancel := context.WithCancel(bounded(t))
				defer cancel()
				caller := fateOf(only(func() error { return kind.call(ctx, tr, m) }))
				ended(t, "the user's code misbehaves", entered)
				ns.unharmed(t)
				cancel()
				if kind.where == inF {
					tr.unblock() // Do returns when f does
				}
				inTime(t, "its own caller returns with his context", caller)
				ns.unharmed(t)
				ns.goHome(t)
				release(t, busy)
				closesNow(t, m)
			})
		}
	}
}
