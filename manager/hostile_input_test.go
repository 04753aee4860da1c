package manager_test

import (
	"context"
	"database/sql"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/manager"
)

// An option that is nil, as one that was chosen by a condition may be, changes nothing: of a manager, of an acquisition of each kind, and of one
// in a transaction.
func TestNilOptions(t *testing.T) {
	m := open(t, nil, manager.WithNamespace("n"), nil)
	ctx, none := bounded(t), manager.AcquireOption(nil)
	work := func(context.Context) error { return nil }
	released := func(r interface {
		Release(ctx context.Context) error
	}, err error) error {
		if err != nil {
			return err
		}
		return r.Release(ctx)
	}
	for name, call := range map[string]func() error{
		"Acquire": func() error { l, err := m.Acquire(ctx, "k", none); return released(l, err) },
		"TryAcquire": func() error {
			l, err := m.TryAcquire(ctx, "k", none, manager.WithDetachedHold())
			return released(l, err)
		},
		"AcquireShared":    func() error { l, err := m.AcquireShared(ctx, "k", none); return released(l, err) },
		"TryAcquireShared": func() error { l, err := m.TryAcquireShared(ctx, "k", none); return released(l, err) },
		"Do":               func() error { return m.Do(ctx, "k", work, none) },
		"DoShared":         func() error { return m.DoShared(ctx, "k", work, none) },
		"Once":             func() error { return m.Once(ctx, "k", time.Hour, work, none) },
		"Elect":            func() error { return m.Elect(ctx, "k", work, none) },
		"AcquireSlot":      func() error { s, err := m.AcquireSlot(ctx, "k", 2, none); return released(s, err) },
		"TryAcquireSlot":   func() error { s, err := m.TryAcquireSlot(ctx, "k", 2, none); return released(s, err) },
		"DoSlot":           func() error { return m.DoSlot(ctx, "k", 2, work, none) },
		"Keys":             func() error { s, err := m.Keys("a", "b").Acquire(ctx, none); return released(s, err) },
		"Keys, a try":      func() error { s, err := m.Keys("a", "b").TryAcquire(ctx, none); return released(s, err) },
		"Key":              func() error { l, err := m.Key("k").Acquire(ctx, none); return released(l, err) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	tx := beginPgx(t, dsn(server(t))).tx
	for _, opt := range []manager.TxOption{nil, none, manager.Option(nil)} {
		if err := manager.AcquireTx(ctx, tx, "k", opt, manager.WithNamespace("n")); err != nil {
			t.Errorf("AcquireTx with %T: %v", opt, err)
		}
		if err := manager.TryAcquireTx(ctx, tx, "k", manager.WithNamespace("n"), opt); err != nil {
			t.Errorf("TryAcquireTx with %T: %v", opt, err)
		}
	}
}

// A nil pointer in an interface is as good as nil: an error, and no panic.
func TestNilPointers(t *testing.T) {
	m := open(t)
	lock := acquire(t, m, "k")
	for _, tx := range []any{nil, (*sql.Tx)(nil), (*pgxpool.Tx)(nil), pgx.Tx((*pgxpool.Tx)(nil)), 7, "tx"} {
		for name, err := range map[string]error{
			"AcquireTx": manager.AcquireTx(bounded(t), tx, "k"), "TryAcquireTx": manager.TryAcquireTx(bounded(t), tx, "k"), "Guard": manager.Guard(bounded(t), tx, lock),
		} {
			if err == nil || !strings.Contains(err.Error(), "a transaction is needed") {
				t.Errorf("%s of %T: %v", name, tx, err)
			}
		}
	}
	for _, conn := range []any{nil, (*sql.Tx)(nil), (*pgxpool.Tx)(nil), (*pgx.Conn)(nil), (*pgxpool.Pool)(nil), (*pgxpool.Conn)(nil), (*sql.DB)(nil), (*sql.Conn)(nil), 7} {
		if err := manager.Migrate(bounded(t), conn); err == nil || !strings.Contains(err.Error(), "a connection is needed") {
			t.Errorf("Migrate of %T: %v", conn, err)
		}
	}
	for _, held := range []manager.Fenced{nil, (*manager.Lock)(nil), (*manager.LockSet)(nil)} {
		if err := manager.Guard(bounded(t), nil, held); err == nil || !strings.Contains(err.Error(), "is needed") {
			t.Errorf("Guard with %T: %v", held, err)
		}
	}
	if _, err := manager.New(bounded(t), (*nilSource)(nil)); err == nil || !strings.Contains(err.Error(), "source of connections is nil") {
		t.Errorf("New: %v", err)
	}
	for name, source := range map[string]func() (manager.Source, error){
		"FromConfig": func() (manager.Source, error) { return manager.FromConfig(nil) },
		"FromPool":   func() (manager.Source, error) { return manager.FromPool(nil) },
		"FromDB":     func() (manager.Source, error) { return manager.FromDB(nil) },
	} {
		if _, err := source(); err == nil {
			t.Errorf("%s(nil): no error", name)
		}
	}
	release(t, lock)
}

type nilSource struct{ manager.Source }

// A function that is nil is refused before the lock is acquired: Once would keep its period, and nobody else would run it.
func TestNilFunctions(t *testing.T) {
	m, ctx := open(t), bounded(t)
	for name, err := range map[string]error{
		"Do": m.Do(ctx, "k", nil), "DoShared": m.DoShared(ctx, "k", nil), "DoSlot": m.DoSlot(ctx, "k", 2, nil), "Once": m.Once(ctx, "k", time.Hour, nil), "Elect": m.Elect(ctx, "k", nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "function to run is nil") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := m.Once(ctx, "k", time.Hour, func(context.Context) error { return nil }); err != nil {
		t.Errorf("the period is kept: %v", err)
	}
}

// The longest durations that there are mean for ever, and not the opposite.
func TestLongestDurations(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	s := server(t)
	m, other := open(t, manager.WithClockSkew(forever)), open(t)
	ran := 0
	once := func(m *manager.Manager, period time.Duration) error {
		return m.Once(bounded(t), "once", period, func(context.Context) error { ran++; return nil })
	}
	for _, period := range []time.Duration{time.Hour, forever} {
		if err := once(m, period); err != nil {
			t.Fatal(err)
		}
		wantIs(t, once(m, period), manager.ErrAlreadyRun)
		wantIs(t, once(other, period), manager.ErrAlreadyRun)
	}
	if ran != 2 {
		t.Errorf("ran %d times in two periods", ran)
	}

	lock, err := m.Acquire(bounded(t), "k", manager.WithWaitTimeout(forever), manager.WithMinHold(forever))
	if err != nil {
		t.Fatal(err)
	}
	release(t, lock)
	_, err = other.TryAcquire(bounded(t), "k", manager.WithWaitTimeout(forever))
	wantIs(t, err, manager.ErrNotAcquired)

	held := acquire(t, m, "tx")
	u := beginPgx(t, dsn(s))
	ended := make(chan error, 1)
	begin := time.Now()
	go func() {
		ended <- manager.AcquireTx(context.WithoutCancel(t.Context()), u.tx, "tx", manager.WithWaitTimeout(forever))
	}()
	eventually(t, "the transaction waits", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("AcquireTx returned after %v: %v", time.Since(begin), err)
		default:
		}
		return queued(t, s, held.ID()) == 1
	})
	release(t, held)
	if err := <-ended; err != nil {
		t.Errorf("AcquireTx: %v", err)
	}
	if err := u.finish(true); err != nil {
		t.Error(err)
	}
}

// Close names the keys that are in use, and shows little of each.
func TestCloseShowsLittleOfALongKey(t *testing.T) {
	m := open(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	key := strings.Repeat("\x00k", 1<<20)
	go func() {
		ended <- m.Do(bounded(t), key, func(context.Context) error { close(inside); <-leave; return nil })
	}()
	<-inside
	past, cancel := context.WithCancel(t.Context())
	cancel()
	err := m.Close(past)
	wantIs(t, err, context.Canceled)
	if text := err.Error(); len(text) > 1000 || !strings.Contains(text, `"\x00k`) {
		t.Errorf("%d bytes: %.300s", len(text), text)
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
