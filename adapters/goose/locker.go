// Package gooselock has goose apply migrations in one process at a time: it is a goose lock.Locker on Lockkeeper's locks.
//
// Goose's own session locker needs a connection that keeps its session, polls, and does not notice when the session ends.
// This one waits in turn, names the holder when it gives up, and reports a lock that was lost.
package gooselock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/pressly/goose/v3/lock"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Errors that errors.Is finds beside those of package manager.
var (
	// ErrNotLocked is returned by Unlock when this Locker holds no lock.
	ErrNotLocked = errors.New("gooselock: not locked")
	// ErrInUse is returned by Lock when this Locker has taken the lock already: each provider needs a Locker of its own.
	ErrInUse = errors.New("gooselock: the locker is in use already")
)

type locker struct {
	locks manager.Locker
	key   string
	opts  []manager.AcquireOption
	held  chan *manager.Lock // sent by Lock, received by Unlock; never closed; one, since a provider holds one lock at a time
}

// New makes a Locker for goose.WithLocker. Each provider needs one of its own, with a key that is that of all processes which
// migrate the database.
//
// Lock waits until the other processes have migrated, for as long as its context lasts: bound the wait by
// [manager.WithWaitTimeout]. The lock is held until Unlock, even if the context ends before. Unlock returns [manager.ErrLost] where
// the lock was lost, and so do the methods of the provider: goose does not stop then, and another process may have migrated too.
//
// It does not exclude processes that use a locker of goose's own.
func New(locks manager.Locker, key string, opts ...manager.AcquireOption) lock.Locker {
	return &locker{locks: locks, key: key, opts: append(slices.Clip(opts), manager.WithDetachedHold()),
		held: make(chan *manager.Lock, 1)}
}

// Lock takes the lock, waiting for its holder. The database is not used: the manager has connections of its own.
func (l *locker) Lock(ctx context.Context, _ *sql.DB) error {
	taken, err := l.locks.Acquire(ctx, l.key, l.opts...)
	if err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	select {
	case l.held <- taken:
		return nil
	default: // the lock of another provider was lost, else it would not have been granted
		return errors.Join(ErrInUse, taken.Release(context.WithoutCancel(ctx)))
	}
}

// Unlock releases the lock, even if ctx has ended.
func (l *locker) Unlock(ctx context.Context, _ *sql.DB) error {
	select {
	case held := <-l.held:
		if err := held.Release(context.WithoutCancel(ctx)); err != nil {
			return fmt.Errorf("unlock migrations: %w", err)
		}
		return nil
	default:
		return ErrNotLocked
	}
}
