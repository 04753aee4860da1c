package manager_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// used is how many connections of the user's pool have had an earlier life. It is more than a manager takes.
const used = 8

// usedPool is a pool of the user's, with connections that were used and given back.
type usedPool struct {
	source manager.Source
	empty  func() // closes what lies idle in the pool
}

// usedPools make such a pool: each of its connections has run the SQL that dirty gives for it.
var usedPools = map[string]func(t *testing.T, config *pgx.ConnConfig, dirty func(i int) []string) usedPool{
	"pgxpool":      usedPgxpool,
	"database/sql": usedDB,
}

func usedPgxpool(t *testing.T, config *pgx.ConnConfig, dirty func(i int) []string) usedPool {
	t.Helper()
	c, err := pgxpool.ParseConfig(config.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	c.ConnConfig, c.MaxConns = config, used
	pool, err := pgxpool.NewWithConfig(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var conns []*pgxpool.Conn
	for i := range used {
		conn, err := pool.Acquire(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		for _, statement := range dirty(i) {
			if _, err := conn.Exec(bounded(t), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, conn := range conns {
		conn.Release()
	}
	source, err := manager.FromPool(pool)
	if err != nil {
		t.Fatal(err)
	}
	return usedPool{source, pool.Reset}
}

func usedDB(t *testing.T, config *pgx.ConnConfig, dirty func(i int) []string) usedPool {
	t.Helper()
	db := stdlib.OpenDB(*config)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxIdleConns(used)
	var conns []*sql.Conn
	for i := range used {
		conn, err := db.Conn(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		for _, statement := range dirty(i) {
			if _, err := conn.ExecContext(bounded(t), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, conn := range conns {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	source, err := manager.FromDB(db)
	if err != nil {
		t.Fatal(err)
	}
	return usedPool{source, func() { db.SetMaxIdleConns(-1) }}
}

// earlier is what older code may have left in a connection.
type earlier struct {
	name  string
	setup []string // before, by an administrator
	dirty func(i int) []string
}

func each(statements ...string) func(int) []string { return func(int) []string { return statements } }

var earlierLives = []earlier{
	{name: "advisory locks", dirty: func(i int) []string {
		return []string{fmt.Sprintf("SELECT pg_advisory_lock(%d)", hashing.FNV1a(leftName(i))), fmt.Sprintf("SELECT pg_advisory_lock(%d)", hashing.FNV1a(leftName(i))),
			"SELECT pg_advisory_lock_shared(4711)", fmt.Sprintf("SELECT pg_advisory_lock(7, %d)", i)}
	}},
	{name: "role", setup: []string{"CREATE ROLE lk_weak",
		"REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(bigint), pg_advisory_lock(bigint), pg_advisory_unlock(bigint) FROM PUBLIC",
	}, dirty: each("SET ROLE lk_weak")},
	{name: "session authorization", setup: []string{"CREATE ROLE lk_weak",
		"REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(bigint), pg_advisory_lock(bigint), pg_advisory_unlock(bigint) FROM PUBLIC",
	}, dirty: each("SET SESSION AUTHORIZATION lk_weak")},
	{name: "settings", dirty: each("SET DateStyle = 'German, DMY'", "SET TimeZone = 'Asia/Tokyo'", "SET IntervalStyle = 'iso_8601'",
		"SET client_encoding = 'LATIN1'", "SET search_path = nowhere", "SET row_security = off")},
	{name: "hidden activity", dirty: each("SET track_activities = off")},
	{name: "application name", dirty: each("SET application_name = 'lk left over'")},
	{name: "LISTEN", dirty: each("LISTEN lk_left")},
	{name: "temporary table", dirty: each("CREATE TEMP TABLE pg_locks (i int)", "CREATE TEMP TABLE left_over (i int)")},
	{name: "default_transaction_read_only", dirty: each("SET default_transaction_read_only = on")},
	{name: "session characteristics", dirty: each("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY")},
}

func leftName(i int) string { return fmt.Sprint("left ", i) }

// W6. A session that comes out of the user's pool begins clean, whatever its earlier life has left in it.
func TestW6SessionsBeginClean(t *testing.T) {
	for pool, makePool := range usedPools {
		for _, life := range earlierLives {
			t.Run(pool+" "+life.name, func(t *testing.T) {
				s, database := pgtest.NewDatabase(t)
				leakFree(t, s)
				admin := connectTo(t, s.DSNOf(database))
				for _, statement := range life.setup {
					adminExec(t, admin, statement)
				}
				t.Cleanup(func() { query(t, s, "DROP ROLE IF EXISTS lk_weak") })
				config, err := pgx.ParseConfig(s.DSNOf(database) + "&application_name=lk%20test")
				if err != nil {
					t.Fatal(err)
				}
				var wires taps
				config.DialFunc = wires.dial
				given := makePool(t, config, life.dirty)
				var pids []int
				for _, w := range wires.list() {
					pid, _, _, _ := w.look()
					pids = append(pids, pid)
				}
				m := openFrom(t, s, given.source)
				locks := []*manager.Lock{acquire(t, m, "a"), acquire(t, m, "b", manager.WithDedicatedSession())}
				given.empty()
				wantClean(t, s, admin, m, &wires, pids)
				for _, lock := range locks {
					release(t, lock)
				}
				other := connectManager(t, s, database)
				for i := range used { // each of them may have been some session's
					takeAndRelease(t, m, leftName(i))
					takeAndRelease(t, other, leftName(i))
				}
			})
		}
	}
}

// wantClean looks at the manager's sessions from outside: by what the server shows of them, and by what they report.
func wantClean(t *testing.T, s *pgserver.Server, admin *pgx.Conn, m *manager.Manager, wires *taps, earlierPIDs []int) {
	t.Helper()
	sessions := func() [][]string {
		return query(t, s, "SELECT pid, application_name, state FROM pg_stat_activity WHERE application_name LIKE 'lk %'")
	}
	eventually(t, "the pool is empty", func() bool { return len(sessions()) == m.Stats().Sessions.Total() })
	reused := 0
	for _, row := range sessions() {
		if slices.Contains(earlierPIDs, int(number(t, row[0]))) {
			reused++
		}
		if row[1] != applicationName || row[2] == "disabled" {
			t.Errorf("a session: %v", row)
		}
	}
	t.Logf("%d of %d sessions had an earlier life", reused, len(sessions()))
	if rows := query(t, s, "SELECT pid, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory'"); len(rows) != 2 {
		t.Errorf("two locks are held, the server has %v", rows)
	}
	var temporary int
	if err := admin.QueryRow(bounded(t), "SELECT count(*) FROM pg_class WHERE relpersistence = 't'").Scan(&temporary); err != nil {
		t.Fatal(err)
	}
	if temporary != 0 {
		t.Errorf("%d temporary tables are left", temporary)
	}
	adminExec(t, admin, "NOTIFY lk_left, 'hello'")
	for range 5 { // what was notified has arrived when the next answer has
		takeAndRelease(t, m, "round trip")
		takeAndRelease(t, m, "round trip of its own", manager.WithDedicatedSession())
	}
	fresh := map[string]string{"DateStyle": "ISO, MDY", "TimeZone": "UTC", "IntervalStyle": "postgres", "client_encoding": "UTF8",
		"application_name": applicationName, "default_transaction_read_only": "off", "search_path": `"$user", public`}
	for _, w := range wires.list() {
		pid, status, notes, open := w.look()
		if !open {
			continue
		}
		if notes != 0 {
			t.Errorf("backend %d listens", pid)
		}
		for name, want := range fresh {
			if got, reported := status[name]; reported && got != want {
				t.Errorf("backend %d has %s = %s, not %s", pid, name, got, want)
			}
		}
	}
}

func connectTo(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func adminExec(t *testing.T, admin *pgx.Conn, statement string) {
	t.Helper()
	if _, err := admin.Exec(bounded(t), statement); err != nil {
		t.Fatal(err)
	}
}

// connectManager is another program's, in the same database.
func connectManager(t *testing.T, s *pgserver.Server, database string) *manager.Manager {
	t.Helper()
	m, err := manager.Open(bounded(t), s.DSNOf(database)+"&application_name=lk%20test")
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, m)
	return m
}
