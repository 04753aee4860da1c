// Package migratelock has golang-migrate apply migrations in one process at a time: it wraps a database driver of golang-migrate
// and locks by Lockkeeper.
//
// A program that calls golang-migrate itself needs no wrapper: manager.Do around Migrate.Up is simpler, and its context ends when
// the lock is lost. The wrapper is for code that takes a driver.
package migratelock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-migrate/migrate/v4/database"

	"github.com/lockkeeper/lockkeeper/manager"
)

// DefaultWait is how long Lock waits unless [manager.WithWaitTimeout] says otherwise: less than migrate.DefaultLockTimeout, 15 s.
const DefaultWait = 10 * time.Second

// Driver is a database driver that locks by Lockkeeper. All but Lock, Unlock and a check is that of the driver it wraps.
type Driver struct {
	database.Driver

	ctx   context.Context //nolint:containedctx // the methods of a driver have none
	locks manager.Locker
	key   string
	opts  []manager.AcquireOption
	held  atomic.Pointer[manager.Lock] // from Lock to Unlock; Migrate may abandon a Lock, and call the next at the same time

	// waits bounds the waits of Lock: it ends with ctx, and by Close.
	waits    context.Context //nolint:containedctx // as above
	endWaits context.CancelCauseFunc
}

// errClosed is why a Lock fails that Migrate has abandoned and whose driver was closed since.
var errClosed = errors.New("the driver was closed")

var _ database.Driver = (*Driver)(nil)

// New wraps a driver, for migrate.NewWithInstance and migrate.NewWithDatabaseInstance. The key is that of all processes which
// migrate the database. The methods of a driver have no context: the wait of Lock ends with ctx. The hold does not, since a
// migration that runs does not either.
//
// The driver's own lock is not taken for migrations, so that a process which uses the driver without the wrapper is not excluded.
func New(ctx context.Context, d database.Driver, locks manager.Locker, key string, opts ...manager.AcquireOption) *Driver {
	all := append([]manager.AcquireOption{manager.WithWaitTimeout(DefaultWait)}, opts...)
	waits, endWaits := context.WithCancelCause(ctx)
	return &Driver{Driver: d, ctx: ctx, locks: locks, key: key, opts: append(all, manager.WithDetachedHold()), waits: waits, endWaits: endWaits}
}

// Open opens the wrapped driver by a URL, and wraps what it opens.
func (d *Driver) Open(url string) (database.Driver, error) {
	opened, err := d.Driver.Open(url)
	if err != nil {
		return nil, err
	}
	return New(d.ctx, opened, d.locks, d.key, d.opts...), nil
}

// Lock takes the lock, waiting for its holder. Migrate.LockTimeout, by default 15 s, must be longer than this wait: Migrate
// abandons a Lock that takes longer, and what that acquires in the end stays locked until Close.
//
// The error is both [database.ErrLocked] and the manager's, which names the holder. Where this driver holds the lock already,
// it is [database.ErrLocked] alone.
func (d *Driver) Lock() error {
	if held := d.held.Load(); held != nil && held.Err() == nil {
		return database.ErrLocked
	}
	lock, err := d.locks.Acquire(d.waits, d.key, d.opts...)
	if err != nil {
		return fmt.Errorf("%w: %w", database.ErrLocked, err)
	}
	// What stood there was lost, else the lock would not have been granted.
	d.held.Store(lock)
	if errors.Is(context.Cause(d.waits), errClosed) { // Close may have looked before it stood there
		return errors.Join(database.ErrLocked, errClosed, d.Unlock())
	}
	return nil
}

// Unlock releases the lock. It returns [manager.ErrLost] where it was lost: another process may have migrated at the same time.
// Migrate takes the database for locked from then on, and a new one is needed.
func (d *Driver) Unlock() error {
	lock := d.held.Swap(nil) //arch:publishes an abandoned Lock may store one at any time
	if lock == nil {
		return database.ErrNotLocked
	}
	if err := lock.Release(context.WithoutCancel(d.ctx)); err != nil {
		return fmt.Errorf("unlock migrations: %w", err)
	}
	return nil
}

// SetVersion refuses to begin a migration after the lock was lost. The version of one that was run is stored all the same: so
// that a loss leaves no version dirty.
func (d *Driver) SetVersion(version int, dirty bool) error {
	if dirty {
		if err := d.lost(); err != nil {
			return fmt.Errorf("migration %d was not begun: %w", version, err)
		}
	}
	return d.Driver.SetVersion(version, dirty)
}

// Drop refuses to drop anything after the lock was lost.
func (d *Driver) Drop() error {
	if err := d.lost(); err != nil {
		return fmt.Errorf("nothing was dropped: %w", err)
	}
	return d.Driver.Drop()
}

// Close closes the wrapped driver and releases the lock, if it is held still. A Lock that waits returns.
func (d *Driver) Close() error {
	d.endWaits(errClosed)
	err := d.Driver.Close()
	if unlocked := d.Unlock(); !errors.Is(unlocked, database.ErrNotLocked) {
		err = errors.Join(err, unlocked)
	}
	return err
}

// lost says how the hold has ended; nil while it has not, and where there is none.
func (d *Driver) lost() error {
	if lock := d.held.Load(); lock != nil {
		return lock.Err()
	}
	return nil
}
