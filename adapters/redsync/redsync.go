// Package redsync has the shape of github.com/go-redsync/redsync, with Lockkeeper's locks behind it: for programs that move their
// locks from Redis to PostgreSQL. Change the import path and New; [NewDual] holds both locks while old and new replicas run side by
// side.
//
// One thing differs: a lock does not expire. It is held until Unlock, or until it is lost, which [Mutex.Done] tells at once. A program
// that never unlocks and waits for the expiry instead needs [manager.Manager.Once] or [manager.WithMinHold].
package redsync

import (
	"math/rand/v2"
	"time"

	"github.com/go-redsync/redsync/v4"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The errors of redsync, which are redsync's own. Errors of this package have the reason besides.
var (
	ErrFailed             = redsync.ErrFailed
	ErrExtendFailed       = redsync.ErrExtendFailed
	ErrLockAlreadyExpired = redsync.ErrLockAlreadyExpired
)

type (
	// ErrTaken is in the error's tree, as a pointer, where another holds the lock. It names no nodes.
	ErrTaken = redsync.ErrTaken //nolint:errname // redsync's name
	// DelayFunc is the pause before an attempt. Between attempts Lock does not sleep, but waits in turn.
	DelayFunc = redsync.DelayFunc
)

// Redsync makes mutexes. Make it with New or NewDual.
type Redsync struct {
	locks manager.Locker
	redis *redsync.Redsync // nil unless both are held
}

// New makes mutexes on Lockkeeper's locks alone.
func New(locks manager.Locker) *Redsync { return &Redsync{locks: locks} }

// NewDual makes mutexes that hold both locks: Lockkeeper's and Redis's. They exclude replicas that have either, and those that have
// both. In Redis they expire: they need Extend as before.
func NewDual(locks manager.Locker, redis *redsync.Redsync) *Redsync {
	return &Redsync{locks: locks, redis: redis}
}

// NewMutex makes a mutex with a name. As redsync's it is for one goroutine at a time.
func (r *Redsync) NewMutex(name string, options ...Option) *Mutex {
	m := &Mutex{name: name, expiry: 8 * time.Second, tries: 32, delay: delay, locks: r.locks}
	for _, o := range options {
		o(m)
	}
	if r.redis != nil {
		m.redis = r.redis.NewMutex(name, redsync.WithExpiry(m.expiry), redsync.WithTries(m.tries), redsync.WithRetryDelayFunc(m.delay))
	}
	return m
}

// delay is redsync's.
func delay(int) time.Duration { return 50*time.Millisecond + rand.N(200*time.Millisecond) } //nolint:gosec // it need not be secret

// Option changes a mutex. Those of redsync that have no meaning here are not in this package: the quorum's, the drift's and the value's.
type Option func(*Mutex)

// WithExpiry sets how far Lock and Extend move [Mutex.Until]. The lock itself does not expire. Default 8 s, as redsync's.
func WithExpiry(d time.Duration) Option { return func(m *Mutex) { m.expiry = d } }

// WithTries sets the number of attempts: Lock waits for the sum of the delays between them. Default 32, as redsync's.
func WithTries(tries int) Option { return func(m *Mutex) { m.tries = tries } }

// WithRetryDelay sets the delay between two attempts. Default 50 to 250 ms, as redsync's.
func WithRetryDelay(d time.Duration) Option {
	return WithRetryDelayFunc(func(int) time.Duration { return d })
}

// WithRetryDelayFunc sets the delays between attempts.
func WithRetryDelayFunc(f DelayFunc) Option { return func(m *Mutex) { m.delay = f } }
