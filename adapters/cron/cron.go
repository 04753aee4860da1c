// Package cronlock has robfig/cron run a job in one of all replicas: its functions make job wrappers for cron.NewChain.
//
// A job of robfig/cron has no context. One that is to stop when its lock is lost is a [Func].
package cronlock

import (
	"context"
	"errors"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Func is a job with a context, which ends when the lock is lost, with the wrapper's context, and when the manager is closed. The
// wrapper of this package must be the last of the chain, since others hide the context.
type Func func(ctx context.Context)

// Run runs the job without a lock: it is for cron to call where there is no wrapper.
func (f Func) Run() { f(context.Background()) } //nolint:forbidigo // robfig/cron has no context

// Once makes a wrapper that runs a job in one of all replicas per period, by [manager.Manager.Once]: the others skip it, and say so
// to the logger. The period must be the job's own: an hour for @hourly, since each period begins at a multiple of it in UTC.
//
// It waits for nobody. A run ends early for no reason but its own where the job is no [Func]. ctx bounds the attempts; when it
// has ended, runs are skipped and logged as errors. So is a run whose lock was lost: the job may have run elsewhere too.
func Once(ctx context.Context, m *manager.Manager, key string, period time.Duration, log cron.Logger) cron.JobWrapper {
	return wrap(key, log, func(f func(context.Context) error) error { return m.Once(ctx, key, period, f) })
}

// Skip makes a wrapper that skips a run while another replica runs the job, or has begun it less than minHold ago: so that a replica
// whose clock is late does not run a short job again. It is for schedules without a fixed period. minHold must exceed the
// difference of the replicas' clocks, and be shorter than the time between two runs.
//
// What it does with ctx and losses is as with [Once]. Options such as [manager.WithDedicatedSession] are those of Do.
func Skip(ctx context.Context, locks manager.Locker, key string, minHold time.Duration, log cron.Logger,
	opts ...manager.AcquireOption,
) cron.JobWrapper {
	all := append([]manager.AcquireOption{manager.WithWaitTimeout(0)}, opts...)
	if minHold > 0 {
		all = append(all, manager.WithMinHold(minHold))
	}
	return wrap(key, log, func(f func(context.Context) error) error { return locks.Do(ctx, key, f, all...) })
}

// wrap makes a wrapper of a function that runs another one under a lock.
func wrap(key string, log cron.Logger, locked func(func(context.Context) error) error) cron.JobWrapper {
	return func(job cron.Job) cron.Job {
		return cron.FuncJob(func() {
			ran := false
			err := locked(func(ctx context.Context) error {
				ran = true
				if f, ok := job.(Func); ok {
					f(ctx)
				} else {
					job.Run()
				}
				return nil
			})
			switch {
			case err == nil:
			case ran && errors.Is(err, manager.ErrLost):
				log.Error(err, "the lock was lost while the job ran", "key", key)
			case ran:
				log.Error(err, "the job was run, but the release of its lock failed", "key", key)
			case errors.Is(err, manager.ErrNotAcquired), errors.Is(err, manager.ErrWaitTimeout):
				log.Info("skip: another replica has the lock", "key", key, "reason", err)
			default:
				log.Error(err, "the job was not run", "key", key)
			}
		})
	}
}
