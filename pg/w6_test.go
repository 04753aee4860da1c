package pg

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// leftovers are what older code leaves in a session, and a question whose answer is 0 in a clean one.
var leftovers = map[string]struct{ leave, count string }{
	"a lock":               {"SELECT pg_try_advisory_lock(42)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
	"a lock, twice":        {"SELECT pg_try_advisory_lock(42), pg_try_advisory_lock(42)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
	"a shared lock":        {"SELECT pg_advisory_lock_shared(1, 2)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
	"a role":               {"SET ROLE pg_monitor", "SELECT count(*) WHERE current_user <> session_user"},
	"another user":         {"SET SESSION AUTHORIZATION pg_monitor", "SELECT count(*) WHERE session_user = 'pg_monitor'"},
	"a setting":            {"SET work_mem = '99MB'", "SELECT count(*) WHERE current_setting('work_mem') = '99MB'"},
	"a search path":        {"SET search_path = nowhere", "SELECT count(*) WHERE current_setting('search_path') = 'nowhere'"},
	"its own setting":      {"SET my.mark = 'left'", "SELECT count(*) WHERE current_setting('my.mark', true) <> ''"},
	"an encoding":          {"SET client_encoding = LATIN1", "SELECT count(*) WHERE current_setting('client_encoding') <> 'UTF8'"},
	"read-only":            {"SET default_transaction_read_only = on", "SELECT count(*) WHERE current_setting('transaction_read_only') <> 'off'"},
	"read-only, the other": {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE", "SELECT count(*) WHERE current_setting('transaction_isolation') <> 'read committed'"},
	"a name":               {"SET application_name = 'left'", "SELECT count(*) WHERE current_setting('application_name') <> 'theirs'"},
	"a time limit":         {"SET statement_timeout = 60000", "SELECT count(*) WHERE current_setting('statement_timeout') <> '0'"},
	"a subscription":       {"LISTEN channel", "SELECT count(*) FROM pg_listening_channels()"},
	"a temporary table":    {"CREATE TEMPORARY TABLE t (i int)", "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname = 't'"},
	"a prepared statement": {"PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'lockkeeper_%'"},
	"a cursor":             {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE name = 'c'"},
	"a transaction":        {"BEGIN", "SELECT count(*) WHERE now() <> statement_timestamp()"},
	"a failed transaction": {"BEGIN; SELECT pg_try_advisory_lock(42); SELECT 1/0", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"},
}

// dirtySources give connections that have had an earlier life.
func dirtySources(t *testing.T, dsn, leave string) map[string]Source {
	t.Helper()
	soil := func(ctx context.Context, conn *pgconn.PgConn) {
		_, err := conn.Exec(ctx, leave).ReadAll()
		if err != nil && !strings.Contains(leave, "1/0") {
			t.Error(err)
		}
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { soil(ctx, conn.PgConn()); return nil }
	pool, err := pgxpool.NewWithConfig(within(t), config)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*config.ConnConfig)
	t.Cleanup(func() {
		pool.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxIdleConns(3)
	var conns []*sql.Conn
	for range 3 {
		conn, err := db.Conn(within(t))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Raw(func(driverConn any) error {
			soil(within(t), driverConn.(*stdlib.Conn).Conn().PgConn()) //nolint:forcetypeassert // of the stdlib driver
			return nil
		})
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	fromPool, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	fromDB, err := FromDB(db)
	if err != nil {
		t.Fatal(err)
	}
	hooked := parsed(t, dsn)
	hooked.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error { soil(ctx, conn); return nil }
	return map[string]Source{"pgxpool": fromPool, "database/sql": fromDB, "AfterConnect": fromConfig(t, hooked)}
}

func TestW6_SessionsBeginClean(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := d.dsn() + "&application_name=theirs&geqo_threshold=13"
	for left, c := range leftovers {
		for kind, source := range dirtySources(t, dsn, c.leave) {
			t.Run(left+" by "+kind, func(t *testing.T) {
				connector, first := probed(t, source, Config{})
				for which, conn := range map[string]*connection{"first": first, "second": another(t, connector)} {
					if got := conn.ask(t, c.count)[0][0]; got != "0" {
						t.Errorf("the %s session has %s of %s", which, got, left)
					}
					if got := conn.ask(t, "SHOW geqo_threshold")[0][0]; got != "13" {
						t.Errorf("the %s session has lost a setting of the DSN's: %s", which, got)
					}
					if got := conn.ask(t, "SHOW application_name")[0][0]; got != "theirs" {
						t.Errorf("the %s session is named %s", which, got)
					}
					if got := conn.ask(t, "SHOW plan_cache_mode")[0][0]; got != "force_generic_plan" {
						t.Errorf("the %s session lacks a setting of ours: %s", which, got)
					}
				}
			})
		}
	}
}

// What a proxy in session mode does not reset is seen before it is discarded.
func TestW6_AProxyThatResetsNothingIsSeenThroughAPool(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := startBouncer(t, d, map[string]string{"pool_mode": "session", "server_reset_query": ""})
	pool, err := pgxpool.New(within(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	source, err := FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := newTestConnector(t, source, Config{}).probe(within(t)); err == nil {
		closeSocket(conn.conn)
		t.Error("not refused")
	} else if !strings.Contains(err.Error(), "server_reset_query") {
		t.Error(err)
	}
}

// A role's own settings stay: they are no leftover.
func TestW6_TheRolesOwnSettingsStay(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	d.exec(t, "CREATE ROLE acts_as NOLOGIN")
	dsn := d.newRole(t, "actor_of", "work_mem = '7MB'", "role = 'acts_as'")
	d.exec(t, "GRANT acts_as TO actor_of")
	t.Cleanup(func() { d.exec(t, "DROP ROLE acts_as") })
	for kind, source := range dirtySources(t, dsn, "SET work_mem = '9MB'; RESET ROLE") {
		_, conn := probed(t, source, Config{})
		if got := conn.ask(t, "SELECT current_user, current_setting('work_mem')")[0]; got[0] != "acts_as" || got[1] != "7MB" {
			t.Errorf("%s: %v", kind, got)
		}
	}
}
