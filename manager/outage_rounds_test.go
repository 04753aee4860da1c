package manager_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A caller of AcquireSlot asks for its locks in rounds. A round that the server fails is followed by another, under the retry policy.

// pausing is a policy whose pauses the test sees.
func pausing(attempts int, next func() time.Duration) manager.RetryPolicy {
	return manager.RetryPolicy{Attempts: attempts, Backoff: func() backoff.BackOff { return pauseFunc(next) }}
}

type pauseFunc func() time.Duration

func (f pauseFunc) NextBackOff() time.Duration { return f() }
func (f pauseFunc) Reset()                     {}

// The only slot is waited for as any other, and as the key's lock is: a server that stops at its first try, or at the look for several slots, and
// starts again.
func TestTheOnlySlotIsWaitedForUnderTheRetryPolicy(t *testing.T) {
	s := breakable(t)
	for name, key := range map[string]string{"at the try": "k", "at the look": "k#slots"} {
		t.Run(name, func(t *testing.T) {
			failed := make(chan struct{})
			tell := sync.OnceFunc(func() { close(failed) })
			policy := pausing(10000, func() time.Duration { tell(); return 10 * time.Millisecond })
			var at pausedAt
			m, holder := openOn(t, s, at.option("try"), manager.WithRetry(policy)), openOn(t, s)
			if key != "k" { // so that it has to look
				acquire(t, holder, "k") // until the server stops
			}
			at.arm(t, m, key)
			results := make(chan acquiredSlot, 1)
			go func() {
				slot, err := m.AcquireSlot(t.Context(), "k", 1, manager.WithWaitTimeout(patience))
				results <- acquiredSlot{slot, err}
			}()
			ended(t, "the request", at.reached)
			start := stop(t, s)
			at.resume()
			select {
			case got := <-results:
				t.Errorf("it was not waited for: %v", got.err)
				return
			case <-failed:
			}
			start()
			got := ended(t, "the answer", results)
			if got.err != nil {
				t.Fatal(got.err)
			}
			freeSlot(t, got.slot)
		})
	}
}

// lookLost ends the sessions of a manager in the release after each look for several slots, up to a number of times. It answers the call's result.
func lookLost(t *testing.T, times int64, policy manager.RetryPolicy, call func(m *manager.Manager) (*manager.Slot, error)) (*manager.Slot, error) {
	t.Helper()
	s := server(t)
	var id, left atomic.Int64
	unlocks, resumed := make(chan struct{}), make(chan struct{})
	m := openOn(t, s, manager.WithRetry(policy), manager.WithHook(func(of int64, step string) {
		if step == "unlock" && of == id.Load() && left.Add(-1) >= 0 {
			unlocks <- struct{}{}
			<-resumed
		}
	}))
	left.Store(times)
	id.Store(m.Key("k#slots").ID())
	results := make(chan acquiredSlot, 1)
	go func() {
		slot, err := call(m)
		results <- acquiredSlot{slot, err}
	}()
	for {
		select {
		case <-unlocks:
			terminateAll(t, s, m)
			eventually(t, "the lock is free", func() bool { return held(t, s)[m.Key("k#slots").ID()] == 0 })
			resumed <- struct{}{}
		case got := <-results:
			return got.slot, got.err
		}
	}
}

// unconfirmed counts the failures that are of a release which the server did not confirm.
func unconfirmed(all []error) (n int) {
	for _, err := range all {
		if errors.Is(err, manager.ErrReleaseUnknown) || errors.Is(err, manager.ErrLost) {
			n++
		}
	}
	return n
}

// A release after a look that the server does not confirm is a failed attempt: another follows, as many as the policy allows, and the error has all of them.
func TestALookThatIsNotReleased(t *testing.T) {
	acquireIt := func(m *manager.Manager) (*manager.Slot, error) {
		return m.AcquireSlot(t.Context(), "k", 2, manager.WithWaitTimeout(patience))
	}
	policy := pausing(3, func() time.Duration { return time.Millisecond })
	slot, err := lookLost(t, 2, policy, acquireIt)
	if err != nil {
		t.Fatal(err)
	}
	freeSlot(t, slot)
	_, err = lookLost(t, 3, policy, acquireIt)
	wantIs(t, err, manager.ErrAttempts)
	e := failure(t, err)
	if n := unconfirmed(e.Failures); n != 3 || e.Attempts < 6 || e.Key != "k" { // two locks in each round
		t.Errorf("%d releases of 3 that failed, and %d attempts: %v", n, e.Attempts, err)
	}
}

// The error tells what failed in the rounds before, also where the context ends in the pause after them.
func TestTheErrorOfASlotHasAllRounds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := lookLost(t, 1, pausing(3, func() time.Duration { cancel(); return time.Hour }), func(m *manager.Manager) (*manager.Slot, error) {
		return m.AcquireSlot(ctx, "k", 2)
	})
	wantIs(t, err, context.Canceled)
	if e := failure(t, err); unconfirmed(e.Failures) != 1 || e.Attempts < 2 {
		t.Errorf("%d attempts, failures %v", e.Attempts, e.Failures)
	}
}

// Somebody who has the lock of the slots' number for himself is waited for, with pauses.
func TestALockOfSlotsThatIsHeldByHand(t *testing.T) {
	s := server(t)
	var pauses atomic.Int64
	m := openOn(t, s, manager.WithRetry(pausing(1, func() time.Duration { pauses.Add(1); return time.Millisecond })))
	byHand := acquire(t, openOn(t, s), "k#slots of 2")
	results := make(chan acquiredSlot, 1)
	go func() {
		slot, err := m.AcquireSlot(t.Context(), "k", 2, manager.WithWaitTimeout(patience))
		results <- acquiredSlot{slot, err}
	}()
	eventually(t, "it pauses", func() bool { return pauses.Load() > 3 })
	release(t, byHand)
	got := ended(t, "the answer", results)
	if got.err != nil {
		t.Fatal(got.err)
	}
	freeSlot(t, got.slot)
}

// The cause of a context may be the error of another call: it ends the call as a context does, and stays as it is.
func TestACauseThatIsAnothersError(t *testing.T) {
	m := open(t)
	for name, cause := range map[string]error{"ErrWaitTimeout": manager.ErrWaitTimeout, "ErrNotAcquired": manager.ErrNotAcquired} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		_, err := m.TryAcquireSlot(ctx, "k", 2)
		wantIs(t, err, context.Canceled)
		_, err = m.AcquireSlot(ctx, "k", 2, manager.WithWaitTimeout(0))
		wantIs(t, err, context.Canceled)
		if errors.Is(err, manager.ErrWaitTimeout) != (name == "ErrWaitTimeout") {
			t.Errorf("%s: %v", name, err)
		}
	}
	theirs := acquireSlot(t, m, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	slots := []*manager.Slot{}
	for range 2 {
		slot, err := m.AcquireSlot(t.Context(), "other", 2)
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, slot)
	}
	result := make(chan error, 1)
	go func() {
		_, err := m.AcquireSlot(ctx, "other", 2)
		result <- err
	}()
	eventually(t, "it waits for each of the slots", func() bool { return m.Stats().Waiting == 2 })
	_, err := m.TryAcquireSlot(bounded(t), "k", 1)
	cause := failure(t, err)
	cancel(cause)
	err = ended(t, "the end of the wait", result)
	wantIs(t, err, context.Canceled, cause)
	if e := failure(t, err); e.Key != "other" || cause.Key != "k" {
		t.Errorf("the error is of %q, and its cause of %q", e.Key, cause.Key)
	}
	for _, slot := range append(slots, theirs) {
		freeSlot(t, slot)
	}
}
