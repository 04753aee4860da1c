package manager

import "context"

// Locker is what most code needs of a [Manager]: declare it where a manager is used, and give tests one of package locktest. A Key has the
// same methods without the key.
type Locker interface {
	Acquire(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error)
	TryAcquire(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error)
	Do(ctx context.Context, key string, f func(ctx context.Context) error, opts ...AcquireOption) error
}

var _ Locker = (*Manager)(nil)
