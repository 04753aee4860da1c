package locker

import (
	"context"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Options say how a manager is opened.
type Options struct {
	DSN        string
	App        string // application_name
	Namespace  string
	Sessions   int // the most connections
	MaxWaiters int // the most callers that will wait for one key
}

// Open opens the manager under test, as a program that uses the library would.
func Open(ctx context.Context, o Options) (Locker, error) {
	// Of few sessions most should be left to keys that wait; of many, the library's own four are enough for the others.
	shared := min(max(1, o.Sessions/4), 4)
	m, err := manager.Open(ctx, o.DSN,
		manager.WithApplicationName(o.App),
		manager.WithNamespace(o.Namespace),
		manager.WithMaxSessions(o.Sessions),
		manager.WithSharedSessions(shared),
		manager.WithWaitingSessions(max(1, o.Sessions-shared)),
		manager.WithMaxWaiters(o.MaxWaiters),
	)
	if err != nil {
		return nil, err
	}
	return managed{m}, nil
}

type managed struct{ *manager.Manager }

func (m managed) Acquire(ctx context.Context, name string) (Lock, error) {
	lock, err := m.Manager.Acquire(ctx, name)
	if err != nil {
		return nil, err // and not a nil *manager.Lock in an interface that is not nil
	}
	return lock, nil
}

func (m managed) Stats() Stats {
	s := m.Manager.Stats()
	return Stats{
		Waiting: s.Waiting, Held: s.Held, Sessions: s.Sessions.Total(),
		GrantsLocal: s.GrantsLocal, GrantsServer: s.GrantsServer,
	}
}
