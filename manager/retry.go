package manager

import (
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// RetryPolicy says how often and how the server is asked for a lock.
type RetryPolicy struct {
	// Attempts bounds the attempts that fail: connection refused or reset, server starting or stopping, too many
	// connections. With PollFirst it bounds those that find the lock held as well: of n, n-1 ask and the last waits.
	// Contention by itself never fails an Acquire.
	Attempts int
	// Backoff makes the pauses between the attempts of one acquisition. A BackOff is not safe for concurrent use, so
	// each acquisition makes one. It must not stop by itself: backoff.Stop counts as a pause of one second.
	Backoff func() backoff.BackOff
	// PollFirst asks without waiting, with the pauses between, before the last attempt waits in the server's queue.
	// Without it a lock that somebody holds is waited for at once, and polled only while no session for waiting is free.
	PollFirst bool
}

// The default: ten attempts that may fail, with pauses of 100, 200, ... 900 ms, four and a half seconds in all; most
// restarts of a server are over by then.
const (
	defaultAttempts = 10
	defaultStep     = 100 * time.Millisecond
)

// LinearRetry polls first: attempts-1 tries with pauses of step, 2*step, 3*step and so on between them, then one wait.
func LinearRetry(attempts int, step time.Duration) RetryPolicy {
	return RetryPolicy{Attempts: attempts, PollFirst: true, Backoff: linearBackoff(step)}
}

func defaultRetry() RetryPolicy {
	return RetryPolicy{Attempts: defaultAttempts, Backoff: linearBackoff(defaultStep)}
}

func (p RetryPolicy) validate() error {
	if p.Attempts < 1 {
		return fmt.Errorf("Retry.Attempts is %d: it must be at least 1", p.Attempts)
	}
	if p.Backoff == nil {
		return fmt.Errorf("Retry.Backoff is nil: it makes the pauses between attempts")
	}
	b := p.Backoff()
	if b == nil {
		return fmt.Errorf("Retry.Backoff gave nil: it makes the pauses between attempts")
	}
	_, ours := b.(*linear) // whose -1 is a step that the user gave
	if first := b.NextBackOff(); first < 0 && (ours || first != backoff.Stop) {
		return fmt.Errorf("Retry.Backoff gave a pause of %v: it must not be negative", first)
	}
	return nil
}

func linearBackoff(step time.Duration) func() backoff.BackOff {
	return func() backoff.BackOff { return &linear{step: step} }
}

// linear pauses for step, 2*step, 3*step. It is not safe for concurrent use, as no BackOff is.
type linear struct {
	step    time.Duration
	attempt int
}

func (l *linear) NextBackOff() time.Duration {
	l.attempt++
	return time.Duration(l.attempt) * l.step
}

func (l *linear) Reset() { l.attempt = 0 }
