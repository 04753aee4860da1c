// Package pgfake plays PostgreSQL in tests: it knows the statements that this library sends, takes them apart, does what
// touches no lock, and composes the answers, all as protocol messages. It has no goroutine, no clock, no connection and no
// locks: its users bring these, and with them the misbehaviour that they are about.
package pgfake

import "strings"

// The kinds of statements that the library sends.
const (
	Wait         = "wait"       // in a block that catches the end of the time
	PlainWait    = "plain wait" // where there is no PL/pgSQL
	Set          = "set"
	ReadBack     = "read back"
	Batch        = "batch"
	TryXact      = "try in transaction"
	Try          = "try"
	Unlock       = "unlock"
	Ask          = "ask"
	Discard      = "discard"
	ResetRole    = "reset role"
	Encoding     = "encoding"
	NameSession  = "name the session"
	Who          = "who"
	AllLocks     = "all locks"
	Marks        = "marks"
	Terminate    = "terminate"
	DatabaseName = "database"
	WhoAmI       = "who am I"
	PID          = "pid"
	Timeline     = "timeline"
	Version      = "version"
	Recovery     = "recovery"
	ReadOnly     = "read only"
	Begin        = "begin"
	Rollback     = "rollback"
	Notify       = "notify"
	Listen       = "listen"
)

// kinds are recognised by a part of their text. The first that fits counts.
var kinds = []struct{ part, kind string }{
	{"DO $lockkeeper$", Wait}, {"THEN pg_catalog.pg_advisory_lock", PlainWait},
	{"edge AS MATERIALIZED", Marks}, {"AS waited", AllLocks}, {"pg_terminate_backend", Terminate}, {"pg_locks", Who},
	{"set_config(v.name, v.value, false)", Set}, {"current_setting(v.name, true)\n FROM", ReadBack},
	{"unnest($1::pg_catalog.int8[])", Batch}, {"pg_try_advisory_xact_lock", TryXact},
	{"pg_try_advisory_lock", Try}, {"pg_advisory_unlock", Unlock},
	{"pg_stat_get_activity", Ask}, {"DISCARD ALL", Discard}, {"RESET ROLE", ResetRole}, {"SET client_encoding", Encoding},
	{"current_setting('application_name')", NameSession}, {"current_database", DatabaseName},
	{"pg_postmaster_start_time", WhoAmI}, {"pg_backend_pid", PID}, {"pg_control_system", Timeline}, {"version()", Version},
	{"transaction_read_only", ReadOnly}, {"pg_is_in_recovery", Recovery}, {"BEGIN", Begin}, {"ROLLBACK", Rollback},
	{"pg_notify", Notify}, {"LISTEN", Listen},
}

// kindOf returns the text itself for a statement that is not known.
func kindOf(sql string) string {
	for _, k := range kinds {
		if strings.Contains(sql, k.part) {
			return k.kind
		}
	}
	return sql
}
