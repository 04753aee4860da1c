package manager_test

import (
	"fmt"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// Two processes contend for one lock that guards a counter in the database.
func TestTwoProcessesExcludeEachOther(t *testing.T) {
	s := server(t)
	leakFree(t, s)
	query(t, s, "CREATE TABLE lk_counter (value int NOT NULL)")
	t.Cleanup(func() { query(t, s, "DROP TABLE lk_counter") })
	query(t, s, "INSERT INTO lk_counter VALUES (0)")
	const each, workers = 40, 4
	one := childtest.Start(t, "count", dsn(s), fmt.Sprint(each))
	two := childtest.Start(t, "count", dsn(s), fmt.Sprint(each))
	ends(t, one)
	ends(t, two)
	if got := query(t, s, "SELECT value FROM lk_counter")[0][0]; got != fmt.Sprint(2*each*workers) {
		t.Errorf("counted %s of %d", got, 2*each*workers)
	}
}

// A process that is killed while it holds a lock does not keep it.
func TestKilledProcessLetsGo(t *testing.T) {
	s, m := server(t), open(t)
	child := childtest.Start(t, "hold", dsn(s), "k")
	expect(t, child, "held")
	waiting := acquiring(bounded(t), t, m, "k")
	eventually(t, "it waits for the other process", func() bool { return queued(t, s, m.Key("k").ID()) == 1 })
	child.Kill(t)
	got := ended(t, "the grant", waiting)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantHeld(t, got.lock)
	release(t, got.lock)
}

// A process that is stopped for longer than its session is trusted loses its locks, and knows when it wakes, before it does
// anything else.
func TestStoppedProcessWakesToALoss(t *testing.T) {
	s, m := server(t), open(t)
	needSessionTimeout(t, s)
	child := childtest.Start(t, "hold", dsn(s), "k")
	expect(t, child, "held")
	child.Say(t, "and now?")
	expect(t, child, "held")
	child.Freeze(t)
	lock := acquire(t, m, "k") // when the server has ended the silent session
	child.Say(t, "and now?")
	child.Wake(t)
	expect(t, child, "lost")
	wantHeld(t, lock)
	release(t, lock)
	ends(t, child)
}

// expect wants the child's next line to be this one.
func expect(t *testing.T, c *childtest.Child, want string) {
	t.Helper()
	if got := c.Line(t); got != want {
		t.Fatalf("the child says %q, not %q", got, want)
	}
}

// needSessionTimeout skips where the server is too old to end a silent session by itself.
func needSessionTimeout(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if len(query(t, s, "SELECT 1 FROM pg_settings WHERE name = 'idle_session_timeout'")) == 0 {
		t.Skip("this server has no idle_session_timeout: it is older than PostgreSQL 14")
	}
}
