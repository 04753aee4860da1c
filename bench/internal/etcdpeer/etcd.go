//go:build !race

package etcdpeer

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

const dialTimeout = 10 * time.Second

// Open implements [peer.System].
func (Etcd) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	if e.EtcdAddr == "" {
		return nil, errors.New("there is no etcd")
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{e.EtcdAddr}, DialTimeout: dialTimeout, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	grant, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	lease, err := c.Grant(grant, sessionSeconds) // which also says whether anybody is there
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	session, err := concurrency.NewSession(c, concurrency.WithLease(lease.ID), concurrency.WithTTL(sessionSeconds))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &client{etcd: c, session: session, gates: make(map[string]*gate)}, nil
}

const sessionSeconds = 60 // the package's own default

type client struct {
	etcd    *clientv3.Client
	session *concurrency.Session
	mu      sync.Mutex // guards gates and their users
	gates   map[string]*gate
}

// gate lets one local caller of a key through at a time.
type gate struct {
	open  chan struct{} // capacity 1: a token while somebody is through
	users int
}

func (c *client) enter(ctx context.Context, key string) (*gate, error) {
	c.mu.Lock()
	g := c.gates[key]
	if g == nil {
		g = &gate{open: make(chan struct{}, 1)}
		c.gates[key] = g
	}
	g.users++
	c.mu.Unlock()
	select {
	case g.open <- struct{}{}:
		return g, nil
	case <-ctx.Done():
		c.forget(key, g)
		return nil, context.Cause(ctx)
	}
}

func (c *client) leave(key string, g *gate) {
	<-g.open
	c.forget(key, g)
}

func (c *client) forget(key string, g *gate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.users--; g.users == 0 {
		delete(c.gates, key)
	}
}

func (c *client) Lock(ctx context.Context, key string) (peer.Held, error) {
	g, err := c.enter(ctx, key)
	if err != nil {
		return nil, err
	}
	m := concurrency.NewMutex(c.session, key)
	if err := m.Lock(ctx); err != nil {
		c.leave(key, g)
		return nil, err
	}
	return held{c, key, g, m}, nil
}

func (c *client) Close() error { return errors.Join(c.session.Close(), c.etcd.Close()) }

type held struct {
	c   *client
	key string
	g   *gate
	m   *concurrency.Mutex
}

func (h held) Release(ctx context.Context) error {
	defer h.c.leave(h.key, h.g)
	return h.m.Unlock(ctx)
}
