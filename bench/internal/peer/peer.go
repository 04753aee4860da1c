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

// Losing is a system whose locks tell their holders when the server has ended their session.
type Losing interface {
	// OpenOne connects a client that keeps all of its locks on one session, which has the application's name.
	OpenOne(ctx context.Context, e Env, application string) (Client, error)
	// Loss returns a channel that is closed when the lock is lost. After that, err returns nil where the holder was told of
	// a lost session, and what it was told otherwise.
	Loss(h Held) (lost <-chan struct{}, err func() error)
}
