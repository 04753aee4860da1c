package pg

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// Transact is one transaction: all of it or nothing, on READ COMMITTED, and durable.
func TestTransact(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), quick())
	q := p.Questions()
	if _, err := q.Transact(within(t), "trying", "CREATE TABLE things (n int)"); err != nil {
		t.Fatal(err)
	}
	rows, err := q.Transact(within(t), "trying", "INSERT INTO things VALUES (1) RETURNING n",
		"SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation'), pg_backend_pid()")
	if err != nil || len(rows) != 2 || rows[0][0][0] != "1" || rows[1][0][0] != "on" || rows[1][0][1] != "read committed" {
		t.Fatalf("%q, %v", rows, err)
	}
	d.exec(t, "SELECT pg_terminate_backend(%s)", rows[1][0][2])
	_, err = q.Transact(within(t), "trying", "INSERT INTO things VALUES (2)", "SELECT nonsense", "INSERT INTO things VALUES (3)")
	if err == nil || !strings.Contains(err.Error(), "nonsense") || q.Connected() {
		t.Errorf("%v, connected %v", err, q.Connected())
	}
	rows, err = q.Transact(within(t), "trying", "SELECT n FROM things")
	if err != nil || len(rows) != 1 || len(rows[0]) != 1 || rows[0][0][0] != "1" {
		t.Errorf("%q, %v", rows, err)
	}
	q.Close()
	closePool(t, p)
	d.isEmpty(t)
}

// A commit whose wait for a synchronous standby an administrator has cancelled is none.
func TestTransactIsNotDurableWithoutTheStandby(t *testing.T) {
	noLeaks(t)
	s := pgtest.New(t, pgserver.Options{})
	exec := func(sql string) [][]string {
		t.Helper()
		rows, err := s.Exec(within(t), sql)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	exec("CREATE TABLE things (n int)")
	exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	exec("SELECT pg_reload_conf()")
	for exec("SELECT current_setting('synchronous_standby_names')")[0][0] == "" {
		continue
	}
	p := openDSN(t, s.DSN(), quick())
	q := p.Questions()
	errs := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // the server waits for standbys when its checkpointer has heard of the setting too
			_, err = q.Transact(within(t), "trying", "INSERT INTO things VALUES (1)")
		}
		errs <- err
	}()
	for len(errs) == 0 {
		exec("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	}
	if err := <-errs; err == nil || !strings.Contains(err.Error(), "did not wait for its synchronous standbys (canceling wait") {
		t.Errorf("%v", err)
	}
	q.Close()
	closePool(t, p)
}
