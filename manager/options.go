package manager

import (
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// AcquireOption changes one acquisition. One that is nil changes nothing, as is so for all options here.
type AcquireOption func(*acquireOptions)

type acquireOptions struct {
	waitTimeout time.Duration
	bounded     bool // waitTimeout was given
	once        bool // it is 0, and the call is not a try by itself
	detach      bool
	dedicated   bool
	minHold     time.Duration
	token       bool
	unfenced    bool           // WithFencing does not count
	leads       bool           // the call is Elect's
	set         *LockSet       // that the lock is to be the lead of
	before      []*actor.Claim // that the same set holds: it is taken in order
	transitions func(Transition)
	retry       *RetryPolicy
}

// collect allocates only where there are options.
func collect(opts []AcquireOption) acquireOptions {
	if len(opts) == 0 {
		return acquireOptions{}
	}
	o := new(acquireOptions)
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return *o
}

// checkWaitTimeout refuses a negative time.
func (o *acquireOptions) checkWaitTimeout() error {
	if o.waitTimeout < 0 {
		return fmt.Errorf("WithWaitTimeout is %v: it must not be negative", o.waitTimeout)
	}
	return nil
}

// WithWaitTimeout bounds the wait alone: after d the call returns [ErrWaitTimeout]. The hold is not bounded by it. With 0 the lock is
// tried once, as by TryAcquire.
func WithWaitTimeout(d time.Duration) AcquireOption {
	return func(o *acquireOptions) { o.waitTimeout, o.bounded = d, true }
}

// WithDetachedHold lets the hold outlive the context, which then bounds the wait only. The lock must be released by hand, or it
// is held until its session ends or the manager is closed. For Do, whose hold ends when its function has returned, it lets the function's
// context outlive the one given.
func WithDetachedHold() AcquireOption { return func(o *acquireOptions) { o.detach = true } }

// WithDedicatedSession gives the lock a connection of its own, so that it is not lost with the session of others. It
// waits for one if as many as [WithMaxSessions] allows are in use. [Lock.BeginTx] needs it.
func WithDedicatedSession() AcquireOption { return func(o *acquireOptions) { o.dedicated = true } }

// WithRetryPolicy is [WithRetry] for one acquisition.
func WithRetryPolicy(p RetryPolicy) AcquireOption { return func(o *acquireOptions) { o.retry = &p } }

// policy is the acquisition's own, or the manager's.
func (o *acquireOptions) policy(m *Manager) *RetryPolicy {
	if o.retry != nil {
		return o.retry
	}
	return &m.config.retry
}

// WithMinHold keeps the lock at the server until d after its grant, although Release or Do returns at once: nobody else, in this process
// or in another, is granted the key before. It is for work that is short, and that others would do again. The loss of the
// session, the end of the process and Close release the lock earlier.
func WithMinHold(d time.Duration) AcquireOption { return func(o *acquireOptions) { o.minHold = d } }

var errTransitions = errors.New("WithTransitions is for Elect")

// WithTransitions has Elect tell f of each transition, in order: none is lost. f runs on goroutines of its own, one call at a time; it
// may block, which delays nothing but what f is told next, and Close. Other calls refuse the option.
func WithTransitions(f func(Transition)) AcquireOption {
	return func(o *acquireOptions) { o.transitions = f }
}
