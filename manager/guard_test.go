package manager_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// eachLevel runs a test for each kind of transaction at each isolation level. begin begins one, whose snapshot is taken by its first statement.
func eachLevel(t *testing.T, test func(t *testing.T, s *pgserver.Server, level string, begin func(t *testing.T) userTx)) {
	t.Helper()
	migrated(t)
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
			t.Run(level, func(t *testing.T) {
				test(t, s, level, func(t *testing.T) userTx {
					t.Helper()
					u := begin(t)
					if err := u.exec("SET TRANSACTION ISOLATION LEVEL " + level); err != nil {
						t.Fatal(err)
					}
					return u
				})
			})
		}
	})
}

// drawNewer draws a newer token than the lock's, as somebody else's grant does.
func drawNewer(t *testing.T, s *pgserver.Server, lock *manager.Lock) {
	t.Helper()
	query(t, s, fmt.Sprintf("UPDATE lockkeeper.fence SET token = token + 1 WHERE id = %d", lock.ID()))
}

// A guarded transaction commits while its hold is the newest, and the next holder's grant waits for it; what it wrote is seen then.
func TestGuardedTransactionComesBeforeTheNextGrant(t *testing.T) {
	eachLevel(t, func(t *testing.T, s *pgserver.Server, _ string, begin func(t *testing.T) userTx) {
		query(t, s, "DROP TABLE IF EXISTS lk_guarded; CREATE TABLE lk_guarded (n int)")
		old, next := openOn(t, s, manager.WithFencing()), openOn(t, s, manager.WithFencing())
		lock := acquire(t, old, "guarded")
		u, second := begin(t), begin(t)
		for _, tx := range []userTx{u, second} { // of one hold several may be open
			if err := errors.Join(manager.Guard(bounded(t), tx.tx, lock), tx.exec("INSERT INTO lk_guarded VALUES (1)")); err != nil {
				t.Fatal(err)
			}
		}
		release(t, lock)
		_, err := next.TryAcquire(bounded(t), "guarded")
		wantIs(t, err, manager.ErrNotAcquired)
		if !strings.Contains(err.Error(), "guarded transaction") {
			t.Errorf("the error does not say what is in the way: %v", err)
		}
		_, err = next.Acquire(bounded(t), "guarded", manager.WithWaitTimeout(0))
		wantIs(t, err, manager.ErrWaitTimeout)
		saysSo := false
		for bound := 20 * time.Millisecond; !saysSo && bound < patience; bound *= 2 { // a busy machine takes longer to ask
			_, err = next.Acquire(bounded(t), "guarded", manager.WithWaitTimeout(bound))
			wantIs(t, err, manager.ErrWaitTimeout)
			saysSo = strings.Contains(err.Error(), "guarded transaction")
		}
		if !saysSo {
			t.Errorf("the error does not say what is in the way: %v", err)
		}
		granted := make(chan acquired, 1)
		go func() {
			lock, err := next.Acquire(t.Context(), "guarded", manager.WithWaitTimeout(patience))
			granted <- acquired{lock, err}
		}()
		eventually(t, "it holds the lock", func() bool { return held(t, s)[lock.ID()] != 0 })
		other := acquire(t, next, "guarded by nobody") // is not held up
		release(t, other)
		if len(granted) > 0 {
			t.Error("granted before the guarded transactions ended")
		}
		if err := errors.Join(u.finish(true), second.finish(true)); err != nil {
			t.Fatal(err)
		}
		got := ended(t, "the grant", granted)
		if got.err != nil {
			t.Fatal(got.err)
		}
		if rows := query(t, s, "SELECT count(*) FROM lk_guarded"); rows[0][0] != "2" {
			t.Errorf("the next holder sees %s rows", rows[0][0])
		}
		release(t, got.lock)
		query(t, s, "DROP TABLE lk_guarded")
	})
}

// Who is not the newest any more cannot commit, whatever the isolation level, and whenever the newer token was drawn.
func TestGuardOfAnOldHold(t *testing.T) {
	eachLevel(t, func(t *testing.T, s *pgserver.Server, level string, begin func(t *testing.T) userTx) {
		m := openOn(t, s, manager.WithFencing())
		for name, row := range map[string]struct {
			snapshot bool // taken before the newer token is drawn
			newer    bool
			code     string
		}{
			"the newest":                     {true, false, ""},
			"a newer token, then a snapshot": {false, true, "LKF01"},
			"a snapshot, then a newer token": {true, true, map[bool]string{true: "LKF01", false: "40001"}[level == "READ COMMITTED"]},
		} {
			lock, u := acquire(t, m, "old"), begin(t)
			if row.snapshot {
				if err := u.exec("SELECT 1 FROM lockkeeper.version"); err != nil {
					t.Fatal(err)
				}
			}
			if row.newer {
				drawNewer(t, s, lock)
			}
			err := manager.Guard(bounded(t), u.tx, lock)
			if row.code == "" {
				if err := errors.Join(err, u.finish(true)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				release(t, lock)
				continue
			}
			wantIs(t, err, manager.ErrFenced)
			var server interface{ SQLState() string }
			if !errors.As(err, &server) || server.SQLState() != row.code || !strings.Contains(err.Error(), `guard "old"`) {
				t.Errorf("%s: %v; should have %s", name, err, row.code)
			}
			if u.exec("SELECT 1") == nil {
				t.Errorf("%s: the transaction goes on", name)
			}
			_ = u.finish(false)
			release(t, lock)
		}
	})
}

// A snapshot from before the lock was acquired cannot be guarded where statements read by it, not even for a key's first token.
func TestGuardOfATransactionOlderThanTheHold(t *testing.T) {
	eachLevel(t, func(t *testing.T, s *pgserver.Server, level string, begin func(t *testing.T) userTx) {
		m := openOn(t, s, manager.WithFencing())
		key := fmt.Sprint("older than the hold ", time.Now().UnixNano()) // the database has the keys of earlier runs
		for round := range 2 {
			u := begin(t)
			if err := u.exec("SELECT 1 FROM lockkeeper.version"); err != nil {
				t.Fatal(err)
			}
			lock := acquire(t, m, key)
			err := manager.Guard(bounded(t), u.tx, lock)
			switch {
			case level == "READ COMMITTED":
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			case round == 0 && (err == nil || !strings.Contains(err.Error(), "is the snapshot of the transaction older than the lock?")):
				t.Errorf("round %d: %v", round, err)
				fallthrough
			default:
				wantIs(t, err, manager.ErrFenced)
			}
			_ = u.finish(false)
			release(t, lock)
		}
	})
}

// A set has one token, and its guard holds for each of its keys.
func TestGuardOfASet(t *testing.T) {
	eachLevel(t, func(t *testing.T, s *pgserver.Server, _ string, begin func(t *testing.T) userTx) {
		m, next := openOn(t, s, manager.WithFencing()), openOn(t, s, manager.WithFencing())
		set, err := m.AcquireAll(bounded(t), "set a", "set b", "set c")
		if err != nil {
			t.Fatal(err)
		}
		u := begin(t)
		if err := manager.Guard(bounded(t), u.tx, set); err != nil {
			t.Fatal(err)
		}
		if err := set.Release(bounded(t)); err != nil {
			t.Error(err)
		}
		for _, key := range []string{"set a", "set b", "set c"} {
			_, err := next.TryAcquire(bounded(t), key)
			wantIs(t, err, manager.ErrNotAcquired)
		}
		_, err = next.Keys("set x", "set b").TryAcquire(bounded(t))
		wantIs(t, err, manager.ErrNotAcquired)
		if err := u.finish(true); err != nil {
			t.Fatal(err)
		}
		if set, err = next.AcquireAll(bounded(t), "set x", "set b", "set c"); err != nil {
			t.Fatal(err)
		}
		lock := acquire(t, m, "set a")
		query(t, s, fmt.Sprintf("UPDATE lockkeeper.fence SET token = token + 1 WHERE id = %d", m.Key("set c").ID()))
		u = begin(t)
		wantIs(t, manager.Guard(bounded(t), u.tx, set), manager.ErrFenced)
		_ = u.finish(false)
		release(t, lock)
		if err := set.Release(bounded(t)); err != nil {
			t.Error(err)
		}
	})
}

// PostgreSQL fails one of two transactions whose reads and writes form a circle. No token is newer then, and the hold goes on: the transaction
// is to be repeated.
func TestGuardOfASerializationAnomaly(t *testing.T) {
	migrated(t)
	eachTx(t, func(t *testing.T, s *pgserver.Server, begin func(t *testing.T) userTx) {
		query(t, s, `DROP TABLE IF EXISTS lk_one, lk_two; CREATE TABLE lk_one AS SELECT 1 AS n; CREATE TABLE lk_two AS SELECT 1 AS n`)
		m := openOn(t, s, manager.WithFencing())
		one, two := acquire(t, m, "anomaly one"), acquire(t, m, "anomaly two")
		serializable := func(reads, writes string) userTx {
			t.Helper()
			u := begin(t)
			if err := errors.Join(u.exec("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), u.exec("SELECT n FROM "+reads),
				u.exec("UPDATE "+writes+" SET n = n + 1")); err != nil {
				t.Fatal(err)
			}
			return u
		}
		first, second := serializable("lk_one", "lk_two"), serializable("lk_two", "lk_one")
		if err := errors.Join(manager.Guard(bounded(t), first.tx, one), first.finish(true)); err != nil {
			t.Fatal(err)
		}
		err := manager.Guard(bounded(t), second.tx, two)
		var server interface{ SQLState() string }
		if !errors.As(err, &server) || server.SQLState() != "40001" || errors.Is(err, manager.ErrFenced) {
			t.Errorf("it is 40001, and not fenced: %v", err)
		}
		_ = second.finish(false)
		again := serializable("lk_two", "lk_one")
		if err := errors.Join(manager.Guard(bounded(t), again.tx, two), again.finish(true)); err != nil {
			t.Errorf("repeated: %v", err)
		}
		release(t, one)
		release(t, two)
		query(t, s, "DROP TABLE lk_one, lk_two")
	})
}

func TestGuardRefuses(t *testing.T) {
	s := migrated(t)
	m := openOn(t, s)
	lock, without := acquire(t, m, "refuses", manager.WithToken()), acquire(t, m, "refuses without")
	over := acquire(t, m, "refuses over", manager.WithToken())
	release(t, over)
	lost := acquire(t, m, "refuses lost", manager.WithToken(), manager.WithDedicatedSession())
	terminate(t, s, held(t, s)[lost.ID()])
	eventually(t, "the loss is known", func() bool { return lost.Err() != nil })
	for _, begin := range []func(*testing.T, string) userTx{beginPgx, beginSQL} {
		done, readOnly, aborted, elsewhere := begin(t, dsn(s)), begin(t, dsn(s)), begin(t, dsn(s)), begin(t, s.DSNOf("postgres"))
		if err := errors.Join(done.finish(true), readOnly.exec("SET TRANSACTION READ ONLY")); err != nil {
			t.Fatal(err)
		}
		_ = aborted.exec("SELECT 1/0")
		fresh := begin(t, dsn(s))
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		var noLock *manager.Lock
		var noSet *manager.LockSet
		for name, row := range map[string]struct {
			ctx  context.Context
			tx   any
			held manager.Fenced
			want string
			is   error
		}{
			"no context":          {nil, fresh.tx, lock, `guard "refuses": the context is nil`, manager.ErrNilContext},
			"ended context":       {canceled, begin(t, dsn(s)).tx, lock, "", context.Canceled},
			"no lock":             {t.Context(), fresh.tx, nil, "a Lock or a LockSet is needed", nil},
			"nil lock":            {t.Context(), fresh.tx, noLock, "a Lock or a LockSet is needed", nil},
			"nil set":             {t.Context(), fresh.tx, noSet, "a Lock or a LockSet is needed", nil},
			"no transaction":      {t.Context(), nil, lock, "a transaction is needed", nil},
			"something else":      {t.Context(), 1, lock, "this is int", nil},
			"no token":            {t.Context(), fresh.tx, without, "without WithFencing or WithToken", manager.ErrNoToken},
			"released":            {t.Context(), fresh.tx, over, "the hold has ended", manager.ErrReleased},
			"released is fenced":  {t.Context(), fresh.tx, over, "fenced", manager.ErrFenced},
			"lost":                {t.Context(), fresh.tx, lost, "the hold has ended", manager.ErrLost},
			"finished":            {t.Context(), done.tx, lock, "", map[bool]error{true: pgx.ErrTxClosed, false: sql.ErrTxDone}[isPgx(done)]},
			"read only":           {t.Context(), readOnly.tx, lock, "a read-only transaction has nothing to guard", nil},
			"aborted":             {t.Context(), aborted.tx, lock, "25P02", nil},
			"in another database": {t.Context(), elsewhere.tx, lock, "run manager.Migrate", manager.ErrNotMigrated},
		} {
			err := manager.Guard(row.ctx, row.tx, row.held)
			if err == nil || !strings.Contains(err.Error(), row.want) || row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("%s: %v; should say %q", name, err, row.want)
			}
		}
		if err := fresh.finish(true); err != nil {
			t.Error(err)
		}
	}
	release(t, lock)
	release(t, without)
}

func isPgx(u userTx) bool { _, ok := u.tx.(pgx.Tx); return ok }

// A caller whose token is in the way of a guarded transaction returns when its context or the manager ends, or its lock is lost, and leaves
// nothing behind.
func TestGuardedTransactionDoesNotHoldUpForEver(t *testing.T) {
	s := migrated(t)
	old := openOn(t, s, manager.WithFencing())
	u := beginPgx(t, dsn(s))
	lock := acquire(t, old, "up")
	if err := manager.Guard(bounded(t), u.tx, lock); err != nil {
		t.Fatal(err)
	}
	release(t, lock)
	for name, row := range map[string]struct {
		end  func(cancel context.CancelFunc, m *manager.Manager)
		want error
	}{
		"context": {func(cancel context.CancelFunc, _ *manager.Manager) { cancel() }, context.Canceled},
		"Close":   {func(_ context.CancelFunc, m *manager.Manager) { closeNow(t, m) }, manager.ErrClosed},
		"loss":    {func(context.CancelFunc, *manager.Manager) { terminate(t, s, held(t, s)[lock.ID()]) }, manager.ErrLost},
	} {
		for _, do := range []bool{false, true} {
			m := openOn(t, s, manager.WithFencing())
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				if do {
					result <- m.Do(ctx, "up", func(context.Context) error { return errors.New("it runs") })
					return
				}
				_, err := m.Acquire(ctx, "up")
				result <- err
			}()
			eventually(t, "it was granted the lock", func() bool { return m.Stats().GrantsServer == 1 && held(t, s)[lock.ID()] != 0 })
			row.end(cancel, m)
			err := ended(t, "the call", result)
			if !errors.Is(err, row.want) {
				t.Errorf("%s, Do %v: %v", name, do, err)
			}
			cancel()
			eventually(t, "the lock is free", func() bool { return held(t, s)[lock.ID()] == 0 })
			closeNow(t, m)
		}
	}
	if err := u.finish(true); err != nil {
		t.Error(err)
	}
}
