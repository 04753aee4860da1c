package pgpeer

import (
	"context"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Lockkeeper is this project's library, with the defaults but for what a load of more goroutines than the defaults allow
// needs.
type Lockkeeper struct{}

// Name is the system's in reports.
func (Lockkeeper) Name() string { return "lockkeeper" }

// Open opens a manager as the README shows it.
func (Lockkeeper) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	var options []manager.Option
	if e.Goroutines > defaultMaxWaiters {
		options = append(options, manager.WithMaxWaiters(e.Goroutines))
	}
	m, err := manager.Open(ctx, e.PostgresDSN, options...)
	if err != nil {
		return nil, err
	}
	return &lockkeeper{m}, nil
}

// defaultMaxWaiters is that of manager.Config: so many callers of one process may wait for one key.
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
