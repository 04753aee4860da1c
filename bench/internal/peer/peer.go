// Package peer says what a lock system has to offer to be measured.
package peer

import "context"

// System is one way to have locks. Its name is what reports show.
type System interface {
	Name() string
	// Open connects one process's client. Each measurement opens and closes its own.
	Open(ctx context.Context, e Env) (Client, error)
}

// Env is what a system finds. The addresses may lead through the proxy that adds latency.
type Env struct {
	PostgresDSN string
	RedisAddr   string
	EtcdAddr    string
	// Goroutines that will lock at the same time, and the most keys held at once: a system may size its pools by them.
	Goroutines int
}

// Client takes locks. It is used by many goroutines at once.
type Client interface {
	// Lock waits until the key's lock is held.
	Lock(ctx context.Context, key string) (Held, error)
	// Close leaves nothing behind.
	Close() error
}

// Held is a lock that is held.
type Held interface {
	Release(ctx context.Context) error
}

// Preparer is a client that can do a part of the work for a fixed key once.
type Preparer interface {
	Prepare(key string) Locker
}

// Locker takes the lock of one key. Many goroutines may use it at once.
type Locker interface {
	Lock(ctx context.Context) (Held, error)
}
