package pg

import (
	"testing"
)

func TestW14_ARoleMayBeRenamedOrDropped(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for _, change := range []string{
		"ALTER ROLE leased RENAME TO renewed; ALTER ROLE renewed RENAME TO leased", "ALTER ROLE leased RENAME TO gone",
		"DROP ROLE leased", "ALTER ROLE leased NOLOGIN", "ALTER ROLE leased PASSWORD 'other'", "GRANT pg_monitor TO leased",
	} {
		d.exec(t, "CREATE ROLE leased LOGIN")
		_, conn := probed(t, sourceOf(t, d.as(t, "leased")), Config{})
		d.exec(t, "%s", change)
		later := conn.ask(t, askStatement.sql)[0][0]
		if same, recovery := sameBackend(conn.identity, later); !same || recovery {
			t.Errorf("after %s: %q answered, it was %q", change, later, conn.identity)
		}
		if got := conn.ask(t, "SELECT pg_catalog.pg_try_advisory_lock(14), pg_catalog.pg_advisory_unlock(14)")[0]; got[0] != "t" || got[1] != "t" {
			t.Errorf("after %s: %v", change, got)
		}
		closeSocket(conn.conn)
		d.isEmpty(t)
		d.exec(t, "DROP ROLE IF EXISTS leased")
		d.exec(t, "DROP ROLE IF EXISTS gone")
	}
}

// The identity has the backend's start, also for a role without any right.
func TestW14_TheIdentityHasTheBackendsStart(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	_, conn := probed(t, sourceOf(t, d.newRole(t, "plain")), Config{})
	got, err := parseIdentity(conn.identity)
	if err != nil {
		t.Fatal(err)
	}
	want := d.exec(t, `SELECT date_part('epoch', backend_start)::text, date_part('epoch', pg_postmaster_start_time())::text
		FROM pg_stat_activity WHERE pid = %d`, conn.pid)[0]
	if got.started != want[0] || got.server != want[1] || got.database != d.name || got.pid != conn.pid || got.recovery {
		t.Errorf("%+v, expected start %v", got, want)
	}
	for later, same := range map[string]bool{
		"7 f 1.5 2.5 a b": true, "7 f 1.5 - a b": true, "8 f 1.5 2.5 a b": false, "7 f 1.6 2.5 a b": false,
		"7 f 1.5 2.6 a b": false, "7 f 1.5 2.5 a": false, "7 t 1.5 2.5 a b": false, "": false, "7": false, "8 f 1.5 - a b": false,
	} {
		if got, _ := sameBackend("7 f 1.5 2.5 a b", later); got != same {
			t.Errorf("%q: same: %v", later, got)
		}
	}
	if _, recovery := sameBackend("7 f 1.5 2.5 a b", "7 t 1.5 2.5 a b"); !recovery {
		t.Error("a standby was not recognised")
	}
}
