package pg

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// setting is one that every session sets for itself: with SET after connecting, since poolers refuse unknown start-up
// parameters and a server that does not know one would refuse the connection.
type setting struct {
	name  string
	value string // in the setting's base unit
	// unit is that unit, where the setting is a time.
	unit time.Duration
	tcp  bool // no meaning on a unix socket
	// without is what it means that a server does not know it; empty where that is no harm.
	without string
}

func (c *Config) settings() []setting {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	seconds := func(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
	const probes = 3
	interval := seconds((c.SessionTimeout - c.Trust()) / probes)
	return []setting{
		// The role's or the database's own limits would end a wait, or the session with all its locks, when they please.
		{name: "statement_timeout", value: "0"},
		{name: "idle_in_transaction_session_timeout", value: "0"},
		{name: "transaction_timeout", value: "0"}, // since 17; before, there is no such limit
		{name: "exit_on_error", value: "off"},     // the error that ends a slice would end the session
		// One slice of waiting; see Config.WaitSlice. Nothing else that we send waits for a lock.
		{name: "lock_timeout", value: ms(c.WaitSlice), unit: time.Millisecond, without: "a wait for a lock pins what vacuum could clean"},
		// The only one that frees a lock whose holder is frozen, or whose middlebox still acknowledges. Since 14.
		{name: "idle_session_timeout", value: ms(c.SessionTimeout), unit: time.Millisecond, without: "a frozen client keeps its locks until it is " +
			"killed, and one behind a middlebox that goes on acknowledging for as long as that does"},
		// Without it a waiter whose client died stays in the queue and is granted the lock. Since 14.
		{name: "client_connection_check_interval", value: "1000", unit: time.Millisecond, without: "a waiter whose client died stays in the queue " +
			"until its slice is over, and may be granted the lock meanwhile"},
		// A silent partition is seen by keepalives while idle, and by the user timeout once an answer is not
		// acknowledged, which switches the keepalives off: both are needed. None ends a session before SessionTimeout.
		{name: "tcp_keepalives_idle", value: strconv.Itoa(seconds(c.Trust())), unit: time.Second, tcp: true},
		{name: "tcp_keepalives_interval", value: strconv.Itoa(interval), unit: time.Second, tcp: true},
		{name: "tcp_keepalives_count", value: strconv.Itoa(probes), tcp: true},
		{name: "tcp_user_timeout", value: ms(c.SessionTimeout), unit: time.Millisecond, tcp: true},
		// A hint to other managers is a transaction of its own, and need outlive nothing.
		{name: "synchronous_commit", value: "off"},
		// The statements are few and always the same: planning them anew for their parameters gains nothing.
		{name: "plan_cache_mode", value: "force_generic_plan"},
	}
}

// localSettings are those of a session that lives in a transaction. They end with it. What keeps a session alive or ends it is a matter
// between the pooler and the server, but for the lease.
func (c *Config) localSettings() []setting {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return []setting{
		// The only one that ends a session whose client is frozen, since the transaction is idle then.
		{name: "idle_in_transaction_session_timeout", value: ms(c.SessionTimeout), unit: time.Millisecond},
		{name: "statement_timeout", value: "0"},
		{name: "transaction_timeout", value: "0"},
		{name: "exit_on_error", value: "off"},
		{name: "lock_timeout", value: ms(c.WaitSlice), unit: time.Millisecond, without: "a wait for a lock pins what vacuum could clean"},
		{name: "client_connection_check_interval", value: "1000", unit: time.Millisecond, without: "a waiter whose pooler died stays in the queue " +
			"until its slice is over, and may be granted the lock meanwhile"},
		{name: "plan_cache_mode", value: "force_generic_plan"},
		{name: "client_encoding", value: "UTF8"}, // of the names that are said
		{name: "application_name", value: c.ApplicationName},
	}
}

// What this server does not know is left out, before set_config would fail on it. (Measured: in a new backend this takes 0.8 ms, and 3.8 ms where
// it is joined with pg_settings, which describes all settings for that.)
const setSQL = `SELECT v.name, pg_catalog.set_config(v.name, v.value, false)
 FROM ` + settingsSQL + `
 WHERE pg_catalog.current_setting(v.name, true) IS NOT NULL`

// localSetSQL makes the settings for the transaction, and has no rows. It reads no view, which would stay locked. An empty value, which the
// name of a session may have, is what the setting has, else our own name.
const localSetSQL = `SELECT FROM ` + settingsSQL + `
 WHERE CASE WHEN pg_catalog.current_setting(v.name, true) IS NULL THEN false
 ELSE pg_catalog.set_config(v.name, CASE WHEN v.value OPERATOR(pg_catalog.<>) ''::pg_catalog.text THEN v.value
  WHEN pg_catalog.current_setting(v.name) OPERATOR(pg_catalog.<>) ''::pg_catalog.text THEN pg_catalog.current_setting(v.name)
  ELSE '` + defaultApplication + `'::pg_catalog.text END, true) IS NULL END`

const settingsSQL = `ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS v(name, value)`

// readBackSQL reads what is known of the settings. (0.1 ms, and 2.6 ms from pg_settings.)
const readBackSQL = `SELECT v.name, pg_catalog.current_setting(v.name, true)
 FROM pg_catalog.unnest($1::pg_catalog.text[]) AS v(name)
 WHERE pg_catalog.current_setting(v.name, true) IS NOT NULL AND ` + volatile

// timeUnits are those in which current_setting says a time: in the largest that gives a whole number. (PostgreSQL's guc.c, time_unit_conversion_table.)
var timeUnits = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// inUnit is what current_setting says, as a number of the setting's unit where it is a time.
func (s setting) inUnit(text string) string {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, isTime := timeUnits[text[len(digits):]]
	if err != nil || !isTime || s.unit == 0 {
		return text
	}
	return strconv.FormatInt(int64(time.Duration(n)*unit/s.unit), 10)
}

// applicationSQL names the session where nobody else has.
const applicationSQL = `SELECT pg_catalog.set_config('application_name', $1::pg_catalog.text, false)
 WHERE pg_catalog.current_setting('application_name') OPERATOR(pg_catalog.=) ''::pg_catalog.text`

// notTaken compares what the settings read with what they were set to, and says why one differs. What a server is too old
// for, or refuses, does not stop the session: it then has the best that this server can do.
func notTaken(settings []setting, have, failed map[string]string, unix bool) map[string]string {
	refused := make(map[string]string)
	for _, s := range settings {
		value, known := have[s.name]
		switch {
		case failed[s.name] != "":
			refused[s.name] = failed[s.name]
		case !known && s.name == "transaction_timeout":
		case !known:
			refused[s.name] = "this server does not know it"
			if s.without != "" {
				refused[s.name] += ": " + s.without
			}
		case value != s.value && !(s.tcp && unix) && s.name != "application_name": // a name is cut to 63 bytes
			refused[s.name] = fmt.Sprintf("set to %s, reads %s", s.value, value)
		}
	}
	return refused
}

func isUnix(conn net.Conn) bool {
	_, unix := conn.RemoteAddr().(*net.UnixAddr)
	return unix
}

// leaseHolds refuses a session which the server ends before its holder can know, and one that needs a lease which the server does not take.
func (c *connector) leaseHolds(have map[string]string) error {
	scope := c.config.scope
	limit, err := strconv.ParseInt(have[scope.lease], 10, 64)
	switch {
	case scope.required && (err != nil || limit == 0):
		return unsafeBecause("the server does not take %s, without which it would keep the locks of a frozen program for ever"+balanceCure,
			scope.lease)
	case err != nil || limit == 0 || limit > c.config.Trust().Milliseconds(): // none, or later than that
		return nil //nolint:nilerr // an older server has no such limit
	}
	return unsafeBecause("the server ends a session after %d ms of silence and takes no other %s, while its "+
		"holder would believe in it for %v: lower the health interval and timeout (WithHealth) so that their sum is less, or "+
		"take that limit away", limit, scope.lease, c.config.Trust())
}

func (c *connector) publishRefused(refused map[string]string) {
	if !c.refused.CompareAndSwap(nil, &refused) { //arch:publishes what the server refused: it is told once
		return
	}
	for name, why := range refused {
		c.config.Event(Event{Kind: EventRefused, Cause: name + ": " + why})
	}
}

func names(settings []setting) []byte {
	return textArray(settings, func(s setting) string { return s.name })
}
func values(settings []setting) []byte {
	return textArray(settings, func(s setting) string { return s.value })
}

// textArray is text[] in its text form; backslash and quote are its only special characters inside quotes.
func textArray(settings []setting, of func(setting) string) []byte {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var b strings.Builder
	for i, s := range settings {
		b.WriteString([...]string{"{", ","}[min(i, 1)])
		b.WriteString(`"` + escape.Replace(of(s)) + `"`)
	}
	return []byte(b.String() + "}")
}
