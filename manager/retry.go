package manager

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/actor"
)

// RetryPolicy says how often and how the server is asked for a lock.
type RetryPolicy struct {
	// Attempts bounds the attempts that fail: connection refused or reset, server starting or stopping, too many
	// connections. With PollFirst it bounds those that find the lock held as well: of n, n-1 ask and the last waits.
	// Contention by itself never fails an Acquire.
	Attempts int
	// Backoff makes the pauses between the attempts of one acquisition. A BackOff is not safe for concurrent use, so
	// each acquisition makes one. Both are called on a goroutine of the acquisition's. While they take their time, and for
	// backoff.Stop, the pause is a second. If they panic, call runtime.Goexit, or give a negative pause, that acquisition fails.
	Backoff func() backoff.BackOff
	// PollFirst asks without waiting, with the pauses between, before the last attempt waits in the server's queue.
	// Without it a lock that somebody holds is waited for at once, and polled only while no session for waiting is free.
	PollFirst bool

	step time.Duration // of a linear backoff
}

// The default: ten attempts that may fail, with pauses of 100, 200, ... 900 ms, four and a half seconds in all; most
// restarts of a server are over by then.
const (
	defaultAttempts = 10
	defaultStep     = 100 * time.Millisecond
	// defaultPause is that of a backoff that takes its time, or says backoff.Stop.
	defaultPause = time.Second
)

// LinearRetry polls first: attempts-1 tries with pauses of step, 2*step, 3*step and so on between them, then one wait.
func LinearRetry(attempts int, step time.Duration) RetryPolicy {
	return RetryPolicy{Attempts: attempts, PollFirst: true, Backoff: linearBackoff(step), step: step}
}

func defaultRetry() RetryPolicy {
	return RetryPolicy{Attempts: defaultAttempts, Backoff: linearBackoff(defaultStep)}
}

func (p RetryPolicy) validate() error {
	if p.Attempts < 1 {
		return fmt.Errorf("RetryPolicy.Attempts is %d: it must be at least 1", p.Attempts)
	}
	if p.Backoff == nil {
		return fmt.Errorf("RetryPolicy.Backoff is nil: it makes the pauses between attempts")
	}
	if p.step < 0 {
		return fmt.Errorf("RetryPolicy.Backoff gave a pause of %v: it must not be negative", p.step)
	}
	return nil
}

// pausing waits for the keeper's decision, and answers its questions how long to pause. The user's backoff runs on a goroutine of
// its own, so that one that takes its time keeps nobody.
func (l *Lock) pausing(p *RetryPolicy) {
	n := newPauses(p)
	n.start()
	for {
		select {
		case reply := <-l.claim.Replies():
			if reply == actor.Decided {
				return
			}
			n.start() // the last question was answered
		case r := <-n.result:
			if r.err != nil {
				l.claim.Withdraw(r.err)
				continue
			}
			l.claim.Pause(r.pause)
		}
	}
}

// nextPause asks a backoff for one pause after the other.
type nextPause struct {
	policy  *RetryPolicy
	backoff backoff.BackOff // made at the first pause; of the goroutine that is under way
	// Sent by the goroutine as its last act; received by pausing, or by wait; never closed; capacity 1: one is under way.
	result chan pauseResult
	asked  bool // of wait: the backoff has yet to answer
}

func newPauses(p *RetryPolicy) *nextPause {
	return &nextPause{policy: p, result: make(chan pauseResult, 1)}
}

// wait pauses for as long as the backoff says, and for defaultPause where it does not say in time. The end of ctx and that of the time are errors.
func (n *nextPause) wait(ctx context.Context, over <-chan struct{}) error {
	if !n.asked {
		n.start()
		n.asked = true
	}
	timer := time.NewTimer(defaultPause)
	defer timer.Stop()
	for {
		select {
		case r := <-n.result:
			if n.asked = false; r.err != nil {
				return r.err
			}
			timer.Reset(r.pause)
		case <-timer.C:
			return nil
		case <-over:
			return ErrWaitTimeout
		case <-ctx.Done():
			return contextReason(ctx)
		}
	}
}

type pauseResult struct {
	pause time.Duration
	err   error
}

// start asks on a goroutine of its own. Joined by pausing, or by wait, through result, unless the acquisition ends first: then nobody waits for
// the user's function.
func (n *nextPause) start() { go n.ask() }

func (n *nextPause) ask() {
	r := pauseResult{err: errors.New("RetryPolicy.Backoff called runtime.Goexit")}
	defer func() {
		if v := recover(); v != nil {
			r.err = fmt.Errorf("RetryPolicy.Backoff panicked: %v\n%s", v, debug.Stack())
		}
		n.result <- r
	}()
	if n.backoff == nil {
		n.backoff = n.policy.Backoff()
	}
	if n.backoff == nil {
		r.err = errors.New("RetryPolicy.Backoff gave nil: it makes the pauses between attempts")
		return
	}
	r.pause, r.err = n.backoff.NextBackOff(), nil
	switch {
	case r.pause == backoff.Stop:
		r.pause = defaultPause
	case r.pause < 0:
		r.err = fmt.Errorf("RetryPolicy.Backoff gave a pause of %v: it must not be negative", r.pause)
	}
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
