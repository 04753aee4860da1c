package manager

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// LockInfo is one lock that somebody holds, or waits for.
type LockInfo struct {
	ID int64
	// Key is its name, where a key with this id is in use in this process; else it is empty: the server knows numbers only. With
	// [WithHashes] two ids have one name.
	Key string
	// Holders are the sessions that hold it: one, unless they share it.
	Holders []LockSession
	// Waiters are the sessions in the server's queue for it, the longest wait first. All callers in one process are one session; keys that
	// wait without one are polled for, and are not here.
	Waiters []LockSession
}

// LockSession is a session at the server that holds a lock or waits for one.
type LockSession struct {
	PID             uint32
	ApplicationName string
	ClientAddr      string // empty for a socket of the server's own machine
	// Since is when the session began. PostgreSQL does not record when a lock was granted. It is zero for a session of another role, unless this
	// manager's has pg_read_all_stats: the server does not say.
	Since time.Time
	// Shared: it shares the lock with others.
	Shared bool
	// Waited is how long it has waited in the server's queue, so far as the server says (PostgreSQL 14 and later). A session waits for a slice at
	// a time: see [WithWaitSlice].
	Waited time.Duration
}

// locksSQL is in docs/operations.md as a view, in the form that people write.
const locksSQL = `SELECT (l.classid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) l.objid::pg_catalog.int8,
 l.granted, l.mode OPERATOR(pg_catalog.=) 'ShareLock'::pg_catalog.text, l.pid, a.application_name, pg_catalog.host(a.client_addr),
 (pg_catalog.date_part('epoch', a.backend_start) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
 CASE WHEN NOT l.granted THEN (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
  (pg_catalog.to_jsonb(l) OPERATOR(pg_catalog.->>) 'waitstart'::pg_catalog.text)::pg_catalog.timestamptz)
  OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 END AS waited
 FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
 WHERE NOT pg_catalog.pg_is_in_recovery() AND l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text AND l.objsubid OPERATOR(pg_catalog.=) 1::pg_catalog.int2
 AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d
  WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
 ORDER BY 1, waited DESC NULLS LAST, l.pid`

// Locks lists every advisory lock with a 64-bit id in the database, by id: those of all managers and of anybody else. It asks the
// server on a connection of its own, and makes it read its whole lock table; ctx bounds it.
func (m *Manager) Locks(ctx context.Context) ([]LockInfo, error) {
	if ctx == nil {
		return nil, fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	rows, err := m.pool.Query(ctx, "listing the locks", locksSQL)
	if err != nil {
		return nil, fmt.Errorf("lockkeeper: list the locks: %w", err)
	}
	var all []LockInfo
	for _, row := range rows {
		var n [4]int64
		for i, column := range [...]int{0, 3, 6, 7} {
			if row[column] == "" {
				continue
			}
			if n[i], err = strconv.ParseInt(row[column], 10, 64); err != nil {
				return nil, fmt.Errorf("lockkeeper: list the locks: the server answers %q: %w", row, err)
			}
		}
		if len(all) == 0 || all[len(all)-1].ID != n[0] {
			all = append(all, LockInfo{ID: n[0], Key: m.supervisor.NameOf(n[0])})
		}
		lock := &all[len(all)-1]
		s := LockSession{PID: uint32(n[1]), ApplicationName: row[4], ClientAddr: row[5], Shared: row[2] == "t", Waited: time.Duration(n[3]) * time.Microsecond}
		if row[6] != "" {
			s.Since = time.UnixMicro(n[2])
		}
		if row[1] == "t" {
			lock.Holders = append(lock.Holders, s)
		} else {
			lock.Waiters = append(lock.Waiters, s)
		}
	}
	return all, nil
}

// terminateSQL ends the session that it names by pid, start and application, if there is one.
const terminateSQL = `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a
 WHERE a.pid OPERATOR(pg_catalog.=) %d
 AND (pg_catalog.date_part('epoch', a.backend_start) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 OPERATOR(pg_catalog.=) %d
 AND a.application_name OPERATOR(pg_catalog.=) pg_catalog.convert_from(pg_catalog.decode('%s', 'hex'), 'UTF8')`

// Terminate ends a session that [Manager.Locks] has listed, with all its locks, whoever has it: their holders lose them. It does so only if the
// session's pid, beginning and application are still those, since pids are used again; else the error is [ErrSessionGone]. The
// role needs the right to end it: its own sessions, or pg_signal_backend and, to see when another role's session began, pg_read_all_stats;
// without that the error is [ErrSessionHidden]. It returns when the server has sent the signal.
func (m *Manager) Terminate(ctx context.Context, s LockSession) error {
	if ctx == nil {
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if s.Since.IsZero() {
		return fmt.Errorf("lockkeeper: terminate pid %d: %w", s.PID, ErrSessionHidden)
	}
	sql := fmt.Sprintf(terminateSQL, s.PID, s.Since.UnixMicro(), hex.EncodeToString([]byte(s.ApplicationName)))
	switch rows, err := m.pool.Query(ctx, "ending a session", sql); {
	case err != nil:
		return fmt.Errorf("lockkeeper: terminate pid %d: %w", s.PID, err)
	case len(rows) == 0:
		return fmt.Errorf("lockkeeper: terminate pid %d: %w", s.PID, ErrSessionGone)
	case rows[0][0] != "t":
		return fmt.Errorf("lockkeeper: terminate pid %d: the server could not send the signal: %w", s.PID, ErrSessionGone)
	}
	return nil
}
