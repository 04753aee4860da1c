package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/manager"
)

// checkRole asks for rights. A superuser has all of them.
func (p *patient) checkRole(ctx context.Context) {
	const name = "role"
	row, err := p.ask(ctx, `SELECT
		has_function_privilege('pg_advisory_lock(bigint)', 'EXECUTE') AND has_function_privilege('pg_try_advisory_lock(bigint)', 'EXECUTE')
			AND has_function_privilege('pg_advisory_unlock(bigint)', 'EXECUTE'),
		coalesce((SELECT has_language_privilege(lanname, 'USAGE') FROM pg_language WHERE lanname = 'plpgsql'), false),
		pg_has_role('pg_read_all_stats', 'USAGE'), pg_has_role('pg_signal_backend', 'USAGE'),
		quote_ident(current_user)`)
	if err != nil {
		p.skip(name, oneLine(err))
		return
	}
	yes := func(i int) bool { return row[i] == "t" }
	role := row[4]
	if !yes(0) {
		p.fail(name, "it may not execute the advisory lock functions", "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint), pg_try_advisory_lock(bigint), "+
			"pg_advisory_unlock(bigint) TO "+role)
	}
	if !yes(1) {
		p.warn(name, "it may not use PL/pgSQL: each 0.8 s of waiting writes a line to the server's log", "GRANT USAGE ON LANGUAGE plpgsql TO "+role)
	}
	if !yes(2) {
		p.warn(name, "it sees only its own role's sessions: a holder of another role is shown as a pid without a name", "GRANT pg_read_all_stats TO "+role)
	}
	if yes(0) && yes(1) && yes(2) {
		detail := "it may lock, wait quietly and see who holds"
		if yes(3) {
			detail += ", and end others' sessions"
		}
		p.ok(name, "%s", detail)
	}
}

// waitSliceMillis is how long a waiter is in the server's queue at a time, by the library's default.
const waitSliceMillis = 800

// checkSettings looks at what the manager's sessions could not set, and at the server's own.
func (p *patient) checkSettings(ctx context.Context, stats *manager.Stats) {
	const name = "settings"
	found := false
	if stats != nil && len(stats.SettingsRefused) > 0 {
		found = true
		var refused []string
		for _, setting := range slices.Sorted(maps.Keys(stats.SettingsRefused)) {
			refused = append(refused, setting+": "+stats.SettingsRefused[setting])
		}
		p.warn(name, "our sessions cannot set "+strings.Join(refused, "; "),
			"locks exclude without them, but those of a frozen or cut off process may stay longer: docs/operations.md says what each is for")
	}
	row, err := p.ask(ctx, `SELECT
		(SELECT setting FROM pg_settings WHERE name = 'deadlock_timeout'), (SELECT setting FROM pg_settings WHERE name = 'log_lock_waits'),
		(SELECT setting FROM pg_settings WHERE name = 'log_min_duration_statement')`)
	if err != nil {
		p.skip(name, oneLine(err))
		return
	}
	deadlock, _ := strconv.Atoi(row[0])
	if deadlock <= waitSliceMillis {
		found = true
		p.warn(name, fmt.Sprintf("deadlock_timeout is %d ms, not above the wait slice of %d ms: waiting is logged and searched for deadlocks",
			deadlock, waitSliceMillis), "ALTER SYSTEM SET deadlock_timeout = '1s', its default; or WithWaitSlice below it")
	}
	if slow, err := strconv.Atoi(row[2]); err == nil && slow >= 0 && slow < waitSliceMillis {
		found = true
		p.warn(name, fmt.Sprintf("log_min_duration_statement is %d ms: each slice of waiting is logged as a slow statement", slow),
			"ALTER ROLE ... SET log_min_duration_statement for this role, to 1s or -1")
	}
	if !found {
		p.ok(name, "the session's are taken, the server's suit")
	}
}

// checkLockTable compares what is in use with the room.
func (p *patient) checkLockTable(ctx context.Context) {
	const name = "lock table"
	row, err := p.ask(ctx, `SELECT current_setting('max_locks_per_transaction')::bigint *
		(current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
		(SELECT count(*) FROM pg_locks WHERE NOT fastpath), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')`)
	if err != nil {
		p.skip(name, oneLine(err))
		return
	}
	room, _ := strconv.Atoi(row[0])
	used, _ := strconv.Atoi(row[1])
	detail := fmt.Sprintf("%d of about %d places in use, %s by advisory locks", used, room, row[2])
	if 2*used > room {
		p.warn(name, detail, "raise max_locks_per_transaction, which needs a restart: when the table is full, everybody's statements fail")
		return
	}
	p.ok(name, "%s", detail)
}

// neededConnections is what one process with a manager may use under load.
const neededConnections = 21

// checkConnections looks at the tightest of three limits.
func (p *patient) checkConnections(ctx context.Context) {
	const name = "connections"
	row, err := p.ask(ctx, `WITH used AS (SELECT usename, datname FROM pg_stat_activity WHERE backend_type = 'client backend'),
		server AS (SELECT current_setting('max_connections')::int AS most, current_setting('superuser_reserved_connections')::int
			+ coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved, (SELECT count(*) FROM used) AS used)
		SELECT most - reserved - used AS free, format('max_connections %s, %s of them reserved and %s in use', most, reserved, used) FROM server
		UNION ALL SELECT rolconnlimit - (SELECT count(*) FROM used WHERE usename = current_user), format('the role''s limit is %s', rolconnlimit)
			FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0 AND NOT rolsuper
		UNION ALL SELECT datconnlimit - (SELECT count(*) FROM used WHERE datname = current_database()), format('the database''s limit is %s', datconnlimit)
			FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0
		ORDER BY free LIMIT 1`)
	if err != nil {
		p.skip(name, oneLine(err))
		return
	}
	free, _ := strconv.Atoi(row[0])
	detail := fmt.Sprintf("%d are free: %s", free, row[1])
	if p.proxy {
		detail += "; the pooler has a limit of its own"
	}
	if free < neededConnections {
		p.warn(name, detail, fmt.Sprintf("a process under load uses up to %d: raise the limit, or bound it by WithMaxSessions; \"lockkeeper run\" needs two", neededConnections))
		return
	}
	p.ok(name, "%s", strings.TrimSpace(detail))
}
