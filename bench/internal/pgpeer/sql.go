package pgpeer

import (
	"context"
	"database/sql"
	"errors"

	pglock "github.com/allisson/go-pglock/v3"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver of all peers on database/sql
	"github.com/pressly/goose/v3/lock"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

func openSQL(ctx context.Context, e peer.Env) (*sql.DB, error) {
	db, err := sql.Open("pgx", e.PostgresDSN)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	// As many connections as the load will use are opened before it begins: it is not about connecting.
	err = together(min(poolSize, e.Goroutines), func() (func(), error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return func() { _ = conn.Close() }, nil // which gives it back
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// GoPglock is github.com/allisson/go-pglock: a connection out of database/sql's pool for each lock.
type GoPglock struct{}

// Name is the system's in reports.
func (GoPglock) Name() string { return "go-pglock" }

// Open opens the pool.
func (GoPglock) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	db, err := openSQL(ctx, e)
	if err != nil {
		return nil, err
	}
	return &goPglock{db}, nil
}

type goPglock struct{ db *sql.DB }

func (c *goPglock) Lock(ctx context.Context, key string) (peer.Held, error) {
	l, err := pglock.NewLock(ctx, lockID(key), c.db)
	if err != nil {
		return nil, err
	}
	if err := l.WaitAndLock(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &goPglockHeld{l}, nil
}

func (c *goPglock) Close() error { return c.db.Close() }

type goPglockHeld struct{ lock pglock.Lock }

func (h *goPglockHeld) Release(ctx context.Context) error {
	return errors.Join(h.lock.Unlock(ctx), h.lock.Close())
}

// Goose is the session locker of github.com/pressly/goose, which tries once a second at most: that is the shortest pause
// that it can be set to.
type Goose struct{}

// Name is the system's in reports.
func (Goose) Name() string { return "goose" }

// Open opens the pool.
func (Goose) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	db, err := openSQL(ctx, e)
	if err != nil {
		return nil, err
	}
	return &goose{db}, nil
}

type goose struct{ db *sql.DB }

// Lock makes a locker of its own each time: one counts its attempts over all uses, and gives up for good.
func (c *goose) Lock(ctx context.Context, key string) (peer.Held, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockID(key)), lock.WithLockTimeout(1, 600))
	if err != nil {
		return nil, err
	}
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if err := locker.SessionLock(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &gooseHeld{locker, conn}, nil
}

func (c *goose) Close() error { return c.db.Close() }

type gooseHeld struct {
	locker lock.SessionLocker
	conn   *sql.Conn
}

func (h *gooseHeld) Release(ctx context.Context) error {
	return errors.Join(h.locker.SessionUnlock(ctx, h.conn), h.conn.Close())
}
