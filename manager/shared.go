package manager

import (
	"context"

	"github.com/lockkeeper/lockkeeper/actor"
)

// AcquireShared takes the lock of a key in shared mode: any number of callers, here and elsewhere, share it, and Acquire of the same key,
// which is exclusive, waits for all of them. All who share it in this process are one lock at the server, so that another costs no round
// trip. Whoever waits for the exclusive lock, here or elsewhere, is not passed by those who come later to share it; one in another
// process may have to wait a tenth of a second longer until that is known here. ctx, options and errors are those of
// [Manager.Acquire], without [WithMinHold]. A shared hold does not become exclusive: Acquire of the key with the hold's context returns
// [ErrHeld], as AcquireShared does.
func (m *Manager) AcquireShared(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error) {
	return m.Key(key).AcquireShared(ctx, opts...)
}

// TryAcquireShared takes the lock in shared mode if nobody holds it exclusively and nobody waits to do so, and answers
// [ErrNotAcquired] if not. See [Manager.AcquireShared] and [Manager.TryAcquire].
func (m *Manager) TryAcquireShared(ctx context.Context, key string, opts ...AcquireOption) (*Lock, error) {
	return m.Key(key).TryAcquireShared(ctx, opts...)
}

// DoShared runs f while holding the lock in shared mode. See [Manager.AcquireShared] and [Manager.Do].
func (m *Manager) DoShared(ctx context.Context, key string, f func(ctx context.Context) error, opts ...AcquireOption) error {
	return m.Key(key).do(ctx, actor.Terms{Shared: true, Hold: actor.HoldForWork}, f, opts)
}

// AcquireShared takes the lock in shared mode. See [Manager.AcquireShared].
func (k Key) AcquireShared(ctx context.Context, opts ...AcquireOption) (*Lock, error) {
	return k.acquire(ctx, actor.Terms{Shared: true}, opts)
}

// TryAcquireShared takes the lock in shared mode if that needs no wait. See [Manager.TryAcquireShared].
func (k Key) TryAcquireShared(ctx context.Context, opts ...AcquireOption) (*Lock, error) {
	return k.acquire(ctx, actor.Terms{Shared: true, Try: true}, opts)
}

// Shared reports whether the hold shares the lock.
func (l *Lock) Shared() bool { return l.claim.Shared }
