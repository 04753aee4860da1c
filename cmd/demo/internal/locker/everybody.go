package locker

import (
	"context"
	"sync/atomic"
)

// Everybody grants each request at once, whoever else holds the same key. It is what `demo load --no-locks` runs, and
// shows that the demo's oracle does find a violation when there is one.
type Everybody struct {
	grants atomic.Uint64
	held   atomic.Int64
}

// Acquire refuses only a context that has ended.
func (e *Everybody) Acquire(ctx context.Context, _ string) (Lock, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.grants.Add(1)
	e.held.Add(1)
	return &freeForAll{of: e}, nil
}

// Stats counts the grants.
func (e *Everybody) Stats() Stats {
	return Stats{Held: int(e.held.Load()), GrantsLocal: e.grants.Load()}
}

// Close has nothing to close.
func (e *Everybody) Close(context.Context) error { return nil }

type freeForAll struct {
	of   *Everybody
	done atomic.Bool
}

func (l *freeForAll) Done() <-chan struct{} { return nil }
func (l *freeForAll) Err() error            { return nil }

func (l *freeForAll) Release(context.Context) error {
	if l.done.CompareAndSwap(false, true) {
		l.of.held.Add(-1)
	}
	return nil
}
