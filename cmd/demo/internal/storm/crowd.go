package storm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/locker"
)

// crowd is the goroutines that wait for locks which they will not get.
type crowd struct {
	size     int
	cancel   context.CancelFunc // ends all contexts at once
	returned atomic.Int64
	granted  atomic.Int64 // a waiter got a lock that another holds
	wrong    atomic.Int64 // an error that is not the context's
	example  atomic.Pointer[error]
	all      chan struct{} // closed by the last waiter that returns
}

// gather starts the waiters, spread evenly over the names.
func gather(locks locker.Locker, waiters int, names []string, own bool) *crowd {
	parent, cancel := context.WithCancel(context.Background())
	c := &crowd{size: waiters, cancel: cancel, all: make(chan struct{})}
	for i := range waiters {
		go c.wait(parent, locks, names[i%len(names)], own)
	}
	return c
}

func (c *crowd) wait(ctx context.Context, locks locker.Locker, name string, own bool) {
	if own {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	lock, err := locks.Acquire(ctx, name)
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
func (c *crowd) queued(ctx context.Context, locks locker.Locker) error {
	for {
		waiting := locks.Stats().Waiting
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

// patience is how long the storm waits for calls that are late, so that it can tell by how much.
const patience = 60 * time.Second

// strike ends all contexts and returns how long it took until the last call had returned, and how many never did.
func (c *crowd) strike() (took time.Duration, missing int) {
	late := time.NewTimer(patience)
	defer late.Stop()
	began := time.Now()
	c.cancel()
	select {
	case <-c.all:
	case <-late.C:
	}
	return time.Since(began), c.size - int(c.returned.Load())
}
