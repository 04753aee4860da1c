// Package redislock has the shape of github.com/bsm/redislock, with Lockkeeper's locks behind it: for programs that move their locks
// from Redis to PostgreSQL. Change the import path and New; [NewDual] holds both locks while old and new replicas run side by side.
//
// One thing differs: a lock does not expire. It is held until Release, or until it is lost, which [Lock.Done] tells at once. A program
// that never releases and waits for the ttl instead needs [manager.Manager.Once] or [manager.WithMinHold].
package redislock

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/bsm/redislock"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The names of redislock, which are redislock's own: errors compare with ==.
var (
	ErrNotObtained     = redislock.ErrNotObtained
	ErrLockNotHeld     = redislock.ErrLockNotHeld
	NoRetry            = redislock.NoRetry
	LinearBackoff      = redislock.LinearBackoff
	LimitRetry         = redislock.LimitRetry
	ExponentialBackoff = redislock.ExponentialBackoff
)

type (
	// Options are redislock's. The metadata stays in this process, unless Redis holds the lock as well. A token is told by
	// [Lock.Token]; unlike in Redis it does not let a second Obtain share the lock.
	Options = redislock.Options
	// RetryStrategy is redislock's. Between attempts Obtain does not sleep for the backoff, but waits in turn.
	RetryStrategy = redislock.RetryStrategy
)

// Client obtains locks. Make it with New or NewDual.
type Client struct {
	locks manager.Locker
	redis *redislock.Client // nil unless both are held
}

// New makes a client on Lockkeeper's locks alone.
func New(locks manager.Locker) *Client { return &Client{locks: locks} }

// NewDual makes a client whose locks are both: Lockkeeper's and Redis's. It excludes replicas that have either, and those that have
// both. Its locks expire in Redis: they need Refresh as before.
func NewDual(locks manager.Locker, redis *redislock.Client) *Client {
	return &Client{locks: locks, redis: redis}
}

// Obtain is a short-cut for New(...).Obtain(...).
func Obtain(ctx context.Context, locks manager.Locker, key string, ttl time.Duration, opt *Options) (*Lock, error) {
	return New(locks).Obtain(ctx, key, ttl, opt)
}

// Obtain tries to obtain the lock of a key, again as often as the retry strategy says; in between it waits for the lock, so that it
// is granted as soon as it is free. It returns ErrNotObtained itself when the strategy ends. As in redislock the wait ends with ctx,
// and after ttl where ctx has no deadline. The hold does not end with either.
func (c *Client) Obtain(ctx context.Context, key string, ttl time.Duration, opt *Options) (*Lock, error) {
	if opt == nil {
		opt = &Options{}
	}
	given := *opt
	if given.Token == "" {
		given.Token = rand.Text()
	}
	if given.RetryStrategy == nil {
		given.RetryStrategy = NoRetry()
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ttl)
		defer cancel()
	}
	lock, err := c.acquire(ctx, key, given.RetryStrategy)
	if err != nil {
		return nil, err
	}
	begun := time.Now() // the wait is no part of the ttl
	l := &Lock{lock: lock, options: given}
	if c.redis != nil {
		l.redis, err = c.redis.Obtain(ctx, key, ttl, &given)
		if err != nil {
			if released := lock.Release(context.WithoutCancel(ctx)); released != nil {
				return nil, errors.Join(err, released)
			}
			return nil, err // itself, since callers compare with ==
		}
	}
	l.extend(begun, ttl)
	return l, nil
}

func (c *Client) acquire(ctx context.Context, key string, retry RetryStrategy) (*manager.Lock, error) {
	lock, err := c.locks.TryAcquire(ctx, key, manager.WithDetachedHold())
	for errors.Is(err, manager.ErrNotAcquired) || errors.Is(err, manager.ErrWaitTimeout) {
		backoff := retry.NextBackoff()
		if backoff < 1 {
			return nil, ErrNotObtained
		}
		lock, err = c.locks.Acquire(ctx, key, manager.WithDetachedHold(), manager.WithWaitTimeout(backoff))
	}
	return lock, err
}
