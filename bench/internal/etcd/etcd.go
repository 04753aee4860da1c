//go:build !race

// Package etcd has locks in etcd, by its own package concurrency, and an etcd of one member inside this binary. Only the main
// package imports it: it is large.
package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

const (
	dialTimeout    = 10 * time.Second
	sessionSeconds = 60 // the package's own default
)

// Open opens a client with one session, as the package's documentation says ("a lease kept alive for the lifetime of a client").
// Mutexes of the package exclude sessions, and a session does not exclude itself. So callers of one key in this process pass a
// local gate first, and one of them at a time asks etcd.
func Open(ctx context.Context, e harness.Env) (harness.Client, error) {
	if e.EtcdAddr == "" {
		return harness.Client{}, errors.New("there is no etcd")
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{e.EtcdAddr}, DialTimeout: dialTimeout, Logger: zap.NewNop()})
	if err != nil {
		return harness.Client{}, err
	}
	lease, err := c.Grant(ctx, sessionSeconds) // which also says whether anybody is there
	if err != nil {
		return harness.Client{}, errors.Join(err, c.Close())
	}
	session, err := concurrency.NewSession(c, concurrency.WithLease(lease.ID), concurrency.WithTTL(sessionSeconds))
	if err != nil {
		return harness.Client{}, errors.Join(err, c.Close())
	}
	g := &gates{of: make(map[string]*gate)}
	return harness.Client{
		Lock: func(ctx context.Context, key string) (harness.Held, error) {
			leave, err := g.enter(ctx, key)
			if err != nil {
				return nil, err
			}
			m := concurrency.NewMutex(session, key)
			if err := m.Lock(ctx); err != nil {
				leave()
				return nil, err
			}
			return harness.Release(func(ctx context.Context) error {
				defer leave()
				return m.Unlock(ctx)
			}), nil
		},
		Close: func() error { return errors.Join(session.Close(), c.Close()) },
	}, nil
}

// gates let one local caller of each key through at a time.
type gates struct {
	mu sync.Mutex // guards of and the users of each gate
	of map[string]*gate
}

type gate struct {
	open  chan struct{} // capacity 1: a token while somebody is through
	users int
}

func (gs *gates) enter(ctx context.Context, key string) (leave func(), err error) {
	gs.mu.Lock()
	g := gs.of[key]
	if g == nil {
		g = &gate{open: make(chan struct{}, 1)}
		gs.of[key] = g
	}
	g.users++
	gs.mu.Unlock()
	forget := func() {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(gs.of, key)
		}
	}
	select {
	case g.open <- struct{}{}:
		return func() {
			<-g.open
			forget()
		}, nil
	case <-ctx.Done():
		forget()
		return nil, context.Cause(ctx)
	}
}
