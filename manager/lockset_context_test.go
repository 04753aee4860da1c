package manager_test

import (
	"context"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The loss of another lock than the lead takes the registration with the context back, as the loss of a single lock does. Nobody calls Release.
func TestRegistrationIsTakenBackWhenAnotherLockIsLost(t *testing.T) {
	s := server(t)
	for name, c := range map[string]struct {
		ids   manager.Option
		locks int // that the hold has at the server
		take  func(ctx context.Context, m *manager.Manager) (hold interface{ Done() <-chan struct{} }, lead int64, err error)
	}{
		"a set": {withOld, 3, func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, int64, error) {
			set, err := m.AcquireAll(ctx, "a", "b", "c")
			if err != nil {
				return nil, 0, err
			}
			return set, m.Key(set.Keys()[0]).ID(), nil
		}},
		"a slot": {withOld, 4, func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, int64, error) {
			slot, err := m.AcquireSlot(ctx, "k", 2)
			return slot, m.Key("k").ID(), err
		}},
		"two ids, the old one first": {withBoth, 2, func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, int64, error) {
			lock, err := m.Acquire(ctx, oneKey)
			return lock, bothIDs(oneKey)[0], err
		}},
		"two ids, the new one first": {withBoth, 2, func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, int64, error) {
			lock, err := m.Acquire(ctx, otherKey)
			return lock, bothIDs(otherKey)[0], err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := openOn(t, s, c.ids, manager.WithMaxLocksPerSession(1), manager.WithSharedSessions(10)) // so that the locks are on different sessions
			ctx := newCounted(bounded(t))
			hold, lead, err := c.take(ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the locks of the hold are held, and no other", func() bool { return len(held(t, s)) == c.locks })
			locks := held(t, s)
			if _, ok := locks[lead]; !ok {
				t.Fatalf("the lead %d is not among %v", lead, locks)
			}
			delete(locks, lead)
			if _, now := ctx.counts(); now != 1 {
				t.Errorf("%d registrations while it is held", now)
			}
			for _, pid := range locks {
				terminate(t, s, pid)
				break
			}
			ended(t, "the end of the hold", hold.Done())
			eventually(t, "nothing is registered", func() bool { _, now := ctx.counts(); return now == 0 })
			eventually(t, "nothing is held", func() bool { return len(held(t, s)) == 0 })
		})
	}
}

// The cause of a context is the error of another call, one of several locks: the call ends, as with any cause, and does not begin anew for ever.
func TestASetWhoseContextEndsByTheErrorOfAnother(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(manager.ErrLostMeanwhile)
	m := open(t)
	for name, call := range map[string]func() error{
		"AcquireAll":  func() error { _, err := m.AcquireAll(ctx, "a", "b"); return err },
		"AcquireSlot": func() error { _, err := m.AcquireSlot(ctx, "k", 2); return err },
	} {
		if got, ok := inTime(t, name, fateOf(only(call))); ok {
			wantIs(t, got.err, context.Canceled, manager.ErrLostMeanwhile)
		}
	}
}
