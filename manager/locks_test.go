package manager_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

func lockOf(t *testing.T, m *manager.Manager, id int64) manager.LockInfo {
	t.Helper()
	all, err := m.Locks(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.ID == id {
			return l
		}
	}
	return manager.LockInfo{ID: id}
}

// Who holds and who waits, with the key's name where it is known; and the end of the holder's session, if it is still the one that was listed.
func TestLocksAndTerminate(t *testing.T) {
	s := server(t)
	holder := openOn(t, s, manager.WithApplicationName(`lk 'holder"\`))
	waiter, stranger := openOn(t, s, manager.WithApplicationName("lk waiter")), openOn(t, s)
	lock := acquire(t, holder, "k")
	waiting := acquiring(bounded(t), t, waiter, "k")
	eventually(t, "it waits at the server", func() bool { return len(lockOf(t, waiter, lock.ID()).Waiters) == 1 })
	info := lockOf(t, stranger, lock.ID())
	if info.Key != "" || len(info.Holders) != 1 {
		t.Fatalf("a stranger sees %+v", info)
	}
	if info = lockOf(t, holder, lock.ID()); info.Key != "k" {
		t.Errorf("the key's name is known here, and is %q", info.Key)
	}
	h := info.Holders[0]
	if int(h.PID) != held(t, s)[lock.ID()] || h.ApplicationName != `lk 'holder"\` || h.Since.IsZero() || h.Shared || h.Waited != 0 {
		t.Errorf("the holder is %+v", h)
	}
	other := h
	other.PID++
	wantIs(t, stranger.Terminate(bounded(t), other), manager.ErrSessionGone)
	other = h
	other.Since = h.Since.Add(1000)
	wantIs(t, stranger.Terminate(bounded(t), other), manager.ErrSessionGone)
	other = h
	other.ApplicationName += "x"
	wantIs(t, stranger.Terminate(bounded(t), other), manager.ErrSessionGone)
	if lock.Err() != nil {
		t.Fatal(lock.Err())
	}
	if err := stranger.Terminate(bounded(t), h); err != nil {
		t.Fatal(err)
	}
	ended(t, "the loss", lock.Done())
	wantIs(t, lock.Err(), manager.ErrLost)
	got := ended(t, "the grant", waiting)
	if got.err != nil {
		t.Fatal(got.err)
	}
	eventually(t, "the session is gone", func() bool { return errors.Is(stranger.Terminate(bounded(t), h), manager.ErrSessionGone) })
	release(t, got.lock)
	closeNow(t, stranger)
	if _, err := stranger.Locks(nil); err == nil { //nolint:staticcheck // that is the test
		t.Error("a nil context was taken")
	}
	wantIs(t, stranger.Terminate(nil, h), manager.ErrNilContext) //nolint:staticcheck // likewise
}

// The view in docs/operations.md says the same.
func TestViewOfLocks(t *testing.T) {
	s := server(t)
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, view, found := strings.Cut(string(page), "CREATE VIEW lockkeeper_locks")
	view, _, whole := strings.Cut(view, ";")
	if !found || !whole {
		t.Fatal("docs/operations.md has no view lockkeeper_locks")
	}
	query(t, s, "CREATE VIEW lockkeeper_locks"+view)
	t.Cleanup(func() { query(t, s, "DROP VIEW lockkeeper_locks") })
	m := openOn(t, s)
	lock := acquire(t, m, "k")
	shared := beginPgx(t, dsn(s))
	if err := manager.AcquireTx(bounded(t), shared.tx, "shared", manager.WithSharedTx()); err != nil {
		t.Fatal(err)
	}
	all, err := m.Locks(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	rows := query(t, s, "SELECT id, pid, application_name, shared, holds FROM lockkeeper_locks")
	for _, l := range all {
		h := l.Holders[0]
		if !slices.ContainsFunc(rows, func(row []string) bool {
			return number(t, row[0]) == l.ID && number(t, row[1]) == int64(h.PID) && row[2] == h.ApplicationName &&
				(row[3] == "t") == h.Shared && row[4] == "t"
		}) {
			t.Errorf("the view %v does not have %+v", rows, l)
		}
	}
	if len(rows) != len(all) || len(all) != 2 {
		t.Errorf("%d locks are listed, and the view has %d", len(all), len(rows))
	}
	release(t, lock)
}

// A session that ends while the server is to end it is gone: the server says that it has sent no signal.
func TestTerminateOfASessionThatEndsMeanwhile(t *testing.T) {
	at, conn := ownDatabase(t)
	defer closeConn(t, conn.Close)
	// In this database there is another function of that name, which answers as the server's does then.
	if _, err := conn.Exec(bounded(t), `ALTER FUNCTION pg_catalog.pg_terminate_backend RENAME TO pg_terminate_backend_of_the_server;
		CREATE FUNCTION pg_catalog.pg_terminate_backend(pid int) RETURNS bool LANGUAGE sql AS 'SELECT false'`); err != nil {
		t.Fatal(err)
	}
	m, err := manager.Open(bounded(t), at)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, m)
	lock := acquire(t, m, "k")
	wantIs(t, m.Terminate(bounded(t), lockOf(t, m, lock.ID()).Holders[0]), manager.ErrSessionGone)
	release(t, lock)
}
