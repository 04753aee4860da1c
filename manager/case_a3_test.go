package manager_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// again are the calls that would take a key again.
var again = map[string]func(ctx context.Context, m *manager.Manager, key string, opts ...manager.AcquireOption) error{
	"Acquire": func(ctx context.Context, m *manager.Manager, key string, opts ...manager.AcquireOption) error {
		lock, err := m.Acquire(ctx, key, opts...)
		if err == nil {
			err = errors.Join(errors.New("granted"), lock.Release(ctx))
		}
		return err
	},
	"TryAcquire": func(ctx context.Context, m *manager.Manager, key string, opts ...manager.AcquireOption) error {
		lock, err := m.TryAcquire(ctx, key, opts...)
		if err == nil {
			err = errors.Join(errors.New("granted"), lock.Release(ctx))
		}
		return err
	},
	"Key.Acquire": func(ctx context.Context, m *manager.Manager, key string, opts ...manager.AcquireOption) error {
		lock, err := m.Key(key).Acquire(ctx, opts...)
		if err == nil {
			err = errors.Join(errors.New("granted"), lock.Release(ctx))
		}
		return err
	},
	"Do": func(ctx context.Context, m *manager.Manager, key string, opts ...manager.AcquireOption) error {
		return m.Do(ctx, key, func(context.Context) error { return errors.New("f runs") }, opts...)
	},
	"dedicated": func(ctx context.Context, m *manager.Manager, key string, opts ...manager.AcquireOption) error {
		lock, err := m.Acquire(ctx, key, append(opts, manager.WithDedicatedSession())...)
		if err == nil {
			err = errors.Join(errors.New("granted"), lock.Release(ctx))
		}
		return err
	},
}

// wantHeldError wants each call that would take the key again to fail at once.
func wantHeldError(ctx context.Context, t *testing.T, m *manager.Manager, key string) {
	t.Helper()
	for name, call := range again {
		got, ok := inTime(t, name+" within its own hold", fateOf(only(func() error { return call(ctx, m, key) })))
		if !ok {
			return
		}
		wantIs(t, got.err, manager.ErrHeld)
		_ = failure(t, got.err)
		if errors.Is(got.err, manager.ErrNotAcquired) != (name == "TryAcquire") || errors.Is(got.err, manager.ErrWaitTimeout) {
			t.Errorf("%s: held by the caller himself, and only a try says that it was not acquired: %v", name, got.err)
		}
		if got.err != nil && !strings.Contains(got.err.Error(), "reentrant") {
			t.Errorf("%s: it does not say that locks are not reentrant: %v", name, got.err)
		}
	}
}

type ownValue struct{}

// derivedFrom are the ways in which a context comes from the hold's.
var derivedFrom = map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
	"itself": func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} },
	"with a value": func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithValue(ctx, ownValue{}, true), func() {}
	},
	"with a timeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, patience)
	},
	"with a cancel": context.WithCancel,
	"without cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithCancel(context.WithoutCancel(ctx))
	},
}

// A3. The same key within its own hold: an error at once, instead of a wait that never ends. The hold is not affected.
func TestA3SameKeyInItsOwnDo(t *testing.T) {
	for name, derive := range derivedFrom {
		t.Run(name, func(t *testing.T) {
			m, other := open(t), open(t)
			err := m.Do(bounded(t), "k", func(ctx context.Context) error {
				derived, stop := derive(ctx)
				defer stop()
				wantHeldError(derived, t, m, "k")
				tryAndFail(t, other, "k")
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			takeAndRelease(t, m, "k")
		})
	}
}

// A3. The same through another key's Do, or several.
func TestA3SameKeyThroughOtherKeys(t *testing.T) {
	m := open(t)
	err := m.Do(bounded(t), "k1", func(ctx context.Context) error {
		return m.Do(ctx, "k2", func(ctx context.Context) error {
			return m.Do(ctx, "k3", func(ctx context.Context) error {
				for _, key := range []string{"k1", "k2", "k3"} {
					wantHeldError(ctx, t, m, key)
				}
				takeAndRelease(t, m, "k4")
				return m.Do(ctx, "k5", func(context.Context) error { return nil })
			})
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// A3. The same under a lock that Acquire gave: its context is the hold's.
func TestA3SameKeyUnderALock(t *testing.T) {
	for name, opts := range map[string][]manager.AcquireOption{
		"plain": nil, "dedicated": {manager.WithDedicatedSession()}, "detached": {manager.WithDetachedHold()},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t)
			lock := acquire(t, m, "k", opts...)
			wantHeldError(lock.Context(), t, m, "k")
			if err := lock.Err(); err != nil {
				t.Error(err)
			}
			release(t, lock)
		})
	}
}

// A3. Two keys with one id are one lock: the second would wait for the first as the same key would.
func TestA3KeyWithTheSameID(t *testing.T) {
	m := open(t)
	err := m.Do(bounded(t), "8yn0iYCKYHlIj4-BwPqk", func(ctx context.Context) error {
		wantHeldError(ctx, t, m, "GReLUrM4wMqfg9yzV3KQ")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A3. Who is not inside the hold waits, or is refused, as ever: another manager with the hold's context, and this one with
// a context that is not the hold's.
func TestA3OthersAreNotAffected(t *testing.T) {
	m, other := open(t), open(t)
	err := m.Do(bounded(t), "k", func(ctx context.Context) error {
		for name, who := range map[string]struct {
			m   *manager.Manager
			ctx context.Context
		}{"another manager": {other, ctx}, "another context": {m, bounded(t)}} {
			err := again["Acquire"](who.ctx, who.m, "k", manager.WithWaitTimeout(50*time.Millisecond))
			wantIs(t, err, manager.ErrWaitTimeout)
			if errors.Is(err, manager.ErrHeld) {
				t.Errorf("%s: %v", name, err)
			}
			err = again["TryAcquire"](who.ctx, who.m, "k")
			wantIs(t, err, manager.ErrNotAcquired)
			if errors.Is(err, manager.ErrHeld) {
				t.Errorf("%s: %v", name, err)
			}
		}
		return other.Do(ctx, "another key", func(context.Context) error { return nil })
	})
	if err != nil {
		t.Error(err)
	}
}

// A3. A hold that is over is nobody's: a context that outlives it takes the key as any other does, and waits for whoever
// has it then.
func TestA3HoldThatIsOver(t *testing.T) {
	m := open(t)
	var outlives context.Context //nolint:fatcontext // it is what the test is about
	err := m.Do(bounded(t), "k", func(ctx context.Context) error {
		outlives = context.WithoutCancel(ctx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := m.Acquire(outlives, "k", manager.WithWaitTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	release(t, lock)
	lock = acquire(t, m, "k")
	err = again["TryAcquire"](outlives, m, "k")
	wantIs(t, err, manager.ErrNotAcquired)
	if errors.Is(err, manager.ErrHeld) {
		t.Errorf("it is another's hold: %v", err)
	}
	release(t, lock)
}
