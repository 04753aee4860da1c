package redsync

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/go-redsync/redsync/v4"

	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// mostWait bounds the sum of the delays of many tries.
	mostWait = 1000 * time.Hour
	// mostAsked is how many delays are asked for. Those of further tries are taken to be as long on average.
	mostAsked = 1000
)

// Mutex is a lock by name. As redsync's it is for one goroutine at a time. Methods without a context cannot be cancelled.
type Mutex struct {
	name   string
	expiry time.Duration
	tries  int
	delay  DelayFunc
	locks  manager.Locker
	redis  *redsync.Mutex // nil unless both are held

	lock  *manager.Lock // the latest hold, nil before the first
	value string
	until time.Time
}

// Name is the name of the mutex, which is the key.
func (m *Mutex) Name() string { return m.name }

// Value is a random value for each hold, empty before the first.
func (m *Mutex) Value() string { return m.value }

// Until is when the expiry would end that the last Lock or Extend began. The lock itself is held for longer: see the package's
// comment. Where Redis holds it too, it is what redsync says.
func (m *Mutex) Until() time.Time {
	if m.redis != nil {
		return m.redis.Until()
	}
	return m.until
}

// Done is closed when the lock is released or lost; it is nil before the first Lock. Redis has no such thing: a loss there shows by
// Extend.
func (m *Mutex) Done() <-chan struct{} {
	if m.lock == nil {
		return nil
	}
	return m.lock.Done()
}

// TryLock is TryLockContext without a context.
func (m *Mutex) TryLock() error { return m.TryLockContext(background()) }

// TryLockContext tries once, and does not wait. The error has an *ErrTaken in its tree where another holds the lock.
func (m *Mutex) TryLockContext(ctx context.Context) error {
	return m.acquire(ctx, 0, (*redsync.Mutex).TryLockContext)
}

// Lock is LockContext without a context.
func (m *Mutex) Lock() error { return m.LockContext(background()) }

// LockContext takes the lock, waiting for its holder: for as long as all delays between the tries would take. The wait ends with ctx,
// the hold does not. The error has an *ErrTaken in its tree where another holds the lock, and ErrFailed where ctx has ended.
func (m *Mutex) LockContext(ctx context.Context) error {
	return m.acquire(ctx, m.longestWait(), (*redsync.Mutex).LockContext)
}

// longestWait is the sum of all delays.
func (m *Mutex) longestWait() time.Duration {
	pauses := max(m.tries-1, 0)
	asked := min(pauses, mostAsked)
	var wait time.Duration
	for try := 1; try <= asked && wait < mostWait; try++ {
		wait += min(max(m.delay(try), 0), mostWait)
	}
	if pauses > asked {
		wait = time.Duration(min(float64(wait)/float64(asked)*float64(pauses), float64(mostWait)))
	}
	return min(wait, mostWait)
}

// acquire takes Lockkeeper's lock and then Redis's, or none.
func (m *Mutex) acquire(ctx context.Context, wait time.Duration, inRedis func(*redsync.Mutex, context.Context) error) error {
	lock, err := m.locks.Acquire(ctx, m.name, manager.WithDetachedHold(), manager.WithWaitTimeout(wait))
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return errors.Join(ErrFailed, err)
	case errors.Is(err, manager.ErrWaitTimeout), errors.Is(err, manager.ErrNotAcquired):
		return errors.Join(&ErrTaken{}, err)
	default:
		return err
	}
	granted := time.Now() // the wait is no part of the expiry
	if m.redis != nil {
		if err := inRedis(m.redis, ctx); err != nil {
			return errors.Join(err, lock.Release(context.WithoutCancel(ctx)))
		}
	}
	m.lock, m.value, m.until = lock, rand.Text(), granted.Add(m.expiry)
	return nil
}

// Unlock is UnlockContext without a context.
func (m *Mutex) Unlock() (bool, error) { return m.UnlockContext(background()) }

// UnlockContext releases the lock, Lockkeeper's even if ctx has ended, and says whether it was held until then. Where it was lost, or
// released before, the error has ErrLockAlreadyExpired in its tree. Of the two, where both are held, it releases what is still held.
func (m *Mutex) UnlockContext(ctx context.Context) (bool, error) {
	if m.lock == nil {
		return false, ErrLockAlreadyExpired
	}
	held, fromRedis := true, error(nil)
	if m.redis != nil {
		held, fromRedis = m.redis.UnlockContext(ctx)
	}
	before := m.lock.Err()
	err := m.lock.Release(ctx)
	if ended := errors.Join(before, err); errors.Is(ended, manager.ErrLost) || before != nil {
		err = errors.Join(ErrLockAlreadyExpired, ended)
	}
	err = errors.Join(err, fromRedis)
	return held && err == nil, err
}

// Extend is ExtendContext without a context.
func (m *Mutex) Extend() (bool, error) { return m.ExtendContext(background()) }

// ExtendContext says whether the lock is still held, and moves Until. The error has ErrExtendFailed in its tree where it is not.
// Without Redis it asks nobody, and returns at once: it cannot fail because the time is over.
func (m *Mutex) ExtendContext(ctx context.Context) (bool, error) {
	begun := time.Now()
	if err := m.ended(); err != nil {
		return false, errors.Join(ErrExtendFailed, err)
	}
	if m.redis != nil {
		if ok, err := m.redis.ExtendContext(ctx); !ok || err != nil {
			return ok, err
		}
	}
	m.until = begun.Add(m.expiry)
	return true, nil
}

// Valid is ValidContext without a context.
func (m *Mutex) Valid() (bool, error) { return m.ValidContext(background()) }

// ValidContext says whether the lock is still held.
func (m *Mutex) ValidContext(ctx context.Context) (bool, error) {
	if held := m.ended() == nil; !held {
		return false, nil
	}
	if m.redis != nil {
		return m.redis.ValidContext(ctx) //nolint:staticcheck // deprecated, and called by those who come from there
	}
	return true, nil
}

var errNotLocked = errors.New("not locked")

// ended is nil while the lock is held.
func (m *Mutex) ended() error {
	if m.lock == nil {
		return errNotLocked
	}
	return m.lock.Err()
}

func background() context.Context {
	return context.Background() //nolint:forbidigo // redsync's methods without a context have none
}
