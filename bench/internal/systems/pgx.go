package systems

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

var errNotHeld = errors.New("the lock that was to be released is not held")

// openPgx opens what one writes by hand: a pool, and a connection of it for each lock that is held or waited for.
func openPgx(ctx context.Context, e harness.Env) (harness.Client, error) {
	config, err := pgxpool.ParseConfig(e.PostgresDSN)
	if err != nil {
		return harness.Client{}, err
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return harness.Client{}, err
	}
	err = connect(e, func() (func(), error) {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return conn.Release, nil
	})
	if err != nil {
		pool.Close()
		return harness.Client{}, err
	}
	lock := func(ctx context.Context, id int64) (harness.Held, error) {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", id); err != nil {
			conn.Release()
			return nil, err
		}
		return harness.Release(func(ctx context.Context) error {
			defer conn.Release()
			var unlocked bool
			err := conn.QueryRow(ctx, "SELECT pg_advisory_unlock($1)", id).Scan(&unlocked)
			if err == nil && !unlocked {
				err = errNotHeld
			}
			return err
		}), nil
	}
	return harness.Client{
		Lock: func(ctx context.Context, key string) (harness.Held, error) { return lock(ctx, lockID(key)) },
		Prepare: func(key string) harness.Locker {
			id := lockID(key)
			return func(ctx context.Context) (harness.Held, error) { return lock(ctx, id) }
		},
		Close: func() error {
			pool.Close()
			return nil
		},
	}, nil
}
