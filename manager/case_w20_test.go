package manager_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// W20. A function of the user's that connects ignores its context. New returns with its own, and what comes late is closed
// when it comes.
func TestW20NewReturnsWithItsContext(t *testing.T) {
	s := server(t)
	for _, where := range placesOfConnect {
		for name, want := range map[string]error{"cancelled": context.Canceled, "deadline": context.DeadlineExceeded} {
			t.Run(string(where)+" "+name, func(t *testing.T) {
				leakFree(t, s)
				tr := newTrap(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				opening := blockedIn(t, tr, where, func(limit time.Duration) (*manager.Manager, error) {
					if name == "cancelled" {
						limit = patience
					}
					ctx, end := context.WithTimeout(ctx, limit)
					defer end()
					return manager.New(ctx, tr.source(t, s), append(tr.options(), manager.WithConnectTimeout(patience))...)
				})
				if name == "cancelled" {
					cancel()
				}
				if got, ok := inTime(t, "New returns with its context", opening); ok {
					wantIs(t, got.err, want)
				}
				tr.unblock() // and leakFree sees that the connection is closed
			})
		}
	}
}

// W20. The connect timeout bounds New as well, though its context has all the time.
func TestW20NewReturnsByTheConnectTimeout(t *testing.T) {
	s := server(t)
	for _, where := range placesOfConnect {
		t.Run(string(where), func(t *testing.T) {
			leakFree(t, s)
			tr := newTrap(t)
			opening := blockedIn(t, tr, where, func(limit time.Duration) (*manager.Manager, error) {
				return manager.New(bounded(t), tr.source(t, s), append(tr.options(), manager.WithConnectTimeout(limit))...)
			})
			if got, ok := inTime(t, "New gives up", opening); ok {
				wantOutage(t, got.err)
			}
			tr.unblock()
		})
	}
}

// blockedIn makes a call that blocks in a place, and which is over by a limit. Where the server is so slow that it is over before it comes
// there, it is made again with twice the limit.
func blockedIn(t *testing.T, tr *trap, where place, call func(limit time.Duration) (*manager.Manager, error)) <-chan *fate[*manager.Manager] {
	t.Helper()
	for limit := 300 * time.Millisecond; limit < patience; limit *= 2 {
		entered := tr.set(where, blocks)
		calling := fateOf(func() (*manager.Manager, error) { return call(limit) })
		select {
		case <-entered:
			return calling
		case got := <-calling:
			if got.err == nil {
				closeNow(t, got.value)
				t.Fatal("it did not call the function that blocks")
			}
		}
	}
	t.Fatalf("it did not call the function that blocks within %v", patience)
	return nil
}

// W20. The same when a later session is opened: the caller returns with his context, Close does not wait for the late
// connection, and that is closed when it comes.
func TestW20LateConnectionOfAnOpenManager(t *testing.T) {
	s := server(t)
	for _, where := range placesOfConnect {
		t.Run(string(where), func(t *testing.T) {
			tr := newTrap(t)
			m := tr.open(t, s, manager.WithConnectTimeout(2*time.Second))
			entered := tr.setTimes(where, blocks, 1)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			caller := fateOf(func() (*manager.Lock, error) {
				return m.Acquire(ctx, "k", plainRetry, manager.WithDedicatedSession())
			})
			ended(t, "the dial blocks", entered)
			takeAndRelease(t, m, "another", plainRetry)
			cancel()
			if got, ok := inTime(t, "the caller returns with his context", caller); ok && got.err == nil {
				_ = got.value.Release(bounded(t)) // another attempt was quicker
			} else if ok {
				wantIs(t, got.err, context.Canceled)
			}
			closesNow(t, m)
			tr.unblock()
			eventually(t, "the late connection is closed", func() bool { return connections(t, s) == 0 })
		})
	}
}

// W20. A Close whose own context ends returns with that, also while a dial blocks.
func TestW20CloseReturnsWithItsContext(t *testing.T) {
	s := server(t)
	tr := newTrap(t)
	m := tr.open(t, s, manager.WithConnectTimeout(patience))
	entered := tr.setTimes(inDial, blocks, 1)
	caller := fateOf(func() (*manager.Lock, error) {
		return m.Acquire(bounded(t), "k", plainRetry, manager.WithDedicatedSession())
	})
	ended(t, "the dial blocks", entered)
	ctx, cancel := context.WithTimeout(bounded(t), 100*time.Millisecond)
	defer cancel()
	if got, ok := inTime(t, "Close returns", fateOf(only(func() error { return m.Close(ctx) }))); ok && got.err != nil {
		wantIs(t, got.err, context.DeadlineExceeded)
	}
	if got, ok := inTime(t, "the caller's answer", caller); ok && !errors.Is(got.err, manager.ErrClosed) {
		t.Errorf("the caller: %v", got)
	}
}
