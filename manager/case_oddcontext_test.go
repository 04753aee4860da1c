package manager_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// oddContext is a context of the user's, one of whose methods misbehaves from some call on.
type oddContext struct {
	context.Context
	method string
	from   int64
	deed   func()
	calls  atomic.Int64
}

func (c *oddContext) call(method string) {
	if c.method == method && c.calls.Add(1) >= c.from {
		c.deed()
	}
}

func (c *oddContext) Deadline() (time.Time, bool) { c.call("Deadline"); return time.Time{}, false }
func (c *oddContext) Done() <-chan struct{}       { c.call("Done"); return c.Context.Done() }
func (c *oddContext) Err() error                  { c.call("Err"); return c.Context.Err() }
func (c *oddContext) Value(any) any               { c.call("Value"); return nil }

// AfterFunc is what package context registers by.
func (c *oddContext) AfterFunc(f func()) (stop func() bool) {
	c.call("AfterFunc")
	inner := context.AfterFunc(c.Context, f)
	return func() bool { c.call("stop"); return inner() }
}

// W21. A context whose methods panic, or end the goroutine, costs its own call: the key is free for others afterwards.
func TestW21_AContextThatMisbehavesCostsItsOwnCall(t *testing.T) {
	m := open(t)
	misbehave(t, m, 4, map[string]func(ctx context.Context, key string) error{
		"Acquire": func(ctx context.Context, key string) error {
			lock, err := m.Acquire(ctx, key)
			if err == nil {
				err = lock.Release(t.Context())
			}
			return err
		},
		"TryAcquire": func(ctx context.Context, key string) error {
			lock, err := m.TryAcquire(ctx, key)
			if err == nil {
				err = lock.Release(t.Context())
			}
			return err
		},
		"Do": func(ctx context.Context, key string) error {
			return m.Do(ctx, key, func(context.Context) error { return nil })
		},
	})
}

// W21. The same for several keys and for leaders: no key is left locked.
func TestW21_AContextThatMisbehavesAndKinds(t *testing.T) {
	m := open(t)
	misbehave(t, m, 8, map[string]func(ctx context.Context, key string) error{
		"AcquireAll": func(ctx context.Context, key string) error {
			set, err := m.AcquireAll(ctx, key, key+" too")
			if err == nil {
				err = set.Release(t.Context())
			}
			return err
		},
		"Elect": func(ctx context.Context, key string) error {
			return m.Elect(ctx, key, func(context.Context) error { return nil })
		},
	})
}

// W21. The same for slots, which are several locks, and a gate.
func TestW21_AContextThatMisbehavesAndSlots(t *testing.T) {
	m := open(t)
	misbehave(t, m, 30, map[string]func(ctx context.Context, key string) error{
		"AcquireSlot": func(ctx context.Context, key string) error {
			slot, err := m.AcquireSlot(ctx, key, 2)
			if err == nil {
				err = slot.Release(t.Context())
			}
			return err
		},
	})
}

// misbehave makes each call with contexts of which each method fails, from its first use or from one of the next, up to the last. A call
// may lock the key that it is given, and that with " too" at its end.
func misbehave(t *testing.T, m *manager.Manager, last int64, calls map[string]func(ctx context.Context, key string) error) {
	t.Helper()
	for how, deed := range map[string]func(){"panics": func() { panic("the user's context") }, "exits": runtime.Goexit} {
		for _, method := range []string{"Deadline", "Done", "Err", "Value", "AfterFunc", "stop"} {
			for from := range last {
				for call, run := range calls {
					key := fmt.Sprint(call, method, how, from)
					parent, cancel := context.WithCancel(t.Context())
					ctx := &oddContext{Context: parent, method: method, from: from + 1, deed: deed}
					if _, ok := inTime(t, key, fateOf(only(func() error { return run(ctx, key) }))); ok {
						takeAndRelease(t, m, key)
						takeAndRelease(t, m, key+" too")
					}
					cancel()
				}
			}
		}
	}
	eventually(t, "nothing is held, and nobody waits", func() bool { s := m.Stats(); return s.Held == 0 && s.Waiting == 0 })
}

// W21. A context whose methods panic while its hold ends: those are goroutines of the library's.
func TestW21_AContextThatPanicsWhenItsHoldEnds(t *testing.T) {
	s := server(t)
	for _, method := range []string{"Err", "Value", "stop"} {
		for end, act := range map[string]func(m *manager.Manager, cancel func()){
			"its context ends":      func(_ *manager.Manager, cancel func()) { cancel() },
			"its session is lost":   func(*manager.Manager, func()) { terminate(t, s, firstHolder(t)) },
			"its manager is closed": func(m *manager.Manager, _ func()) { closesNow(t, m) },
		} {
			t.Run(method+", "+end, func(t *testing.T) {
				m := open(t)
				parent, cancel := context.WithCancel(t.Context())
				defer cancel()
				var bad atomic.Bool
				ctx := &oddContext{Context: parent, method: method, deed: func() {
					if bad.Load() {
						panic("the user's context")
					}
				}}
				lock, err := m.Acquire(ctx, "k")
				if err != nil {
					t.Fatal(err)
				}
				bad.Store(true)
				act(m, cancel)
				ended(t, "the end of the hold", lock.Done())
				if end != "its manager is closed" {
					takeAndRelease(t, m, "k")
				}
			})
		}
	}
}

// W20. A context's function that blocks when its registration is taken back keeps no session open.
func TestW20_AContextThatBlocksKeepsNoSessionOpen(t *testing.T) {
	s, m := server(t), open(t)
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	free := make(chan struct{})
	ctx := &oddContext{Context: parent, method: "stop", deed: func() { <-free }}
	defer close(free)
	if _, err := m.Acquire(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	past, end := context.WithCancel(t.Context())
	end()
	_ = m.Close(past)
	eventually(t, "no session is open", func() bool { return connections(t, s) == 0 })
}

// firstHolder is a backend that holds a lock.
func firstHolder(t *testing.T) int {
	t.Helper()
	for _, pid := range held(t, server(t)) {
		return pid
	}
	t.Fatal("no lock is held")
	return 0
}

// W21. The same for keys with two ids, of which the second is held without a registration, and for detached holds. Close waits for none of them.
func TestW21_AContextThatMisbehavesAndIsTakenBackAtTheGrant(t *testing.T) {
	for name, c := range map[string]struct {
		ids  manager.Option
		opts []manager.AcquireOption
	}{
		"two ids":       {withBoth, nil},
		"detached hold": {withOld, []manager.AcquireOption{manager.WithDetachedHold()}},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t, c.ids)
			misbehave(t, m, 4, map[string]func(ctx context.Context, key string) error{
				"Acquire": func(ctx context.Context, key string) error {
					lock, err := m.Acquire(ctx, key, c.opts...)
					if err == nil {
						err = lock.Release(t.Context())
					}
					return err
				},
				"AcquireSlot": func(ctx context.Context, key string) error {
					slot, err := m.AcquireSlot(ctx, key, 1, c.opts...)
					if err == nil {
						err = slot.Release(t.Context())
					}
					return err
				},
			})
			closesNow(t, m)
			wantHeldAtServer(t, server(t))
		})
	}
}

// exitsAtItsEnd is a context whose Err ends the goroutine that calls it when the context has ended. Package context knows the context behind it,
// and does not call Err itself.
type exitsAtItsEnd struct{ context.Context }

func (c exitsAtItsEnd) Err() error {
	if c.Context.Err() != nil {
		runtime.Goexit()
	}
	return nil
}

// W21. A context whose Err ends the library's goroutine when the context ends: the hold ends, the wait ends, and Release and Close return.
func TestW21_AContextThatExitsWhenItEnds(t *testing.T) {
	s := server(t)
	m, other := openOn(t, s), openOn(t, s)
	inner, cancel := context.WithCancel(t.Context())
	defer cancel()
	endsAsCancelled(exitsAtItsEnd{inner}, t, m, other, cancel)
}

// endsAsCancelled has a hold, a wait and work end with a context, and wants of each what it wants of a context that is cancelled.
func endsAsCancelled(ctx context.Context, t *testing.T, m, other *manager.Manager, cancel func()) {
	t.Helper()
	theirs := acquire(t, other, "theirs")
	lock, err := m.Acquire(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	waits := acquiring(ctx, t, m, "theirs")
	eventually(t, "it waits at the server", func() bool { return queued(t, server(t), theirs.ID()) == 1 })
	inside := make(chan struct{})
	worked := fateOf(only(func() error {
		return m.Do(ctx, "work", func(hold context.Context) error {
			close(inside)
			inTime(t, "the end of the work's context", hold.Done())
			return nil
		})
	}))
	ended(t, "the work has begun", inside)
	cancel()
	inTime(t, "the end of the hold", lock.Done())
	wantIs(t, lock.Err(), context.Canceled)
	if got, ok := inTime(t, "the end of the wait", waits); ok {
		wantIs(t, got.err, context.Canceled)
	}
	if got, ok := inTime(t, "the end of the work", worked); ok && (got.err != nil || got.panicked != nil || got.exited) {
		t.Errorf("Do: %v", got)
	}
	inTime(t, "the return of Release", fateOf(only(func() error { return lock.Release(context.WithoutCancel(t.Context())) })))
	takeAndRelease(t, m, "k")
	release(t, theirs)
	closesNow(t, m)
}

// causeError is one whose methods need what a nil pointer does not have.
type causeError struct{ err error }

func (e *causeError) Error() string { return "the user's cause" }
func (e *causeError) Unwrap() error { return e.err }

// W21. A context whose cause panics when it is looked at: the hold, the wait and the work end, as without a cause.
func TestW21_AContextWhoseCausePanics(t *testing.T) {
	s := server(t)
	for name, cause := range map[string]error{"a nil pointer": (*causeError)(nil), "Unwrap exits": exitingError{}} {
		t.Run(name, func(t *testing.T) {
			m, other := openOn(t, s), openOn(t, s)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			endsAsCancelled(ctx, t, m, other, func() { cancel(cause) })
		})
	}
}

// exitingError ends the goroutine of whoever looks behind it.
type exitingError struct{}

func (exitingError) Error() string { return "the user's cause" }
func (exitingError) Unwrap() error { runtime.Goexit(); return nil }
