package pg

import (
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// as is the DSN of another role.
func (d database) as(t testing.TB, role string) string {
	t.Helper()
	u, err := url.Parse(d.dsn())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

// newRole makes a role with settings of its own, which goes with the test.
func (d database) newRole(t testing.TB, name string, settings ...string) string {
	t.Helper()
	d.exec(t, "CREATE ROLE %s LOGIN", name)
	t.Cleanup(func() { d.exec(t, "DROP OWNED BY %s; DROP ROLE %s", name, name) })
	for _, s := range settings {
		d.exec(t, "ALTER ROLE %s IN DATABASE %s SET %s", name, d.name, s)
	}
	return d.as(t, name)
}

func (d database) major(t testing.TB) int {
	t.Helper()
	digits, _, _ := strings.Cut(d.Version(), ".")
	n, err := strconv.Atoi(strings.TrimRight(digits, "abcdefghijklmnopqrstuvwxyz"))
	if err != nil {
		n = 99 // "18beta1" and the like
	}
	return n
}

// needsSessionTimeout skips where the server is too old to end a silent session by itself.
func (d database) needsSessionTimeout(t testing.TB) {
	t.Helper()
	if d.major(t) < 14 {
		t.Skip("PostgreSQL 13 does not end a silent session: what a frozen client holds stays held")
	}
}

// ask sends a statement on a connection that has left pgx's hands.
func (c *connection) ask(t testing.TB, sql string) [][]string {
	t.Helper()
	raw, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for {
		m, err := c.front.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			t.Fatalf("%s: %s", sql, m.Message)
		case *pgproto3.DataRow:
			var row []string
			for _, v := range m.Values {
				row = append(row, string(v))
			}
			rows = append(rows, row)
		case *pgproto3.ReadyForQuery:
			return rows
		}
	}
}

func TestEverySettingIsSet(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := quick()
	config.HealthInterval, config.HealthTimeout = 5*time.Second, 2*time.Second
	config.SessionTimeout, config.WaitSlice = 20*time.Second, 1500*time.Millisecond
	config.ApplicationName = `billing "7" \ it's`
	want := map[string]string{
		"client_connection_check_interval":    "1000",
		"statement_timeout":                   "0",
		"lock_timeout":                        "1500",
		"idle_in_transaction_session_timeout": "0",
		"idle_session_timeout":                "20000",
		"application_name":                    config.ApplicationName,
	}
	tcp := map[string]string{"tcp_keepalives_idle": "7", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
		"tcp_user_timeout": "20000"}
	for kind, dsn := range map[string]string{"unix": d.dsn(), "tcp": d.tcpDSN()} {
		t.Run(kind, func(t *testing.T) {
			p := openDSN(t, dsn, config)
			c, err := p.connector.open(within(t))
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			expected := maps.Clone(want)
			if kind == "tcp" {
				maps.Copy(expected, tcp)
			}
			if d.major(t) < 14 {
				expected["client_connection_check_interval"], expected["idle_session_timeout"] = "", ""
			}
			if d.major(t) >= 17 {
				expected["transaction_timeout"] = "0"
			}
			have := make(map[string]string)
			for _, row := range c.ask(t, "SELECT name, setting FROM pg_settings") {
				have[row[0]] = row[1]
			}
			for name, value := range expected {
				if have[name] != value {
					t.Errorf("%s is %q, expected %q", name, have[name], value)
				}
			}
			for name, why := range p.Stats().Refused {
				if expected[name] != "" || !strings.Contains(why, "this server does not know it") {
					t.Errorf("%s: %s", name, why)
				}
			}
		})
	}
}

func TestApplicationName(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for _, c := range []struct{ dsn, config, want string }{
		{"", "", "lockkeeper"},
		{"&application_name=theirs", "", "theirs"},
		{"&application_name=theirs", "ours", "ours"},
		{"", `{"\,'}`, `{"\,'}`},
		{"", strings.Repeat("x", 100), strings.Repeat("x", 63)},
	} {
		config := quick()
		config.ApplicationName = c.config
		p := openDSN(t, d.dsn()+c.dsn, config)
		pid := newCaller(1).take(t, p).PID()
		rows := d.exec(t, "SELECT application_name FROM pg_stat_activity WHERE pid = %d", pid)
		if len(rows) != 1 || rows[0][0] != c.want {
			t.Errorf("%+v: the server shows %q", c, rows)
		}
		if why := p.Stats().Refused["application_name"]; why != "" {
			t.Errorf("%+v: refused: %s", c, why)
		}
		closePool(t, p)
		d.isEmpty(t)
	}
}

// A role's own limits would end a wait, or a session and all its locks, when they please.
func TestSessionsSurviveTheRolesOwnLimits(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	limits := []string{"idle_session_timeout = '3s'"}
	if d.major(t) < 14 {
		limits = nil
	}
	dsn := d.newRole(t, "limited", append(limits, "statement_timeout = '3s'", "lock_timeout = '3s'",
		"idle_in_transaction_session_timeout = '3s'", "default_transaction_isolation = 'serializable'",
		"client_min_messages = 'debug5'", "bytea_output = 'escape'", "extra_float_digits = 0", "DateStyle = 'German'",
		"standard_conforming_strings = off", "application_name = 'the role'", "exit_on_error = on")...)
	config := quick()
	// The slice is longer than each limit, which a busy machine must not reach while it opens a session.
	config.HealthInterval, config.WaitSlice = 8*time.Second, 4*time.Second
	p := openDSN(t, dsn, config)
	holder := newCaller(1)
	session := holder.take(t, p)
	waiter := newCaller(1)
	own := waiter.reserve(t, p, UseWaiting)
	begin := time.Now()
	if a := waiter.on(t, own, OpWait); a.ok || a.err != nil {
		t.Fatalf("the slice ended with %+v", a)
	}
	if waited := time.Since(begin); waited < config.WaitSlice {
		t.Errorf("the wait ended after %v: the role's limits are in force", waited)
	}
	// The shared session has been idle for longer than the role allows.
	holder.release(t, session)
	if a := waiter.on(t, own, OpWait); !a.ok || a.err != nil {
		t.Errorf("a free lock: %+v", a)
	}
	waiter.release(t, own)
	p.Return(own)
	holder.quiet(t)
	waiter.quiet(t)
}

// Whoever may create functions can lay a trap that says "true" and locks nothing, wherever a name is looked up by the
// search path.
func TestAHostileSearchPathChangesNothing(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	dsn := d.newRole(t, "fooled", "search_path = evil, pg_catalog, public")
	setup := sourceOf(t, d.dsn())
	conn, err := setup.Connect(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer closeConn(conn)
	if _, err := conn.Exec(within(t), hostileSQL).ReadAll(); err != nil {
		t.Fatal(err)
	}
	p, honest := openDSN(t, dsn, quick()), openDSN(t, d.dsn(), quick())
	taken := newCallers(span(1, 10))
	for _, c := range taken {
		c.take(t, honest)
	}
	fooled := newCallers(span(1, 20))
	s := newCaller(1000).take(t, p)
	resume := stall(t, s)
	for _, c := range fooled {
		c.submit(s, OpTry)
	}
	resume()
	for i, c := range fooled {
		if a := c.await(t); a.err != nil || a.ok != (i >= len(taken)) {
			t.Errorf("lock %d: %+v", c.r.ID, a)
		}
	}
	locks := d.locks(t)
	for i, c := range fooled {
		if mine := locks[c.r.ID] == s.PID(); mine != (i >= len(taken)) {
			t.Errorf("lock %d is held by backend %d", c.r.ID, locks[c.r.ID])
		}
	}
	waiter := newCaller(2)
	own := waiter.reserve(t, p, UseWaiting)
	waiter.waits(t, d, own)
	asker := newCaller(2)
	if h := asker.who(t, p); h == nil || h.PID != locks[2] {
		t.Errorf("lock 2 is held by %d, and the answer was %+v", locks[2], h)
	}
	if a := waiter.await(t); a.ok || a.err != nil {
		t.Errorf("the wait: %+v", a)
	}
	fooled[15].release(t, s)
	resume = stall(t, s)
	for _, c := range fooled[16:] {
		c.submit(s, OpUnlock)
	}
	resume()
	for _, c := range fooled[16:] {
		if a := c.await(t); !a.ok || a.err != nil {
			t.Errorf("unlock %d: %+v", c.r.ID, a)
		}
	}
	locks = d.locks(t)
	for _, c := range fooled[15:] {
		if locks[c.r.ID] != 0 {
			t.Errorf("the unlock of %d did not reach the server's own function", c.r.ID)
		}
	}
}

const hostileSQL = `CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO public; SET search_path = evil;
	CREATE FUNCTION pg_try_advisory_lock(bigint) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION pg_try_advisory_lock(int) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION pg_try_advisory_lock(text) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION pg_try_advisory_xact_lock(bigint) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION pg_advisory_unlock(bigint) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION pg_advisory_lock(bigint) RETURNS void LANGUAGE sql AS '';
	CREATE FUNCTION pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION pg_cancel_backend(int) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE FUNCTION current_database() RETURNS name LANGUAGE sql AS 'SELECT ''nowhere''::name';
	CREATE FUNCTION set_config(text, text, bool) RETURNS text LANGUAGE sql AS 'SELECT $2';
	CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS 'SELECT ''on''';
	CREATE FUNCTION current_setting(text, bool) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
	CREATE FUNCTION version() RETURNS text LANGUAGE sql AS 'SELECT ''CockroachDB''';
	CREATE FUNCTION unnest(bigint[]) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT 1::bigint';
	CREATE FUNCTION unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT ''''';
	CREATE FUNCTION concat(text, text) RETURNS text LANGUAGE sql AS 'SELECT ''t''';
	CREATE FUNCTION concat(bool) RETURNS text LANGUAGE sql AS 'SELECT ''t''';
	CREATE FUNCTION date_part(text, timestamptz) RETURNS float8 LANGUAGE sql AS 'SELECT 0::float8';
	CREATE FUNCTION always(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT ''t''';
	CREATE AGGREGATE string_agg(text, text) (SFUNC = always, STYPE = text, INITCOND = 't');
	CREATE FUNCTION never(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false';
	CREATE FUNCTION never(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
	CREATE FUNCTION never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
	CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = never);
	CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = never);
	CREATE OPERATOR = (LEFTARG = int, RIGHTARG = int, FUNCTION = never);
	CREATE DOMAIN int8 AS pg_catalog.int4; CREATE DOMAIN bool AS pg_catalog.text;
	CREATE VIEW pg_settings AS SELECT ''::text AS name, ''::text AS setting WHERE false;
	CREATE VIEW pg_locks AS SELECT 1 AS pid; CREATE VIEW pg_database AS SELECT 1 AS oid;
	CREATE FUNCTION pg_stat_get_activity(int) RETURNS TABLE (pid int) LANGUAGE sql AS 'SELECT 1'`

// A server that is too old for a setting, or refuses one, still gets the rest, and that is told once.
func TestASettingThatTheServerDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.settings = map[string]string{"statement_timeout": "99", "lock_timeout": "99", "tcp_keepalives_idle": "99",
			"idle_in_transaction_session_timeout": "99", "application_name": ""}
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "set" && strings.Contains(string(q.Params[0]), "tcp_keepalives_idle") {
				q.answered, q.Code = true, "22023"
			}
		})
		var told atomic.Int32
		p := openPool(t, f.source(t), Config{Event: func(e Event) {
			if e.Kind == EventRefused {
				told.Add(1)
			}
		}})
		s := newCaller(1).take(t, p)
		newCaller(1).reserve(t, p, UseWaiting) // a second session says nothing new
		have := f.of(t, s).Settings
		for name, want := range map[string]string{"statement_timeout": "0", "lock_timeout": fmt.Sprint(defaultSlice.Milliseconds()),
			"idle_in_transaction_session_timeout": "0", "tcp_keepalives_idle": "99", "application_name": "lockkeeper"} {
			if have[name] != want {
				t.Errorf("%s is %q, expected %q", name, have[name], want)
			}
		}
		refused := p.Stats().Refused
		if !strings.Contains(refused["tcp_keepalives_idle"], "22023") {
			t.Errorf("refused: %v", refused)
		}
		for name, harm := range map[string]string{"idle_session_timeout": "a frozen client keeps its locks",
			"client_connection_check_interval": "stays in the queue", "tcp_user_timeout": ""} {
			if !strings.Contains(refused[name], "does not know it") || !strings.Contains(refused[name], harm) {
				t.Errorf("%s: %q", name, refused[name])
			}
		}
		if why, told := refused["transaction_timeout"]; told {
			t.Errorf("told that there is no limit to take away: %s", why)
		}
		if int(told.Load()) != len(refused) {
			t.Errorf("told %d times of %d settings", told.Load(), len(refused))
		}
	})
}

func TestASettingThatReadsOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		reads := "7000" // the trust: a session would be ended before its holder knows
		f.onStatement(func(s *fakeSession, q *question) {
			if q.Kind == "read back" {
				s.Settings["idle_session_timeout"] = reads
			}
		})
		refused(t, f.source(t), "idle_session_timeout")
		reads = "7001"
		p := openPool(t, f.source(t), Config{})
		want := map[string]string{"idle_session_timeout": "set to 14000, reads 7001"}
		if refused := p.Stats().Refused; !maps.Equal(refused, want) {
			t.Errorf("refused: %v", refused)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for field, c := range map[string]Config{
		"WithHealth interval":    {HealthInterval: -time.Second},
		"WithHealth timeout":     {HealthTimeout: time.Millisecond},
		"WithWaitSlice":          {WaitSlice: -1},
		"WithConnectTimeout":     {ConnectTimeout: 1 << 62},
		"WithCloseTimeout":       {CloseTimeout: -1},
		"WithIdleTime":           {IdleTime: -1},
		"WithSessionTimeout":     {SessionTimeout: 7 * time.Second},
		"WithSharedSessions":     {SharedSessions: -1},
		"WithWaitingSessions":    {WaitingSessions: -1},
		"WithMaxSessions":        {MaxSessions: 1},
		"WithMaxLocksPerSession": {MaxLocksPerSession: -1},
	} {
		f := newFake(t)
		_, err := Open(within(t), f.source(t), c)
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
		if n := f.lastPID; n != 1000 {
			t.Errorf("%s: connected before the config was checked", field)
		}
	}
	c, err := (&Config{HealthInterval: time.Second, WaitSlice: time.Minute, MaxSessions: 3}).WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Trust(), c.SessionTimeout, c.WaitSlice, c.SharedSessions, c.WaitingSessions)
	if got != "3s 6s 1s 2 1" {
		t.Errorf("trust, session timeout, slice, shared and waiting sessions: %s", got)
	}
}
