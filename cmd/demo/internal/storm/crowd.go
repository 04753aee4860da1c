package storm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// crowd is the goroutines that wait for locks which they will not get.
type crowd struct {
	size     int
	locks    *manager.Manager
	cancel   context.CancelFunc // ends all contexts at once
	returned atomic.Int64
	granted  atomic.Int64 // a waiter got a lock that another holds
	wrong    atomic.Int64 // an error that is not the context's
	example  atomic.Pointer[error]
	all      chan struct{} // closed by the last waiter that returns
}

// gather starts the waiters, spread evenly over the names.
func gather(locks *manager.Manager, plan Plan, names []string) *crowd {
	parent, cancel := context.WithCancel(context.Background())
	c := &crowd{size: plan.Waiters, locks: locks, cancel: cancel, all: make(chan struct{})}
	for i := range plan.Waiters {
		go c.wait(parent, names[i%len(names)], plan.Shared)
	}
	return c
}

func (c *crowd) wait(ctx context.Context, name string, shared bool) {
	if !shared {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	lock, err := c.locks.Acquire(ctx, name)
	switch {
	case err == nil:
		c.granted.Add(1)
		_ = lock.Release(context.WithoutCancel(ctx))
	case !errors.Is(err, context.Canceled):
		c.wrong.Add(1)
		c.example.CompareAndSwap(nil, &err)
	}
	if c.returned.Add(1) == int64(c.size) {
		close(c.all)
	}
}

// queued waits until every waiter is in the manager's queues. A waiter that has returned already never will be.
func (c *crowd) queued(ctx context.Context) error {
	for {
		waiting := c.locks.Stats().Waiting
		if waiting >= c.size {
			return nil
		}
		if n := c.returned.Load(); n > 0 {
			err := fmt.Errorf("%d waiters returned before the storm: %d were granted a lock that is held, %d got an error", n, c.granted.Load(), c.wrong.Load())
			if example := c.example.Load(); example != nil {
				err = fmt.Errorf("%w, for example: %w", err, *example)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d waiters had queued: %w", waiting, c.size, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// strike ends all contexts and returns how long it took until the last call had returned. It waits no longer than
// [MaxBound] for those that are late.
func (c *crowd) strike() (took time.Duration) {
	began := time.Now()
	c.cancel()
	select {
	case <-c.all:
	case <-time.After(MaxBound):
	}
	return time.Since(began)
}
