package systems

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/manager"
)

// With --baseline this file is compiled a second time, against the library of another commit, so it keeps to the part of the API
// that has not changed. Methods that have had other names are found by their interface. Only hints.go imports the library too.

// defaultMaxWaiters is that of manager.WithMaxWaiters: so many callers of one process may wait for one key.
const defaultMaxWaiters = 10_000

// openLockkeeper opens a manager as the README shows it, with the defaults unless the load has more goroutines than these allow.
func openLockkeeper(ctx context.Context, e harness.Env) (harness.Client, error) {
	var options []manager.Option
	if e.Goroutines > defaultMaxWaiters {
		options = append(options, manager.WithMaxWaiters(e.Goroutines))
	}
	return openManager(ctx, e, options...)
}

func openOneLockkeeper(ctx context.Context, e harness.Env, application string) (harness.Client, error) {
	return openManager(ctx, e, manager.WithSharedSessions(1), manager.WithApplicationName(application))
}

func openManager(ctx context.Context, e harness.Env, options ...manager.Option) (harness.Client, error) {
	m, err := manager.Open(ctx, e.PostgresDSN, options...)
	if err != nil {
		return harness.Client{}, err
	}
	return harness.Client{
		Lock: func(ctx context.Context, key string) (harness.Held, error) { return held(m.Acquire(ctx, key)) },
		Prepare: func(key string) harness.Locker {
			k := m.Key(key)
			return func(ctx context.Context) (harness.Held, error) { return held(k.Acquire(ctx)) }
		},
		Close: func() error { return m.Close(context.Background()) },
	}, nil
}

// held keeps a nil lock from becoming a Held that is not nil.
func held(lock *manager.Lock, err error) (harness.Held, error) {
	if err != nil {
		return nil, err
	}
	return lock, nil
}

// lockkeeperLoss watches a lock by what it has of Context, Done and Lost.
func lockkeeperLoss(h harness.Held) (lost <-chan struct{}, err func() error) {
	var cause func() error
	switch l := h.(type) {
	case interface{ Context() context.Context }:
		ctx := l.Context()
		lost, cause = ctx.Done(), func() error { return context.Cause(ctx) }
	case interface {
		Done() <-chan struct{}
		Err() error
	}:
		lost, cause = l.Done(), l.Err
	case interface {
		Lost() <-chan struct{}
		Err() error
	}:
		lost, cause = l.Lost(), l.Err
	default:
		closed := make(chan struct{})
		close(closed)
		return closed, func() error { return fmt.Errorf("a %T has no channel that tells of its loss", h) }
	}
	return lost, func() error {
		if told := cause(); !errors.Is(told, manager.ErrLost) {
			return fmt.Errorf("a handle heard of something else: %w", told)
		}
		return nil
	}
}
