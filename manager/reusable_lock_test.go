package manager_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// One key is locked, released and locked again, for as long as the program runs.

func TestLockIsReusable(t *testing.T) {
	s, m := server(t), open(t)
	ctx := bounded(t)
	for i := range 200 {
		lock, err := m.Acquire(ctx, "orders/42")
		if err != nil {
			t.Fatal(err)
		}
		if lock.Key() != "orders/42" || lock.Err() != nil || isEnded(lock.Done()) || lock.Context().Err() != nil {
			t.Fatalf("cycle %d: key %q, err %v, context %v", i, lock.Key(), lock.Err(), lock.Context().Err())
		}
		if i%50 == 0 {
			if locks := held(t, s); len(locks) != 1 || locks[lock.ID()] == 0 {
				t.Fatalf("the server has %v while %d is held", locks, lock.ID())
			}
		}
		if err := lock.Release(ctx); err != nil {
			t.Fatal(err)
		}
		wantIs(t, lock.Err(), manager.ErrReleased)
	}
	if locks := held(t, s); len(locks) != 0 {
		t.Errorf("the server still has %v", locks)
	}
}

func TestKeyHandleIsReusable(t *testing.T) {
	m := open(t)
	key := m.Key("orders/42")
	ctx := bounded(t)
	for i := range 100 {
		get := key.Acquire
		if i%2 == 1 {
			get = key.TryAcquire
		}
		lock, err := get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if lock.Key() != key.Name() || lock.ID() != key.ID() || key.Name() != "orders/42" {
			t.Fatalf("lock %q %d of key %q %d", lock.Key(), lock.ID(), key.Name(), key.ID())
		}
		release(t, lock)
	}
	lock := acquire(t, m, "orders/42") // the same key by its name
	if _, err := key.TryAcquire(ctx); !errors.Is(err, manager.ErrNotAcquired) {
		t.Errorf("by its handle while held by its name: %v", err)
	}
	release(t, lock)
}

func TestManyGoroutinesReuseOneKey(t *testing.T) {
	m := open(t)
	key := m.Key("one")
	ctx := bounded(t)
	inside, entered := 0, 0 // guarded by the lock alone
	work := func() error {
		inside++
		entered++
		runtime.Gosched()
		if inside != 1 {
			return fmt.Errorf("%d holders at one time", inside)
		}
		inside--
		return nil
	}
	var wg sync.WaitGroup
	for g := range 30 {
		wg.Go(func() {
			for i := range 20 {
				var err error
				switch (g + i) % 3 {
				case 0:
					err = m.Do(ctx, "one", func(context.Context) error { return work() })
				case 1:
					var lock *manager.Lock
					if lock, err = key.Acquire(ctx); err == nil {
						err = errors.Join(work(), lock.Release(ctx))
					}
				default:
					var lock *manager.Lock
					if lock, err = key.TryAcquire(ctx); errors.Is(err, manager.ErrNotAcquired) {
						lock, err = key.Acquire(ctx)
					}
					if err == nil {
						err = errors.Join(work(), lock.Release(ctx))
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if entered != 30*20 {
		t.Errorf("entered %d times", entered)
	}
}

func TestTryAcquireNeverWaits(t *testing.T) {
	m, other := open(t), open(t)
	ctx := bounded(t)
	mine := acquire(t, m, "k")
	_, err := m.TryAcquire(ctx, "k")
	wantIs(t, err, manager.ErrNotAcquired)
	if e := failure(t, err); e.Holder == nil || !e.Holder.Local || e.Key != "k" || e.ID != mine.ID() {
		t.Errorf("held in this process, and the error has %+v", e)
	}
	_, err = other.TryAcquire(ctx, "k")
	wantIs(t, err, manager.ErrNotAcquired)
	if e := failure(t, err); e.Attempts != 1 {
		t.Errorf("held elsewhere, and the error has %+v", e)
	}
	release(t, mine)
	theirs, err := other.TryAcquire(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.TryAcquire(ctx, "k")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, theirs)
}

// A try does not overtake those who are queued.
func TestTryAcquireStandsBehindTheLine(t *testing.T) {
	m, other := open(t), open(t)
	theirs := acquire(t, other, "k")
	waiting := acquiring(bounded(t), t, m, "k")
	_, err := m.TryAcquire(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, theirs)
	got := ended(t, "the grant", waiting)
	if got.err != nil {
		t.Fatal(got.err)
	}
	release(t, got.lock)
}

func TestDo(t *testing.T) {
	m := open(t)
	ctx := bounded(t)
	free := func(after string) {
		t.Helper()
		lock, err := m.TryAcquire(ctx, "k")
		if err != nil {
			t.Fatalf("after %s: %v", after, err)
		}
		release(t, lock)
	}
	var inner context.Context
	if err := m.Do(ctx, "k", func(ctx context.Context) error {
		inner = ctx //nolint:fatcontext // looked at when it is over
		_, err := m.TryAcquire(ctx, "k")
		wantIs(t, err, manager.ErrNotAcquired)
		return ctx.Err()
	}); err != nil {
		t.Fatal(err)
	}
	free("a return")
	ended(t, "the end of f's context", inner.Done())
	wantIs(t, context.Cause(inner), manager.ErrReleased)

	boom := errors.New("boom")
	if err := m.Do(ctx, "k", func(context.Context) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("f failed, and Do says %v", err)
	}
	free("an error")

	func() {
		defer func() {
			if v := recover(); v != boom { //nolint:errorlint // the very value must come through
				t.Errorf("recovered %v", v)
			}
		}()
		_ = m.Do(ctx, "k", func(context.Context) error { panic(boom) })
	}()
	free("a panic")

	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = m.Do(ctx, "k", func(context.Context) error { runtime.Goexit(); return nil })
	}()
	ended(t, "the goroutine's exit", exited)
	free("a Goexit")
}

// Every call of Release has the same answer, whenever and wherever it is made.
func TestReleaseIsIdempotent(t *testing.T) {
	s := server(t)
	for name, c := range map[string]struct {
		end  func(t *testing.T, m *manager.Manager, lock *manager.Lock, cancel context.CancelFunc)
		want error
	}{
		"while held": {func(*testing.T, *manager.Manager, *manager.Lock, context.CancelFunc) {}, nil},
		"after its context": {func(t *testing.T, m *manager.Manager, lock *manager.Lock, cancel context.CancelFunc) {
			t.Helper()
			cancel()
			ended(t, "the end of the hold", lock.Done())
		}, nil},
		"after its loss": {func(t *testing.T, m *manager.Manager, lock *manager.Lock, _ context.CancelFunc) {
			t.Helper()
			terminate(t, s, held(t, s)[lock.ID()])
			ended(t, "the loss", lock.Done())
		}, manager.ErrLost},
		"after Close": {func(t *testing.T, m *manager.Manager, lock *manager.Lock, _ context.CancelFunc) {
			t.Helper()
			closeNow(t, m)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := open(t)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			lock, err := m.Acquire(ctx, "k")
			if err != nil {
				t.Fatal(err)
			}
			c.end(t, m, lock, cancel)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					for range 3 {
						if err := lock.Release(bounded(t)); !errors.Is(err, c.want) {
							t.Errorf("released: %v, want %v", err, c.want)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// What is known counts, even if the context has ended: the lock was lost, or went to the next waiter.
func TestReleaseWithAnEndedContextTellsWhatIsKnown(t *testing.T) {
	s, m := server(t), open(t, manager.WithSharedSessions(1), manager.WithHandOffLimit(time.Hour, 1000))
	past, cancel := context.WithCancel(bounded(t))
	cancel()
	const n = 30
	var locks []*manager.Lock
	for i := range n {
		locks = append(locks, acquire(t, m, fmt.Sprint("key ", i)))
	}
	terminate(t, s, held(t, s)[locks[0].ID()])
	for _, lock := range locks {
		wantLost(t, lock)
		for range 2 {
			if err := lock.Release(past); !errors.Is(err, manager.ErrLost) || errors.Is(err, context.Canceled) {
				t.Errorf("a release after the loss: %v", err)
			}
		}
	}
	lock := acquire(t, m, "handed on")
	for range n {
		next := acquiring(bounded(t), t, m, "handed on")
		if err := lock.Release(past); err != nil {
			t.Errorf("handed on: %v", err)
		}
		got := ended(t, "the hand-off", next)
		if got.err != nil {
			t.Fatal(got.err)
		}
		lock = got.lock
	}
	release(t, lock)
	if err := lock.Release(past); err != nil {
		t.Errorf("released before: %v", err)
	}
}
