// Package gocronlock has gocron run a job in one of all replicas: it is a gocron Locker, or shows how to use leader election as
// a gocron Elector.
//
// A Locker suits jobs that are spread over the replicas, one run here and the next there. An Elector suits replicas of which one
// runs everything: [manager.Leader] is one as it is, see the example.
package gocronlock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Option changes a Locker.
type Option func(*locker)

// OnLost has f called when the lock of a running job is lost: another replica may run the job now. gocron has no way to tell
// the job. f runs on a goroutine of its own, with the job's name and an error that errors.Is finds to be [manager.ErrLost].
func OnLost(f func(job string, err error)) Option {
	return func(l *locker) { l.onLost = f }
}

type locker struct {
	locks   manager.Locker
	minHold time.Duration
	onLost  func(job string, err error)
}

// NewLocker makes a Locker for gocron.WithDistributedLocker and gocron.WithDistributedJobLocker. The key of a job's lock is the
// job's name, so jobs need names (gocron.WithName) that all replicas agree on.
//
// Lock tries and never waits: where another replica runs the job the error is [manager.ErrNotAcquired], and gocron skips this
// run. The lock stays at the server until minHold after the start of the job, although the job has returned: so a replica whose
// clock is late finds it held, and does not run a short job again. minHold must exceed the difference of the replicas' clocks,
// and be shorter than the interval between two runs. It ends with the manager that took the lock.
//
// The lock is held until the job has returned, even if its context ends before: by RemoveJob, or when the scheduler shuts down.
func NewLocker(locks manager.Locker, minHold time.Duration, opts ...Option) gocron.Locker {
	l := &locker{locks: locks, minHold: minHold}
	for _, o := range opts {
		o(l)
	}
	return l
}

// Lock tries to take the lock of a job. It blocks for a round trip. ctx bounds the attempt, not the hold.
func (l *locker) Lock(ctx context.Context, key string) (gocron.Lock, error) {
	opts := []manager.AcquireOption{manager.WithDetachedHold()}
	if l.minHold > 0 {
		opts = append(opts, manager.WithMinHold(l.minHold))
	}
	lock, err := l.locks.TryAcquire(ctx, key, opts...)
	if err != nil {
		return nil, fmt.Errorf("job %q: %w", key, err)
	}
	if l.onLost != nil {
		context.AfterFunc(lock.Context(), func() {
			if err := context.Cause(lock.Context()); errors.Is(err, manager.ErrLost) {
				l.onLost(key, err)
			}
		})
	}
	return held{lock}, nil
}

type held struct{ lock *manager.Lock }

// Unlock releases the lock. gocron calls it with the context of the job, which may have ended: that does not bound it.
func (h held) Unlock(ctx context.Context) error {
	return h.lock.Release(context.WithoutCancel(ctx))
}
