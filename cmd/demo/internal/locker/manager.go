package locker

// TEMPORARY stand-in until the manager package compiles: one pooled connection per lock.

import (
	"context"
	"hash/fnv"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say how the manager is opened.
type Options struct {
	DSN        string
	App        string
	Namespace  string
	Sessions   int
	MaxWaiters int
}

type standin struct {
	pool          *pgxpool.Pool
	ns            string
	waiting, held atomic.Int64
}

func Open(ctx context.Context, o Options) (Locker, error) {
	c, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, err
	}
	c.MaxConns = int32(o.Sessions)
	c.ConnConfig.RuntimeParams["application_name"] = o.App
	p, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	return &standin{pool: p, ns: o.Namespace}, p.Ping(ctx)
}

func (s *standin) Acquire(ctx context.Context, name string) (Lock, error) {
	h := fnv.New64a()
	h.Write([]byte(s.ns + "|" + name))
	id := int64(h.Sum64())
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `select pg_advisory_lock($1)`, id); err != nil {
		c := conn.Hijack()
		c.Close(context.Background())
		return nil, err
	}
	s.held.Add(1)
	l := &standLock{s: s, conn: conn, id: id}
	l.stop = context.AfterFunc(ctx, func() { l.Release(context.Background()) })
	return l, nil
}

func (s *standin) Stats() Stats {
	return Stats{Waiting: int(s.waiting.Load()), Held: int(s.held.Load()), Sessions: int(s.pool.Stat().TotalConns())}
}
func (s *standin) Close(context.Context) error { s.pool.Close(); return nil }

type standLock struct {
	s    *standin
	conn *pgxpool.Conn
	id   int64
	done atomic.Bool
	stop func() bool
}

func (l *standLock) Lost() <-chan struct{} { return nil }
func (l *standLock) Err() error            { return nil }
func (l *standLock) Release(ctx context.Context) error {
	if !l.done.CompareAndSwap(false, true) {
		return nil
	}
	l.stop()
	l.s.held.Add(-1)
	defer l.conn.Release()
	_, err := l.conn.Exec(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, l.id)
	return err
}
