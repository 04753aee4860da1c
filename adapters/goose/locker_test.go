package gooselock_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	gooselock "github.com/lockkeeper/lockkeeper/adapters/goose"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) { adaptertest.Main(m) }

const key = "migrations"

// Without a lock two providers that begin at once both create the table, and one fails.
var migrations = fstest.MapFS{"1_first.sql": {Data: []byte(`-- +goose Up
SELECT pg_sleep(0.2);
CREATE TABLE letters (id bigint);
INSERT INTO letters VALUES (1);
`)}}

// provide makes a provider with a connection pool of its own, as each process has.
func provide(t *testing.T, dsn string, opts ...goose.ProviderOption) *goose.Provider {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTwoProvidersMigrateOnce(t *testing.T) {
	dsn := adaptertest.Database(t)
	open := adaptertest.OpenerOf(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
		return manager.Open(ctx, dsn, opts...)
	})
	type outcome struct {
		applied int
		err     error
	}
	outcomes := make(chan outcome, 2)
	first := open()
	for _, m := range []*manager.Manager{first, open()} {
		p := provide(t, dsn, goose.WithLocker(gooselock.New(m, key)))
		go func() { // Joined by outcomes.
			applied, err := p.Up(context.WithoutCancel(t.Context()))
			outcomes <- outcome{len(applied), err}
		}()
	}
	applied := 0
	for range 2 {
		o := adaptertest.Receive(t, outcomes, "Up")
		if o.err != nil {
			t.Error(o.err)
		}
		applied += o.applied
	}
	if applied != 1 {
		t.Errorf("the migration was applied %d times", applied)
	}
	adaptertest.Free(t, first, key)
}

func TestAProviderThatWaitsTooLongNamesTheHolder(t *testing.T) {
	dsn := adaptertest.Database(t)
	m, err := manager.Open(t.Context(), dsn, manager.WithApplicationName("other"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.WithoutCancel(t.Context())) })
	other, err := m.Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	p := provide(t, dsn, goose.WithLocker(gooselock.New(m, key, manager.WithWaitTimeout(50*time.Millisecond))))
	_, err = p.Up(t.Context())
	if !errors.Is(err, manager.ErrWaitTimeout) {
		t.Errorf("Up: %v, should be ErrWaitTimeout", err)
	}
	if err := other.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := provide(t, dsn, goose.WithLocker(gooselock.New(m, key))).Up(t.Context()); err != nil {
		t.Errorf("Up, when the lock is free: %v", err)
	}
}

// memory opens a manager on a server in memory.
func memory(t *testing.T) (*locktest.Server, adaptertest.Opener) {
	t.Helper()
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	return server, adaptertest.OpenerOf(t, server.Open)
}

func TestTheLockOutlivesItsContextUntilUnlock(t *testing.T) {
	_, open := memory(t)
	other, l := open(), gooselock.New(open(), key)
	ctx, cancel := context.WithCancel(t.Context())
	if err := l.Lock(ctx, nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := other.TryAcquire(t.Context(), key); !errors.Is(err, manager.ErrNotAcquired) {
		t.Errorf("between Lock and Unlock another process gets: %v", err)
	}
	if err := l.Unlock(ctx, nil); err != nil {
		t.Errorf("Unlock: %v", err)
	}
	adaptertest.Free(t, other, key)
	if err := l.Unlock(ctx, nil); !errors.Is(err, gooselock.ErrNotLocked) {
		t.Errorf("a second Unlock: %v, should be ErrNotLocked", err)
	}
}

func TestUnlockTellsALossAndTheNextLockWorks(t *testing.T) {
	server, open := memory(t)
	m := open()
	l := gooselock.New(m, key)
	if err := l.Lock(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	server.Lose(m.Key(key))
	if err := l.Lock(t.Context(), nil); !errors.Is(err, gooselock.ErrInUse) { // granted, since the first hold is lost
		t.Errorf("Lock by a second provider: %v, should be ErrInUse", err)
	}
	if err := l.Unlock(t.Context(), nil); !errors.Is(err, manager.ErrLost) {
		t.Errorf("Unlock: %v, should be ErrLost", err)
	}
	if err := l.Lock(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(t.Context(), nil); err != nil {
		t.Error(err)
	}
	adaptertest.Free(t, open(), key)
}
