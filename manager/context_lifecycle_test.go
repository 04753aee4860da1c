package manager_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// counted is a context that counts who is registered with it, and whose registrations run when the test says so.
type counted struct {
	context.Context // for its values
	mu              sync.Mutex
	done            chan struct{}
	err             error
	waiting         map[int]func()
	registered      int
}

func newCounted(parent context.Context) *counted {
	return &counted{Context: parent, done: make(chan struct{}), waiting: make(map[int]func())}
}

func (c *counted) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *counted) Done() <-chan struct{}       { return c.done }

func (c *counted) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what the context package registers with, where a context has it.
func (c *counted) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.registered
	c.registered++
	c.waiting[n] = f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, there := c.waiting[n]
		delete(c.waiting, n)
		return there
	}
}

// counts is how many registrations there ever were, and how many there are.
func (c *counted) counts() (ever, now int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.registered, len(c.waiting)
}

// end ends the context; who is registered hears of it from tell, which may come later.
func (c *counted) end() (tell func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = context.Canceled
	close(c.done)
	return func() {
		c.mu.Lock()
		all := c.waiting
		c.waiting = make(map[int]func())
		c.mu.Unlock()
		for _, f := range all {
			f()
		}
	}
}

func wantRegistered(t *testing.T, c *counted, ever, now int) {
	t.Helper()
	if gotEver, gotNow := c.counts(); gotEver != ever || gotNow != now {
		t.Errorf("%d registrations, %d of them left; want %d and %d", gotEver, gotNow, ever, now)
	}
}

// An acquisition registers with its context once, however often it asks the server, and nothing is left of that.
func TestOneRegistrationAnAcquisition(t *testing.T) {
	s, m, other := server(t), open(t), open(t)
	release(t, acquire(t, m, "warm"))
	retry := manager.WithRetryPolicy(manager.LinearRetry(6, time.Millisecond))

	ctx := newCounted(bounded(t))
	theirs := acquire(t, other, "k")
	waiting := acquiring(ctx, t, m, "k", retry)
	eventually(t, "it has come to its last attempt", func() bool { return queued(t, s, theirs.ID()) == 1 })
	wantRegistered(t, ctx, 1, 1)
	release(t, theirs)
	got := ended(t, "the grant", waiting)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantRegistered(t, ctx, 1, 1)
	release(t, got.lock)
	wantRegistered(t, ctx, 1, 0)

	ctx = newCounted(bounded(t))
	lock, err := m.Acquire(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(ctx); err != nil { // with its own context
		t.Error(err)
	}
	wantRegistered(t, ctx, 1, 0)

	theirs = acquire(t, other, "k")
	ctx = newCounted(bounded(t))
	_, err = m.TryAcquire(ctx, "k", retry)
	wantIs(t, err, manager.ErrNotAcquired)
	wantRegistered(t, ctx, 1, 0)
	ctx = newCounted(bounded(t))
	_, err = m.Acquire(ctx, "k", retry, manager.WithWaitTimeout(time.Millisecond))
	wantIs(t, err, manager.ErrWaitTimeout)
	wantRegistered(t, ctx, 1, 0)
	release(t, theirs)

	ctx = newCounted(bounded(t))
	if lock, err = m.Acquire(ctx, "k", manager.WithDetachedHold()); err != nil {
		t.Fatal(err)
	}
	wantRegistered(t, ctx, 1, 0)
	release(t, lock)

	ctx = newCounted(bounded(t))
	if lock, err = m.Acquire(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	derived, cancel := context.WithCancel(lock.Context()) // which follows the hold, and registers with nothing of the caller's
	defer cancel()
	wantRegistered(t, ctx, 1, 1)
	release(t, lock)
	ended(t, "what is derived from the lock's context", derived.Done())
	wantRegistered(t, ctx, 1, 0)

	ctx = newCounted(bounded(t))
	err = m.Do(ctx, "k", func(context.Context) error { wantRegistered(t, ctx, 1, 1); return errWhy })
	wantIs(t, err, errWhy)
	wantRegistered(t, ctx, 1, 0)

	ctx = newCounted(bounded(t))
	_, err = m.Acquire(ctx, "")
	wantIs(t, err, manager.ErrEmptyKey)
	wantRegistered(t, ctx, 0, 0)
	closeNow(t, m)
	_, err = m.Acquire(ctx, "k")
	wantIs(t, err, manager.ErrClosed)
	wantRegistered(t, ctx, 0, 0)
}

// The context has ended, but those who are registered have not been told yet, when the lock is granted. The caller gets an
// error, and nobody has the lock.
func TestContextEndsAsTheLockIsGranted(t *testing.T) {
	m, other := open(t), open(t)
	for name, opts := range map[string][]manager.AcquireOption{
		"plain": nil, "wait timeout": {manager.WithWaitTimeout(patience)}, "dedicated": {manager.WithDedicatedSession()},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := newCounted(bounded(t))
			theirs := acquire(t, other, name)
			waiting := acquiring(ctx, t, m, name, opts...)
			tell := ctx.end()
			release(t, theirs)
			wantIs(t, ended(t, "the answer", waiting).err, context.Canceled)
			release(t, acquire(t, other, name)) // which waits for ever where the lock has been left behind
			tell()
		})
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	s, m, other := server(t), open(t), open(t)
	theirs := acquire(t, other, "k")
	for _, opts := range [][]manager.AcquireOption{nil, {manager.WithDetachedHold()}, {manager.WithDedicatedSession()}} {
		ctx, cancel := context.WithCancelCause(bounded(t))
		first := acquiring(ctx, t, m, "k", opts...)
		second := acquiring(bounded(t), t, m, "k", append(opts, manager.WithWaitTimeout(patience))...)
		eventually(t, "one waits at the server for both", func() bool { return queued(t, s, theirs.ID()) == 1 })
		cancel(errWhy)
		err := ended(t, "the answer", first).err
		wantIs(t, err, context.Canceled, errWhy)
		_ = failure(t, err)
		release(t, theirs)
		got := ended(t, "the grant to the other", second)
		if got.err != nil {
			t.Fatal(got.err)
		}
		release(t, got.lock)
		theirs = acquire(t, other, "k")
	}
	release(t, theirs)
	if got := m.Stats(); got.Waiting != 0 || got.Held != 0 {
		t.Errorf("%+v", got)
	}
}

func TestContextEndsWhileHolding(t *testing.T) {
	s, m := server(t), open(t)
	for name, c := range map[string]struct {
		end  func(ctx context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		"cancelled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errWhy) }
		}, context.Canceled},
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithDeadlineCause(ctx, time.Now().Add(500*time.Millisecond), errWhy)
			return ctx, func() { <-ctx.Done(); cancel() }
		}, context.DeadlineExceeded},
	} {
		acquire := func() (*manager.Lock, func(), error) {
			ctx, end := c.end(bounded(t))
			lock, err := m.Acquire(ctx, name)
			return lock, end, err
		}
		lock, end, err := acquire()
		for errors.Is(err, context.DeadlineExceeded) { // on a busy machine it may end before the grant
			lock, end, err = acquire()
		}
		if err != nil {
			t.Fatal(err)
		}
		derived, cancel := context.WithCancel(lock.Context())
		end()
		ended(t, "the end of the hold", lock.Done())
		ended(t, "the end of what is derived from it", derived.Done())
		cancel()
		wantIs(t, lock.Err(), c.want, errWhy)
		wantIs(t, context.Cause(lock.Context()), errWhy)
		eventually(t, "the server has it back", func() bool { return len(held(t, s)) == 0 })
		release(t, lock)
	}
}

func TestDetachedHoldOutlivesItsContext(t *testing.T) {
	s, m := server(t), open(t)
	type key struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(bounded(t), key{}, "value"), patience)
	lock, err := m.Acquire(ctx, "k", manager.WithDetachedHold())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, has := lock.Context().Deadline(); has || lock.Context().Value(key{}) != "value" {
		t.Error("the lock's context has the deadline, or has not the values")
	}
	release(t, acquire(t, m, "another")) // a round trip later
	wantHeld(t, lock)
	if held(t, s)[lock.ID()] == 0 {
		t.Error("the server has not")
	}
	release(t, lock)
	wantIs(t, context.Cause(lock.Context()), manager.ErrReleased)
	if !isEnded(lock.Done()) {
		t.Error("released, and yet not done")
	}
	wantIs(t, lock.Err(), manager.ErrReleased)
}

func TestLockContext(t *testing.T) {
	m := open(t)
	type key struct{}
	parent := context.WithValue(bounded(t), key{}, "value")
	lock, err := m.Acquire(parent, "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx, lost := lock.Context(), lock.Done()
	if ctx.Value(key{}) != "value" || ctx != lock.Context() || lost != lock.Done() {
		t.Error("the lock's context has not the values, or is another each time")
	}
	want, _ := parent.Deadline()
	if got, has := ctx.Deadline(); !has || got != want {
		t.Errorf("deadline %v, the caller's is %v", got, want)
	}
	derived, cancel := context.WithCancel(ctx)
	defer cancel()
	after := make(chan struct{})
	context.AfterFunc(ctx, func() { close(after) })
	release(t, lock)
	ended(t, "the end of what is derived from it", derived.Done())
	ended(t, "what is to be done after it", after)
	wantIs(t, context.Cause(derived), manager.ErrReleased)

	// Whoever looks for the first time when all is over sees the same.
	late := acquire(t, m, "k")
	release(t, late)
	ended(t, "its context", late.Context().Done())
	wantIs(t, context.Cause(late.Context()), manager.ErrReleased)
}

func TestDoStopsWithItsContext(t *testing.T) {
	s, m := server(t), open(t)
	ctx, cancel := context.WithCancelCause(bounded(t))
	err := m.Do(ctx, "k", func(ctx context.Context) error {
		cancel(errWhy)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	wantIs(t, err, errWhy)
	err = m.Do(bounded(t), "k", func(ctx context.Context) error {
		terminate(t, s, held(t, s)[m.Key("k").ID()])
		<-ctx.Done()
		return errors.New("f's own")
	})
	wantIs(t, err, manager.ErrLost)
	if err == nil || err.Error() == "" || !errors.Is(err, manager.ErrLost) {
		t.Error(err)
	}
	release(t, acquire(t, m, "k"))
}

func TestReleaseWithAnEndedContextReleases(t *testing.T) {
	s, m := server(t), open(t)
	past, cancel := context.WithCancel(bounded(t))
	cancel()
	var locks []*manager.Lock
	for i := range 50 {
		lock := acquire(t, m, fmt.Sprint("key ", i))
		locks = append(locks, lock)
		if err := lock.Release(past); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	eventually(t, "the server has all of them back", func() bool { return len(held(t, s)) == 0 })
	for _, lock := range locks {
		release(t, lock) // the outcome, now that it is known
		wantIs(t, lock.Err(), manager.ErrReleased)
	}
}

// The time to wait runs out about when the lock is granted, either just before or just after.
func TestWaitTimeoutRacesAGrant(t *testing.T) {
	m, other := open(t), open(t)
	var granted, timedOut atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("key ", g)
			for i := range 40 {
				lock, err := m.Acquire(bounded(t), key, manager.WithWaitTimeout(time.Duration(1+i*i)*time.Microsecond))
				switch {
				case err == nil:
					granted.Add(1)
					if err := lock.Release(bounded(t)); err != nil {
						t.Error(err)
					}
				case errors.Is(err, manager.ErrWaitTimeout):
					timedOut.Add(1)
				default:
					t.Error(err)
				}
			}
			lock, err := other.Acquire(bounded(t), key) // nobody was left with it
			if err != nil {
				t.Error(err)
				return
			}
			if err := lock.Release(bounded(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d granted, %d timed out", granted.Load(), timedOut.Load())
	eventually(t, "all is over", func() bool { s := m.Stats(); return s.Held == 0 && s.Waiting == 0 })
}
