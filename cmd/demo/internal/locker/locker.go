// Package locker is the little that the demo asks of a lock manager, so that the load can also be run without one: a
// proof that cannot fail proves nothing.
package locker

import "context"

// Locker takes locks by name.
type Locker interface {
	// Acquire waits for the lock. ctx bounds the wait and the hold.
	Acquire(ctx context.Context, name string) (Lock, error)
	Stats() Stats
	Close(ctx context.Context) error
}

// Lock is a lock that is held.
type Lock interface {
	Done() <-chan struct{}
	Err() error
	Release(ctx context.Context) error
}

// Stats is what the progress display shows of a Locker.
type Stats struct {
	Waiting      int
	Held         int
	Sessions     int
	GrantsLocal  uint64
	GrantsServer uint64
}
