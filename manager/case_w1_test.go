package manager_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// W1. A caller's backoff blocks, as a rate limiter does. A stranger's calls return, a stranger's lock stays his although
// a second process waits for it, and the caller returns with his own context.
func TestW1BackoffThatBlocks(t *testing.T) {
	s := server(t)
	for _, where := range []place{inConstructor, inNextBackOff} {
		t.Run(string(where), func(t *testing.T) {
			other, tr := open(t), newTrap(t)
			m := tr.open(t, s, manager.WithHealth(500*time.Millisecond, 8*time.Second))
			busy, mine := acquire(t, other, "busy"), acquire(t, m, "mine", plainRetry)
			pid := held(t, s)[mine.ID()]
			entered := tr.set(where, blocks)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			caller := fateOf(func() (*manager.Lock, error) { return m.Acquire(ctx, "busy") })
			ended(t, "the backoff blocks", entered)

			for i := range 20 {
				takeAndRelease(t, m, fmt.Sprint("stranger ", i), plainRetry)
			}
			theirs := acquiring(bounded(t), t, other, "mine")
			wronged := func() bool { return len(theirs) > 0 || mine.Err() != nil }
			if !askedAgain(t, s, pid, 5, wronged) {
				t.Errorf("a stranger's lock: %v; %d times granted to a second process", mine.Err(), len(theirs))
			}

			cancel()
			if got, ok := inTime(t, "the caller returns with his context", caller); ok {
				wantIs(t, got.err, context.Canceled)
			}
			tr.unblock()
			_ = prompt(t, "release", mine.Release)
			if got, ok := inTime(t, "the second process's grant", theirs); ok && got.err == nil {
				release(t, got.lock)
			}
			release(t, busy)
		})
	}
}

// W1. The same where the policy is the call's own, whose backoff may block from its first use on.
func TestW1BackoffOfOneCallThatBlocks(t *testing.T) {
	s := server(t)
	for _, where := range []place{inConstructor, inNextBackOff} {
		t.Run(string(where), func(t *testing.T) {
			other, tr := open(t), newTrap(t)
			m := open(t)
			t.Cleanup(tr.unblock)
			busy := acquire(t, other, "busy")
			entered := tr.set(where, blocks)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			caller := fateOf(func() (*manager.Lock, error) {
				return m.Acquire(ctx, "busy",
					manager.WithRetryPolicy(manager.RetryPolicy{Attempts: 5, PollFirst: true, Backoff: tr.backoff}))
			})
			ended(t, "the backoff blocks", entered)
			for i := range 20 {
				takeAndRelease(t, m, fmt.Sprint("stranger ", i))
			}
			cancel()
			if got, ok := inTime(t, "the caller returns with his context", caller); ok {
				wantIs(t, got.err, context.Canceled)
			}
			if n := len(held(t, s)); n != 1 {
				t.Errorf("the server has %d locks, one is held", n)
			}
			tr.unblock()
			release(t, busy)
		})
	}
}

// W1. A log handler that blocks for good delays nobody, and Close ends without it.
func TestW1LogHandlerThatBlocks(t *testing.T) {
	s := server(t)
	for _, where := range []place{inEnabled, inHandle} {
		t.Run(string(where), func(t *testing.T) {
			tr := newTrap(t)
			m := tr.open(t, s)
			entered := tr.set(where, blocks)
			for i := range 3 { // each is worth a record
				lock := acquire(t, m, "victim", plainRetry, manager.WithDedicatedSession())
				terminate(t, s, held(t, s)[lock.ID()])
				ended(t, "the loss", lock.Context().Done())
				takeAndRelease(t, m, fmt.Sprint("stranger ", i), plainRetry)
			}
			ended(t, "the handler blocks", entered)
			closesNow(t, m)
		})
	}
}

// W1. A dial that blocks, whatever its context says, costs one attempt: all sessions are gone, the first dial for the next
// one never returns, and those who need a session get another within the connect timeout.
func TestW1DialThatBlocks(t *testing.T) {
	s := server(t)
	for _, where := range placesOfConnect {
		t.Run(string(where), func(t *testing.T) {
			tr := newTrap(t)
			m := tr.open(t, s, manager.WithConnectTimeout(time.Second))
			terminateAll(t, s, m)
			entered := tr.setTimes(where, blocks, 1)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			caller := fateOf(func() (*manager.Lock, error) { return m.Acquire(ctx, "mine", plainRetry) })
			ended(t, "the dial blocks", entered)
			for i := range 5 {
				takeAndRelease(t, m, fmt.Sprint("stranger ", i), plainRetry)
			}
			if got, ok := inTime(t, "the caller's own attempt on another session", caller); ok {
				if got.err != nil {
					t.Errorf("the caller: %v", got)
				} else if err := prompt(t, "release", got.value.Release); err != nil {
					t.Error(err)
				}
			}
			closesNow(t, m)
		})
	}
}
