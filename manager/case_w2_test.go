package manager_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/manager"
)

// W2. A backoff panics, or calls runtime.Goexit as t.FailNow does. Its own caller notices, in one way or another; the key
// and the manager do not.
func TestW2BackoffThatEndsItsGoroutine(t *testing.T) {
	s := server(t)
	for _, where := range []place{inConstructor, inNextBackOff} {
		for _, what := range []deed{panics, exits} {
			t.Run(string(where)+" "+string(what), func(t *testing.T) {
				other, tr := open(t), newTrap(t)
				m := tr.open(t, s)
				busy := acquire(t, other, "busy")
				entered := tr.set(where, what)
				caller := fateOf(func() (*manager.Lock, error) { return m.Acquire(bounded(t), "busy") })
				ended(t, "the backoff misbehaves", entered)
				got, ok := inTime(t, "the caller hears of it", caller)
				if ok && got.err == nil && got.panicked == nil && !got.exited {
					t.Errorf("the caller: %v", got)
				}
				tr.unset()
				for range 3 {
					tryAndFail(t, m, "busy")
				}
				release(t, busy)
				takeAndRelease(t, m, "busy", plainRetry)
				takeAndRelease(t, m, "another", plainRetry)
				if n := m.Stats().Waiting; n != 0 {
					t.Errorf("%d callers wait", n)
				}
				closesNow(t, m)
			})
		}
	}
}

// backoffFunc is a BackOff that asks the test.
type backoffFunc func() time.Duration

func (f backoffFunc) NextBackOff() time.Duration { return f() }
func (backoffFunc) Reset()                       {}

// W2. The same while others of this process wait for the key behind that caller: each is granted the lock in turn.
func TestW2BackoffThatEndsItsGoroutineBeforeOthers(t *testing.T) {
	const others = 5
	s := server(t)
	for _, what := range []deed{panics, exits} {
		t.Run(string(what), func(t *testing.T) {
			other, tr := open(t), newTrap(t)
			asked, goOn := make(chan struct{}), make(chan struct{})
			var armed atomic.Bool
			next := backoffFunc(func() time.Duration {
				if armed.CompareAndSwap(true, false) {
					close(asked)
					<-goOn
					tr.at(inNextBackOff)
				}
				return time.Millisecond
			})
			m := tr.open(t, s, manager.WithRetry(manager.RetryPolicy{Attempts: 5, PollFirst: true,
				Backoff: func() backoff.BackOff { return next }}))
			busy := acquire(t, other, "busy")
			tr.set(inNextBackOff, what)
			armed.Store(true)
			caller := fateOf(func() (*manager.Lock, error) { return m.Acquire(bounded(t), "busy") })
			ended(t, "the backoff is asked", asked)
			var behind []<-chan *fate[*manager.Lock]
			for range others {
				behind = append(behind, fateOf(func() (*manager.Lock, error) {
					return m.Acquire(bounded(t), "busy", plainRetry)
				}))
			}
			eventually(t, "all wait", func() bool { return m.Stats().Waiting == others+1 })
			close(goOn)
			inTime(t, "the caller hears of it", caller)
			release(t, busy)
			granted := make(chan struct{}, others)
			for _, call := range behind {
				go func() {
					defer func() { granted <- struct{}{} }()
					got, ok := inTime(t, "one who waits is granted the lock", call)
					if ok && got.err == nil {
						got.err = got.value.Release(bounded(t))
					}
					if ok && got.err != nil {
						t.Errorf("one who waits: %v", got)
					}
				}()
			}
			for range others {
				<-granted
			}
			closesNow(t, m)
		})
	}
}

// W2. A log handler that panics or calls Goexit loses its own record and no later one.
func TestW2LogHandlerThatEndsItsGoroutine(t *testing.T) {
	s := server(t)
	for _, where := range []place{inEnabled, inHandle} {
		for _, what := range []deed{panics, exits} {
			t.Run(string(where)+" "+string(what), func(t *testing.T) {
				tr := newTrap(t)
				m := tr.open(t, s)
				lose := func() {
					lock := acquire(t, m, "victim", plainRetry, manager.WithDedicatedSession())
					terminate(t, s, held(t, s)[lock.ID()])
					ended(t, "the loss", lock.Context().Done())
				}
				entered := tr.setTimes(where, what, 1)
				lose()
				ended(t, "the handler misbehaves", entered)
				before := len(tr.logged())
				lose()
				eventually(t, "a later record arrives", func() bool { return len(tr.logged()) > before })
				closesNow(t, m)
			})
		}
	}
}

// W2. f of Do panics or calls Goexit. Its caller sees just that, and the lock is free.
func TestW2FThatEndsItsGoroutine(t *testing.T) {
	s := server(t)
	for _, what := range []deed{panics, exits} {
		t.Run(string(what), func(t *testing.T) {
			tr, other := newTrap(t), open(t)
			m := tr.open(t, s)
			tr.set(inF, what)
			got, ok := inTime(t, "Do ends", fateOf(only(func() error {
				return m.Do(bounded(t), "k", func(context.Context) error { tr.at(inF); return errors.New("not reached") })
			})))
			if ok && (got.exited != (what == exits) || (got.panicked == panicText) != (what == panics)) {
				t.Errorf("Do ended otherwise than f: %v", got)
			}
			takeAndRelease(t, other, "k")
			takeAndRelease(t, m, "k")
			closesNow(t, m)
		})
	}
}
