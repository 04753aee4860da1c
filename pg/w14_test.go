package pg

import (
	"strings"
	"testing"
	"time"
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

// A reload may change settings, and a holder's transaction may. The answer to the health question is the same, and so is what another session hears
// of the backend's start.
func TestW14_SettingsDoNotChangeTheIdentity(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for _, name := range []string{"bücher_" + d.name, "база_" + d.name} { // the second has no form in LATIN1
		d.exec(t, `CREATE DATABASE "%s" ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`, name)
		t.Cleanup(func() { d.exec(t, `DROP DATABASE "%s" WITH (FORCE)`, name) })
		dsn := watch(t, d.Server, name).dsn()
		c, conn := probed(t, sourceOf(t, dsn), Config{})
		asker := another(t, c)
		s := &Solo{session: session{connection: *conn}}
		conn.ask(t, "SELECT pg_catalog.pg_advisory_lock(14)")
		who := strings.Replace(whoStatement.sql, "$1::", "'{14}'::", 1)
		for _, change := range []string{
			"SET extra_float_digits = 0", "SET extra_float_digits = -15", "SET extra_float_digits = 3", "SET client_encoding = 'LATIN1'", "SET bytea_output = 'escape'",
			"SET DateStyle = 'German, DMY'", "SET TimeZone = 'Asia/Kolkata'", "SET IntervalStyle = 'sql_standard'", "SET standard_conforming_strings = off",
			"SET search_path = ''", "SET lc_numeric = 'C'",
		} {
			asker.ask(t, change)
			conn.ask(t, change)
			if later := conn.ask(t, askStatement.sql)[0][0]; later != conn.identity {
				t.Errorf("after %s: %q answered, it was %q", change, later, conn.identity)
			}
			var f sending
			for _, row := range asker.ask(t, who) {
				var values [][]byte
				for _, v := range row {
					values = append(values, []byte(v))
				}
				f.whoRow(values)
			}
			h := f.who[14].Holder
			if h == nil || h.PID != conn.pid || h.SessionSince.IsZero() || !s.beganAt(h.SessionSince) {
				t.Fatalf("after %s: %+v has the lock, which %q had", change, h, conn.identity)
			}
			if s.beganAt(h.SessionSince.Add(time.Microsecond)) {
				t.Errorf("after %s: a session that began a microsecond later is taken for it", change)
			}
		}
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
	want := d.exec(t, `SELECT (extract(epoch FROM backend_start) * 1000000)::int8, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8
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
