package redislock

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Lock is a lock that was obtained. Its methods may be called from any goroutine.
type Lock struct {
	lock    *manager.Lock
	redis   *redislock.Lock // nil unless both are held
	options Options
	until   atomic.Pointer[time.Time] // stored by Obtain and Refresh, loaded by TTL
}

func (l *Lock) extend(begun time.Time, ttl time.Duration) {
	until := begun.Add(ttl)
	l.until.Store(&until)
}

// Key is the name that was locked.
func (l *Lock) Key() string { return l.lock.Key() }

// Token is the token of the options, or a random one.
func (l *Lock) Token() string { return l.options.Token }

// Metadata is that of the options.
func (l *Lock) Metadata() string { return l.options.Metadata }

// Done is closed when the lock is released or lost. Redis has no such thing: a loss there shows by Refresh.
func (l *Lock) Done() <-chan struct{} { return l.lock.Done() }

// Context ends when the lock is released or lost, with the reason as its cause.
func (l *Lock) Context() context.Context { return l.lock.Context() }

// TTL is what is left of the ttl that Obtain or Refresh was called with, and 0 when the lock was lost or released. The lock itself
// is held for longer: see the package's comment. Where Redis holds it too, it is what Redis says.
func (l *Lock) TTL(ctx context.Context) (time.Duration, error) {
	if held := l.lock.Err() == nil; !held {
		return 0, nil
	}
	if l.redis != nil {
		return l.redis.TTL(ctx)
	}
	return max(time.Until(*l.until.Load()), 0), nil
}

// Refresh says whether the lock is still held: nil or ErrNotObtained. Without Redis it asks nobody, and returns at once: it cannot
// fail because the time is over.
func (l *Lock) Refresh(ctx context.Context, ttl time.Duration, opt *Options) error {
	begun := time.Now()
	if l.lock.Err() != nil {
		return ErrNotObtained
	}
	if l.redis != nil {
		if err := l.redis.Refresh(ctx, ttl, opt); err != nil {
			return err
		}
	}
	l.extend(begun, ttl)
	return nil
}

// Release releases the lock, Lockkeeper's even if ctx has ended. It returns ErrLockNotHeld itself where the lock was lost or
// released before: of the two, where both are held, it releases what is still held.
func (l *Lock) Release(ctx context.Context) error {
	if l == nil {
		return ErrLockNotHeld
	}
	var fromRedis error
	if l.redis != nil {
		fromRedis = l.redis.Release(ctx)
	}
	before := l.lock.Err()
	err := l.lock.Release(ctx)
	if before != nil || errors.Is(err, manager.ErrLost) {
		err = ErrLockNotHeld
	}
	switch {
	case fromRedis == nil || fromRedis == err: //nolint:errorlint // the same sentinel, which callers compare with ==
		return err
	case err == nil:
		return fromRedis
	}
	return errors.Join(err, fromRedis)
}
