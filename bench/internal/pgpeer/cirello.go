package pgpeer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cirello.io/pglock"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
)

// CirelloPglock is cirello.io/pglock: a row for each lock, held by heartbeats. The lease and the heartbeat are those of
// its README.
type CirelloPglock struct{}

const (
	cirelloLease     = 3 * time.Second
	cirelloHeartbeat = time.Second
	cirelloTable     = "bench_cirello"
)

// Name is the system's in reports.
func (CirelloPglock) Name() string { return "cirello-pglock" }

// Open makes a new table, so that rows which a killed process left are not waited for.
func (CirelloPglock) Open(ctx context.Context, e peer.Env) (peer.Client, error) {
	db, err := openSQL(ctx, e)
	if err != nil {
		return nil, err
	}
	client, err := openCirello(ctx, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return client, nil
}

func openCirello(ctx context.Context, db *sql.DB) (*cirello, error) {
	if _, err := db.ExecContext(ctx, "DROP TABLE IF EXISTS "+cirelloTable); err != nil {
		return nil, fmt.Errorf("dropping the table of an earlier run: %w", err)
	}
	// New insists on lib/pq's driver; the other way is for all other drivers.
	client, err := pglock.UnsafeNew(db, pglock.WithLeaseDuration(cirelloLease),
		pglock.WithHeartbeatFrequency(cirelloHeartbeat), pglock.WithCustomTable(cirelloTable))
	if err != nil {
		return nil, err
	}
	if err := client.CreateTable(); err != nil {
		return nil, err
	}
	return &cirello{db, client}, nil
}

type cirello struct {
	db     *sql.DB
	client *pglock.Client
}

func (c *cirello) Lock(ctx context.Context, key string) (peer.Held, error) {
	l, err := c.client.AcquireContext(ctx, key)
	if err != nil {
		return nil, err
	}
	return &cirelloHeld{c.client, l}, nil
}

func (c *cirello) Close() error { return c.db.Close() }

type cirelloHeld struct {
	client *pglock.Client
	lock   *pglock.Lock
}

func (h *cirelloHeld) Release(ctx context.Context) error { return h.client.ReleaseContext(ctx, h.lock) }
