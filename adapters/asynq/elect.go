// Package asynqlock runs asynq's Scheduler or PeriodicTaskManager in one of all replicas: in the leader.
package asynqlock

import (
	"context"
	"fmt"

	"github.com/hibiken/asynq"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Scheduler is what the leader runs: an *asynq.Scheduler or an *asynq.PeriodicTaskManager.
type Scheduler interface {
	Start() error
	Shutdown()
}

var (
	_ Scheduler = (*asynq.Scheduler)(nil)
	_ Scheduler = (*asynq.PeriodicTaskManager)(nil)
)

// Elect campaigns for the leadership of a key by [manager.Manager.Elect], and runs a scheduler while this process leads. It calls
// create for each term, since a scheduler that was shut down cannot be started again.
//
// At the end of a term it shuts the scheduler down; the leadership passes on when that has returned. Only where the database
// session ends while the scheduler shuts down, or the server ends it, may two enqueue for a moment: give each task an asynq.TaskID
// or asynq.Unique where one too many does harm.
//
// It returns when ctx has ended or the manager is closed, and when a scheduler cannot be created or started. It blocks until
// then, and handles no signals: end ctx by signal.NotifyContext.
func Elect[S Scheduler](ctx context.Context, m *manager.Manager, key string, create func() (S, error), opts ...manager.AcquireOption) error {
	return m.Elect(ctx, key, func(term context.Context) error {
		s, err := create()
		if err != nil {
			return fmt.Errorf("create the scheduler: %w", err)
		}
		if err := s.Start(); err != nil {
			return fmt.Errorf("start the scheduler: %w", err)
		}
		<-term.Done()
		s.Shutdown()
		return context.Cause(term)
	}, opts...)
}
