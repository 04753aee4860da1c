package manager_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// The tables of tokens are dropped, or become those of another version, while they are in use: who holds a lock releases it, who comes is told
// what is wrong, and Close returns. When they are there again, so are tokens.
func TestTablesThatGoWhileInUse(t *testing.T) {
	at, conn := ownDatabase(t)
	defer closeConn(t, conn.Close)
	do := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(bounded(t), sql); err != nil {
			t.Fatal(err)
		}
	}
	migrate := func() {
		t.Helper()
		if err := manager.Migrate(bounded(t), conn); err != nil {
			t.Fatal(err)
		}
	}
	migrate()
	for name, c := range map[string]struct{ harm, mend string }{
		"dropped":         {"DROP SCHEMA lockkeeper CASCADE", ""},
		"another version": {"UPDATE lockkeeper.version SET version = 99", "UPDATE lockkeeper.version SET version = 1"},
		"no version":      {"DELETE FROM lockkeeper.version", "INSERT INTO lockkeeper.version VALUES (1)"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := manager.Open(bounded(t), at, manager.WithTakeoverDelay(7*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			held := acquire(t, m, "held "+name)
			do(c.harm)
			tx, err := conn.Begin(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := manager.Guard(bounded(t), tx, held); name == "dropped" {
				wantIs(t, err, manager.ErrNotMigrated)
			}
			_ = tx.Rollback(bounded(t))
			for range 2 {
				_, err = m.Acquire(bounded(t), "new "+name)
				wantIs(t, err, manager.ErrNotMigrated)
				wantIs(t, err, manager.ErrNoToken)
			}
			release(t, held)
			if c.mend != "" {
				do(c.mend)
			}
			migrate()
			release(t, acquire(t, m, "new "+name))
			closeNow(t, m)
		})
	}
}

// A transaction of somebody's who draws by hand, and has yet to commit, has its own key wait, and no other: a draw of that is not refused, and no
// statement waits for the transaction at the server.
func TestADrawByHandKeepsNoOtherKey(t *testing.T) {
	s := pgtest.New(t, pgserver.Options{})
	conn := connect(t, s)
	if err := manager.Migrate(bounded(t), conn); err != nil {
		t.Fatal(err)
	}
	m := openOn(t, s, manager.WithFencing())
	release(t, acquire(t, m, "by hand"))
	release(t, acquire(t, m, "other"))
	tx, err := conn.Begin(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	if err := tx.QueryRow(bounded(t), "UPDATE lockkeeper.fence SET token = token + 1 WHERE id = $1 RETURNING token", m.Key("by hand").ID()).Scan(&last); err != nil {
		t.Fatal(err)
	}
	waits := acquiring(bounded(t), t, m, "by hand")
	eventually(t, "the key's lock is held, and its token drawn for", func() bool { return held(t, s)[m.Key("by hand").ID()] != 0 })
	for range 20 {
		lock, err := m.TryAcquire(bounded(t), "other")
		if err != nil {
			t.Fatal(err)
		}
		release(t, lock)
	}
	if log := s.Log(); strings.Contains(log, "lock timeout") {
		t.Error(log)
	}
	if err := tx.Commit(bounded(t)); err != nil {
		t.Fatal(err)
	}
	lock := granted(t, waits)
	if lock.Token() <= last {
		t.Errorf("the token is %d, and %d was drawn by hand", lock.Token(), last)
	}
	release(t, lock)
}
