package systems

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"cirello.io/pglock"
	allisson "github.com/allisson/go-pglock/v3"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of all systems on database/sql
	goose "github.com/pressly/goose/v3/lock"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// locker takes the lock of a key by a pool.
type locker func(ctx context.Context, key string) (harness.Held, error)

// openSQL opens a pool and the system that begin makes of it.
func openSQL(ctx context.Context, e harness.Env, begin func(db *sql.DB) (locker, error)) (harness.Client, error) {
	db, err := sql.Open("pgx", e.PostgresDSN)
	if err != nil {
		return harness.Client{}, err
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	err = connect(e, func() (func(), error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return func() { _ = conn.Close() }, nil // which gives it back
	})
	if err != nil {
		return harness.Client{}, errors.Join(err, db.Close())
	}
	lock, err := begin(db)
	if err != nil {
		return harness.Client{}, errors.Join(err, db.Close())
	}
	return harness.Client{Lock: lock, Close: db.Close}, nil
}

// openGoPglock opens github.com/allisson/go-pglock: a connection out of database/sql's pool for each lock.
func openGoPglock(ctx context.Context, e harness.Env) (harness.Client, error) {
	return openSQL(ctx, e, func(db *sql.DB) (locker, error) {
		return func(ctx context.Context, key string) (harness.Held, error) {
			l, err := allisson.NewLock(ctx, lockID(key), db)
			if err != nil {
				return nil, err
			}
			if err := l.WaitAndLock(ctx); err != nil {
				return nil, errors.Join(err, l.Close())
			}
			return harness.Release(func(ctx context.Context) error { return errors.Join(l.Unlock(ctx), l.Close()) }), nil
		}, nil
	})
}

// openGoose opens the session locker of github.com/pressly/goose. It tries once a second at most: that is the shortest pause
// that it can be set to.
func openGoose(ctx context.Context, e harness.Env) (harness.Client, error) {
	return openSQL(ctx, e, func(db *sql.DB) (locker, error) {
		return func(ctx context.Context, key string) (harness.Held, error) {
			// A locker counts its attempts over all uses, and gives up for good: each use has its own.
			l, err := goose.NewPostgresSessionLocker(goose.WithLockID(lockID(key)), goose.WithLockTimeout(1, 600))
			if err != nil {
				return nil, err
			}
			conn, err := db.Conn(ctx)
			if err != nil {
				return nil, err
			}
			if err := l.SessionLock(ctx, conn); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return harness.Release(func(ctx context.Context) error {
				return errors.Join(l.SessionUnlock(ctx, conn), conn.Close())
			}), nil
		}, nil
	})
}

// The lease and the heartbeat of cirello.io/pglock are those of its README.
const (
	cirelloLease     = 3 * time.Second
	cirelloHeartbeat = time.Second
	cirelloTable     = "bench_cirello"
)

// openCirello opens cirello.io/pglock: a row for each lock, held by heartbeats. It makes a new table, so that rows which a
// killed process left are not waited for.
func openCirello(ctx context.Context, e harness.Env) (harness.Client, error) {
	return openSQL(ctx, e, func(db *sql.DB) (locker, error) {
		if _, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS "+cirelloTable); err != nil {
			return nil, err
		}
		// New insists on lib/pq's driver; UnsafeNew is for all other drivers.
		client, err := pglock.UnsafeNew(db, pglock.WithLeaseDuration(cirelloLease),
			pglock.WithHeartbeatFrequency(cirelloHeartbeat), pglock.WithCustomTable(cirelloTable))
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, key string) (harness.Held, error) {
			l, err := client.AcquireContext(ctx, key)
			if err != nil {
				return nil, err
			}
			return harness.Release(func(ctx context.Context) error { return client.ReleaseContext(ctx, l) }), nil
		}, client.CreateTable()
	})
}
