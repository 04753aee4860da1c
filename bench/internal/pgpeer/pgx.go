package pgpeer

import (
	"context"
	"errors"
	"hash/fnv"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// Pgx is what one writes by hand: a pool, and a connection of it for each lock that is held or waited for.
type Pgx struct{}

// Name is the system's in reports.
func (Pgx) Name() string { return "pgx" }

// Open opens the pool.
func (Pgx) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	config, err := pgxpool.ParseConfig(e.PostgresDSN)
	if err != nil {
		return nil, err
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	// As many connections as the load will use are opened before it begins: it is not about connecting.
	err = together(min(poolSize, e.Goroutines), func() (func(), error) {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return conn.Release, nil
	})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &pgxClient{pool}, nil
}

type pgxClient struct{ pool *pgxpool.Pool }

func (c *pgxClient) Lock(ctx context.Context, key string) (peer.Held, error) {
	return pgxLock(ctx, c.pool, lockID(key))
}

func (c *pgxClient) Prepare(key string) peer.Locker { return &pgxKey{c.pool, lockID(key)} }

func (c *pgxClient) Close() error {
	c.pool.Close()
	return nil
}

type pgxKey struct {
	pool *pgxpool.Pool
	id   int64
}

func (k *pgxKey) Lock(ctx context.Context) (peer.Held, error) { return pgxLock(ctx, k.pool, k.id) }

func pgxLock(ctx context.Context, pool *pgxpool.Pool, id int64) (peer.Held, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", id); err != nil {
		conn.Release()
		return nil, err
	}
	return &pgxHeld{conn, id}, nil
}

type pgxHeld struct {
	conn *pgxpool.Conn
	id   int64
}

func (h *pgxHeld) Release(ctx context.Context) error {
	defer h.conn.Release()
	var unlocked bool
	if err := h.conn.QueryRow(ctx, "SELECT pg_advisory_unlock($1)", h.id).Scan(&unlocked); err != nil {
		return err
	}
	if !unlocked {
		return errNotHeld
	}
	return nil
}

var errNotHeld = errors.New("the lock that was to be released is not held")

// lockID is the number of a key, by the hash that Go programs have at hand.
func lockID(key string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // it never fails
	return int64(h.Sum64())
}
