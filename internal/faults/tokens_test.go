package faults

import (
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// The primary is killed, and its synchronous standby promoted: tokens go on where they were, although the role's default is not to wait for the
// standby.
func TestTokensSurviveThePromotionOfASynchronousStandby(t *testing.T) {
	c := newCluster(t)
	audit(t, c.standby)
	exec := func(sql string) [][]string {
		t.Helper()
		rows, err := c.primary.Exec(bounded(t), sql)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	conn, err := pgx.Connect(bounded(t), c.primary.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Migrate(bounded(t), conn); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(bounded(t))
	exec("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	exec("ALTER SYSTEM SET synchronous_commit = off")
	exec("SELECT pg_reload_conf()")
	eventually(t, "the standby is synchronous", func() bool {
		return exec("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")[0][0] == "1"
	})
	exec("CHECKPOINT") // by the process that tells the others to wait for standbys: it reads the settings first
	m := open(t, c.both(t), manager.WithFencing())
	var last int64
	draw := func() {
		t.Helper()
		lock := acquire(t, m, "promoted", manager.WithRetryPolicy(patient()))
		if lock.Token() <= last {
			t.Fatalf("the token is %d, after %d", lock.Token(), last)
		}
		last = lock.Token()
		if err := lock.Release(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		draw()
	}
	if err := c.primary.SignalAll(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.promote(t)
	if rows, err := c.standby.Exec(bounded(t), "ALTER SYSTEM SET synchronous_standby_names = ''"); err != nil {
		t.Fatal(rows, err)
	}
	if _, err := c.standby.Exec(bounded(t), "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		draw()
	}
}
