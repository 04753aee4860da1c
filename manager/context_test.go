package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Each hold has one registration with its context, and its release takes that back. A detached hold has none.
func TestEachHoldHasOneRegistration(t *testing.T) {
	s, m := server(t), open(t)
	ctx := newCounted(bounded(t))
	const n = 30
	var locks []*manager.Lock
	for i := range n {
		lock, err := m.Acquire(ctx, fmt.Sprint("key", i))
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, lock)
		wantRegistered(t, ctx, i+1, i+1)
	}
	for i, which := range rand.Perm(n - 2) { // the two that came last stay
		release(t, locks[which])
		release(t, locks[which])
		wantRegistered(t, ctx, n, n-i-1)
	}
	detached, err := m.Acquire(ctx, "detached", manager.WithDetachedHold())
	if err != nil {
		t.Fatal(err)
	}
	wantRegistered(t, ctx, n+1, 2)
	ctx.end()()
	for _, lock := range locks[n-2:] {
		ended(t, "the end of a hold", lock.Done())
		wantIs(t, lock.Err(), context.Canceled)
	}
	eventually(t, "what the context held is released", func() bool { return len(held(t, s)) == 1 })
	wantHeld(t, detached)
	release(t, detached)
}

// The registration of a hold that ends without a release is taken back all the same: after a loss soon, and before Close returns.
func TestRegistrationIsTakenBackWithoutRelease(t *testing.T) {
	s, m := server(t), open(t)
	for _, opts := range [][]manager.AcquireOption{nil, {manager.WithDedicatedSession()}} {
		ctx := newCounted(bounded(t))
		lock, err := m.Acquire(ctx, "lost", opts...)
		if err != nil {
			t.Fatal(err)
		}
		terminate(t, s, held(t, s)[lock.ID()])
		wantLost(t, lock)
		eventually(t, "nothing is registered", func() bool { _, now := ctx.counts(); return now == 0 })
	}

	holder, waiter, worker := newCounted(bounded(t)), newCounted(bounded(t)), newCounted(bounded(t))
	lock, err := m.Acquire(holder, "k")
	if err != nil {
		t.Fatal(err)
	}
	waiting := acquiring(waiter, t, m, "k")
	inside, worked := make(chan struct{}), make(chan error, 1)
	go func() {
		worked <- m.Do(worker, "work", func(ctx context.Context) error { close(inside); <-ctx.Done(); return context.Cause(ctx) })
	}()
	ended(t, "the work has begun", inside)
	closeNow(t, m)
	wantRegistered(t, holder, 1, 0)
	wantIs(t, lock.Err(), manager.ErrClosed)
	wantIs(t, ended(t, "the waiter's answer", waiting).err, manager.ErrClosed)
	wantRegistered(t, waiter, 1, 0)
	wantIs(t, ended(t, "the end of the work", worked), manager.ErrClosed)
	wantRegistered(t, worker, 1, 0)
}

// lent is a context of a framework's own type, which is given back and used for something else once the call that ends the
// acquisition has returned.
type lent struct {
	context.Context // for its values
	done            chan struct{}
	mu              sync.Mutex
	over, back      bool
	late            []string // what was called after it was given back
	funcs           map[*func()]bool
	running         sync.WaitGroup
}

func newLent(parent context.Context) *lent {
	return &lent{Context: parent, done: make(chan struct{}), funcs: make(map[*func()]bool)}
}

func (c *lent) touch(method string) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back {
		c.late = append(c.late, method)
	}
	return c.over
}

func (c *lent) Done() <-chan struct{}       { c.touch("Done"); return c.done }
func (c *lent) Value(key any) any           { c.touch("Value"); return c.Context.Value(key) }
func (c *lent) Deadline() (time.Time, bool) { c.touch("Deadline"); return time.Time{}, false }

func (c *lent) Err() error {
	if c.touch("Err") {
		return context.Canceled
	}
	return nil
}

// end ends the context, once.
func (c *lent) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	close(c.done)
	for f := range c.funcs {
		c.running.Go(*f)
	}
	clear(c.funcs)
}

// giveBack ends the use of the context. What it does afterwards concerns nobody.
func (c *lent) giveBack(t *testing.T, what string) {
	t.Helper()
	c.mu.Lock()
	left := len(c.funcs)
	c.back = true
	c.mu.Unlock()
	c.end()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if left > 0 || len(c.late) > 0 {
		t.Errorf("%s: %d registrations are left, and afterwards was called %q", what, left, c.late)
	}
}

// lentWithAfterFunc is one that the context package registers with.
type lentWithAfterFunc struct{ *lent }

func (c lentWithAfterFunc) AfterFunc(f func()) (stop func() bool) {
	c.touch("AfterFunc")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		c.running.Go(f)
		return func() bool { return false }
	}
	c.funcs[&f] = true
	return func() bool {
		c.touch("stop")
		c.mu.Lock()
		defer c.mu.Unlock()
		there := c.funcs[&f]
		delete(c.funcs, &f)
		return there
	}
}

// Contexts of foreign types end at any moment before they are given back, or after. Nothing touches them then.
func TestContextsThatAreGivenBack(t *testing.T) {
	m, other, free := open(t), open(t), bounded(t)
	theirs := acquire(t, other, "theirs")
	calls := map[string]func(ctx context.Context) error{
		"Release": func(ctx context.Context) error {
			lock, err := m.Acquire(ctx, "a")
			if err == nil {
				err = lock.Release(free)
			}
			return err
		},
		"Release with the context": func(ctx context.Context) error {
			lock, err := m.Acquire(ctx, "b")
			if err == nil {
				err = lock.Release(ctx)
			}
			return err
		},
		"Done": func(ctx context.Context) error {
			lock, err := m.Acquire(ctx, "c", manager.WithDedicatedSession())
			if err == nil {
				derived, cancel := context.WithCancel(lock.Context())
				err = lock.Release(free)
				cancel()
				<-derived.Done()
			}
			return err
		},
		"detached": func(ctx context.Context) error {
			lock, err := m.Acquire(ctx, "d", manager.WithDetachedHold())
			if err == nil {
				err = lock.Release(free)
			}
			return err
		},
		"Do": func(ctx context.Context) error { return m.Do(ctx, "e", func(context.Context) error { return nil }) },
		"Do to its end": func(ctx context.Context) error {
			return m.Do(ctx, "e", func(ctx context.Context) error { <-ctx.Done(); return nil })
		},
		"TryAcquire": func(ctx context.Context) error { _, err := m.TryAcquire(ctx, "theirs"); return err },
		"timeout": func(ctx context.Context) error {
			_, err := m.Acquire(ctx, "theirs", manager.WithWaitTimeout(time.Millisecond))
			return err
		},
		"wait": func(ctx context.Context) error {
			_, err := m.Acquire(ctx, "theirs", manager.WithRetryPolicy(manager.LinearRetry(3, time.Millisecond)))
			return err
		},
	}
	var all sync.WaitGroup
	for what, call := range calls {
		for _, withAfterFunc := range []bool{false, true} {
			all.Go(func() {
				for range 40 {
					c := newLent(free)
					var ctx context.Context = c
					if withAfterFunc {
						ctx = lentWithAfterFunc{c}
					}
					var ends sync.WaitGroup
					ends.Add(1)
					time.AfterFunc(rand.N(4*time.Millisecond), func() { defer ends.Done(); c.end() })
					err := call(ctx)
					if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, manager.ErrNotAcquired) &&
						!errors.Is(err, manager.ErrWaitTimeout) {
						t.Errorf("%s: %v", what, err)
					}
					c.giveBack(t, what)
					ends.Wait()
				}
			})
		}
	}
	all.Wait()
	release(t, theirs)
}

// A release that the server does not confirm returns when its context ends: with the acquisition's own context too, and
// with several at once.
func TestReleaseEndsWithItsContext(t *testing.T) {
	var n network
	m := n.manager(t, server(t))
	for _, opts := range [][]manager.AcquireOption{nil, {manager.WithDedicatedSession()}} {
		ctx, cancel := context.WithCancel(bounded(t))
		lock, err := m.Acquire(ctx, "key", opts...)
		if err != nil {
			t.Fatal(err)
		}
		n.deaf.shut()
		returned := make(chan error, 3)
		for range cap(returned) {
			go func() { returned <- lock.Release(ctx) }()
		}
		eventually(t, "the release has begun", func() bool { return lock.Err() != nil })
		select {
		case err := <-returned:
			t.Errorf("a release returned %v, and the server has not answered", err)
		default:
		}
		cancel()
		for range cap(returned) {
			if err := ended(t, "the release", returned); !errors.Is(err, context.Canceled) {
				t.Errorf("a release whose context has ended returned %v", err)
			}
		}
		n.deaf.open()
		if err := lock.Release(bounded(t)); errors.Is(err, context.Canceled) {
			t.Errorf("the outcome is %v", err)
		}
	}
}

// Contexts that many share end at any moment: every call returns, and every lock whose context has ended is released by
// that alone.
func TestSharedContextsEndAtAnyMoment(t *testing.T) {
	s, m, free := server(t), open(t), bounded(t)
	const contexts, workers, rounds = 4, 8, 30
	var granted, kept atomic.Int64
	var all sync.WaitGroup
	for c := range contexts {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(free)
				var crowd sync.WaitGroup
				for w := range workers {
					crowd.Go(func() {
						for n := 0; ; n++ {
							lock, err := m.Acquire(ctx, fmt.Sprint("key", (c+w+n)%workers))
							if err != nil {
								if !errors.Is(err, context.Canceled) {
									t.Error(err)
								}
								return
							}
							if granted.Add(1); (w+n)%5 == 0 {
								kept.Add(1)
								cancel()
								continue // and the lock is left to its context
							}
							if err := lock.Release(free); err != nil && !errors.Is(err, context.Canceled) {
								t.Error(err)
							}
						}
					})
				}
				crowd.Wait()
				cancel()
			}
		})
	}
	all.Wait()
	if granted.Load() == 0 || kept.Load() < contexts*rounds {
		t.Errorf("%d grants, %d of them left to their contexts", granted.Load(), kept.Load())
	}
	eventually(t, "nothing is held", func() bool { return len(held(t, s)) == 0 })
}

// slowErr is a context whose Err takes its time once it has ended.
type slowErr struct {
	context.Context
	entered  chan struct{} // closed by the first call of Err after the end
	proceed  chan struct{} // closed by the test
	returned atomic.Bool   // that call has returned
	once     sync.Once
}

func (c *slowErr) Err() error {
	err := c.Context.Err()
	if err == nil {
		return nil
	}
	c.once.Do(func() {
		close(c.entered)
		<-c.proceed
		c.returned.Store(true)
	})
	return err
}

// A Release waits for a registered function that has begun: until then that touches the acquiring context.
func TestReleaseWaitsForTheRegistration(t *testing.T) {
	s, m := server(t), open(t)
	parent, end := context.WithCancel(bounded(t))
	defer end()
	ctx := &slowErr{Context: parent, entered: make(chan struct{}), proceed: make(chan struct{})}
	lock, err := m.Acquire(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	end()
	ended(t, "the registered function reads the context", ctx.entered)
	touched := make(chan bool, 1)
	go func() {
		if err := lock.Release(bounded(t)); err != nil {
			t.Error(err)
		}
		touched <- !ctx.returned.Load()
	}()
	eventually(t, "the lock is free", func() bool { return len(held(t, s)) == 0 })
	select {
	case <-touched: // a Release that does not wait has had its time
		t.Error("Release returned, and the context is still read")
	case <-time.After(100 * time.Millisecond):
		close(ctx.proceed)
		if ended(t, "Release", touched) {
			t.Error("Release returned before the context was read")
		}
	}
}
