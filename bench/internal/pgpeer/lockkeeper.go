package pgpeer

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Lockkeeper is this project's library, with the defaults but for what a load of more goroutines than the defaults allow
// needs.
//
// This file is the only one of the harness that imports the library. With --baseline it is compiled a second time, against
// the library of another commit, so it keeps to the part of the API that has not changed. Methods that have had other names
// are found by their interface.
type Lockkeeper struct{}

// Name is the system's in reports.
func (Lockkeeper) Name() string { return "lockkeeper" }

// Open opens a manager as the README shows it.
func (Lockkeeper) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	var options []manager.Option
	if e.Goroutines > defaultMaxWaiters {
		options = append(options, manager.WithMaxWaiters(e.Goroutines))
	}
	return openLockkeeper(ctx, e, options...)
}

// OpenOne opens a manager with one shared session.
func (Lockkeeper) OpenOne(ctx context.Context, e peer.Env, application string) (peer.Client, error) {
	return openLockkeeper(ctx, e, manager.WithSharedSessions(1), manager.WithApplicationName(application))
}

func openLockkeeper(ctx context.Context, e peer.Env, options ...manager.Option) (peer.Client, error) {
	m, err := manager.Open(ctx, e.PostgresDSN, options...)
	if err != nil {
		return nil, err
	}
	return &lockkeeper{m}, nil
}

// Loss watches a lock by what it has of Context, Done and Lost.
func (Lockkeeper) Loss(h peer.Held) (lost <-chan struct{}, err func() error) {
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

// defaultMaxWaiters is that of manager.WithMaxWaiters: so many callers of one process may wait for one key.
const defaultMaxWaiters = 10_000

type lockkeeper struct{ m *manager.Manager }

func (l *lockkeeper) Lock(ctx context.Context, key string) (peer.Held, error) {
	return held(l.m.Acquire(ctx, key))
}

func (l *lockkeeper) Prepare(key string) peer.Locker { return lockkeeperKey{l.m.Key(key)} }

func (l *lockkeeper) Close() error { return l.m.Close(context.Background()) }

type lockkeeperKey struct{ k manager.Key }

func (k lockkeeperKey) Lock(ctx context.Context) (peer.Held, error) { return held(k.k.Acquire(ctx)) }

// held keeps a nil lock from becoming a Held that is not nil.
func held(lock *manager.Lock, err error) (peer.Held, error) {
	if err != nil {
		return nil, err
	}
	return lock, nil
}
