package migratelock_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	pgxdriver "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/database/stub"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"go.uber.org/goleak"

	migratelock "github.com/lockkeeper/lockkeeper/adapters/migrate"
	"github.com/lockkeeper/lockkeeper/internal/adaptertest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Migrate leaves the goroutine that reads the next migration when one fails.
func TestMain(m *testing.M) {
	adaptertest.Main(m, goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

const key = "migrations"

// Without a lock two that begin at once both create the table, and one fails.
var migrations = fstest.MapFS{
	"1_first.up.sql":  {Data: []byte(`SELECT pg_sleep(0.2); CREATE TABLE letters (id bigint); INSERT INTO letters VALUES (1)`)},
	"2_second.up.sql": {Data: []byte(`INSERT INTO letters VALUES (2)`)},
}

// migrator makes a Migrate with a driver.
func migrator(t *testing.T, d database.Driver) *migrate.Migrate {
	t.Helper()
	source, err := iofs.New(migrations, ".")
	if err != nil {
		t.Fatal(err)
	}
	m, err := migrate.NewWithInstance("iofs", source, "wrapped", d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stubbed is a wrapped driver that keeps its migrations in memory, with a hook before each.
type stubbed struct {
	*stub.Stub
	before func()
}

func (s *stubbed) SetVersion(version int, dirty bool) error {
	err := s.Stub.SetVersion(version, dirty)
	if dirty {
		s.before()
	}
	return err
}

func newStub(t *testing.T, before func()) *stubbed {
	t.Helper()
	d, err := stub.WithInstance(nil, &stub.Config{})
	if err != nil {
		t.Fatal(err)
	}
	inner, ok := d.(*stub.Stub)
	if !ok {
		t.Fatalf("the stub is a %T", d)
	}
	return &stubbed{inner, before}
}

func TestTwoMigratorsMigrateOnce(t *testing.T) {
	dsn := adaptertest.Database(t)
	open := adaptertest.OpenerOf(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
		return manager.Open(ctx, dsn, opts...)
	})
	first := open()
	outcomes := make(chan error, 2)
	for _, m := range []*manager.Manager{first, open()} {
		db, err := sql.Open("pgx/v5", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		inner, err := pgxdriver.WithInstance(db, &pgxdriver.Config{})
		if err != nil {
			t.Fatal(err)
		}
		up := migrator(t, migratelock.New(context.WithoutCancel(t.Context()), inner, m, key))
		go func() { // Joined by outcomes.
			err := up.Up()
			fromSource, fromDatabase := up.Close()
			outcomes <- errors.Join(err, fromSource, fromDatabase)
		}()
	}
	unchanged := 0
	for range 2 {
		switch err := adaptertest.Receive(t, outcomes, "Up"); {
		case errors.Is(err, migrate.ErrNoChange):
			unchanged++
		case err != nil:
			t.Error(err)
		}
	}
	if unchanged != 1 {
		t.Errorf("%d of two had nothing to migrate", unchanged)
	}
	adaptertest.Free(t, first, key)
}

// memory opens managers on a server in memory.
func memory(t *testing.T) (*locktest.Server, adaptertest.Opener) {
	t.Helper()
	server := locktest.NewServer()
	t.Cleanup(server.Close)
	return server, adaptertest.OpenerOf(t, server.Open)
}

func TestLockNamesItsHolderWhenItHasWaited(t *testing.T) {
	_, open := memory(t)
	m := open()
	other, err := open().Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	d := migratelock.New(t.Context(), newStub(t, func() {}), m, key, manager.WithWaitTimeout(3*time.Second))
	err = migrator(t, d).Up()
	if !errors.Is(err, database.ErrLocked) || !errors.Is(err, manager.ErrWaitTimeout) || !strings.Contains(err.Error(), "held by") {
		t.Errorf("Up: %v, should be ErrLocked and ErrWaitTimeout, and name the holder", err)
	}
	if err := other.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrator(t, migratelock.New(t.Context(), newStub(t, func() {}), m, key, manager.WithWaitTimeout(time.Minute))).Up(); err != nil {
		t.Errorf("Up, when the lock is free: %v", err)
	}
	adaptertest.Free(t, m, key)
}

func TestTheLockIsHeldUntilUnlockAlthoughTheContextEnded(t *testing.T) {
	_, open := memory(t)
	other := open()
	ctx, cancel := context.WithCancel(t.Context())
	inner := newStub(t, func() {
		cancel()
		if _, err := other.TryAcquire(t.Context(), key); !errors.Is(err, manager.ErrNotAcquired) {
			t.Errorf("during a migration another process gets: %v", err)
		}
	})
	if err := migrator(t, migratelock.New(ctx, inner, open(), key)).Up(); err != nil {
		t.Fatal(err)
	}
	if len(inner.MigrationSequence) != 2 {
		t.Errorf("migrated: %q", inner.MigrationSequence)
	}
	adaptertest.Free(t, other, key)
}

// Migrate abandons a Lock that takes too long, and may close the driver then: the lock is not acquired for nobody.
func TestCloseEndsAnAbandonedLock(t *testing.T) {
	_, open := memory(t)
	m, other := open(), open()
	holds, err := other.Acquire(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	d := migratelock.New(t.Context(), newStub(t, func() {}), m, key, manager.WithWaitTimeout(time.Hour))
	ended := make(chan error, 1)
	go func() { ended <- d.Lock() }() // Joined by ended.
	for m.Stats().Waiting == 0 {
		<-time.After(time.Millisecond)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := adaptertest.Receive(t, ended, "Lock"); !errors.Is(err, database.ErrLocked) {
		t.Errorf("Lock: %v", err)
	}
	if err := holds.Release(t.Context()); err != nil {
		t.Error(err)
	}
	adaptertest.Free(t, other, key)
	if err := d.Lock(); !errors.Is(err, database.ErrLocked) { // which nobody would release
		t.Errorf("Lock after Close: %v", err)
	}
	adaptertest.Free(t, other, key)
}

func TestNoMigrationBeginsAfterALoss(t *testing.T) {
	server, open := memory(t)
	m := open()
	inner := newStub(t, func() { server.Lose(m.Key(key)) })
	d := migratelock.New(t.Context(), inner, m, key)
	lossSeen := &afterRun{Driver: d, wait: func() { adaptertest.Free(t, m, key) }} // the next lock of the same manager: the loss has been told
	if err := migrator(t, lossSeen).Up(); !errors.Is(err, manager.ErrLost) {
		t.Errorf("Up: %v, should be ErrLost", err)
	}
	if len(inner.MigrationSequence) != 1 || inner.IsDirty || inner.CurrentVersion != 1 {
		t.Errorf("migrated: %q, version %d, dirty %t", inner.MigrationSequence, inner.CurrentVersion, inner.IsDirty)
	}
	adaptertest.Free(t, m, key)
}

// afterRun waits after each migration.
type afterRun struct {
	*migratelock.Driver
	wait func()
}

func (a *afterRun) SetVersion(version int, dirty bool) error {
	if !dirty {
		a.wait()
	}
	return a.Driver.SetVersion(version, dirty)
}

func TestLockAndUnlockInPairs(t *testing.T) {
	server, open := memory(t)
	m := open()
	d := migratelock.New(t.Context(), newStub(t, func() {}), m, key)
	if err := d.Unlock(); !errors.Is(err, database.ErrNotLocked) {
		t.Errorf("Unlock without Lock: %v", err)
	}
	if err := d.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := d.Lock(); !errors.Is(err, database.ErrLocked) {
		t.Errorf("a second Lock: %v", err)
	}
	if err := d.Drop(); err != nil {
		t.Errorf("Drop under the lock: %v", err)
	}
	server.Lose()
	adaptertest.Free(t, m, key) // the next lock of the same manager: the loss has been told
	if err := d.Drop(); !errors.Is(err, manager.ErrLost) {
		t.Errorf("Drop after a loss: %v", err)
	}
	if err := d.Lock(); err != nil { // the lost one is no hindrance
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	adaptertest.Free(t, m, key)
	opened, err := d.Open("stub://")
	if err != nil {
		t.Fatal(err)
	}
	if _, wrapped := opened.(*migratelock.Driver); !wrapped {
		t.Errorf("Open gives a %T, which is not wrapped", opened)
	}
}
