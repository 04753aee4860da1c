package asynqlock_test

import (
	"context"

	"github.com/hibiken/asynq"

	asynqlock "github.com/lockkeeper/lockkeeper/adapters/asynq"
	"github.com/lockkeeper/lockkeeper/manager"
)

// One of all replicas enqueues the tasks of the schedule.
func ExampleElect() {
	_ = func(ctx context.Context, m *manager.Manager, redis asynq.RedisConnOpt) error {
		return asynqlock.Elect(ctx, m, "scheduler", func() (*asynq.Scheduler, error) {
			s := asynq.NewScheduler(redis, nil)
			_, err := s.Register("@hourly", asynq.NewTask("report", nil))
			return s, err
		})
	}
}
