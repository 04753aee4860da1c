package pg

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"
)

// A statement is prepared on every session at its opening. Each name in it carries its schema, operators too: with a
// hostile search_path a function of the same name, or a better matching overload, would be found instead, say "true" and
// lock nothing.
//
// Each asks whether the server is in recovery. A proxy that sends reads to standbys, each statement by itself, may send one of these there, where every
// lock is free: then it does nothing to a lock, and answers null or "s". And the function is volatile, by which pgpool-II sees that
// the statement is none of those reads.
type statement struct {
	name   string
	sql    string
	params []uint32
}

var (
	tryStatement = statement{"lockkeeper_try",
		"SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8) END", []uint32{pgtype.Int8OID}}

	unlockStatement = statement{"lockkeeper_unlock",
		"SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_advisory_unlock($1::pg_catalog.int8) END", []uint32{pgtype.Int8OID}}

	// One round trip for many locks. Each function is called once per id, outside any filter (a plan may evaluate a
	// filter twice), and answers one letter, in the order of the ids.
	batchStatement = statement{"lockkeeper_batch", `SELECT
 (SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.pg_is_in_recovery() THEN 's'::pg_catalog.text WHEN pg_catalog.pg_advisory_unlock(u.id) THEN 't'::pg_catalog.text ELSE 'f'::pg_catalog.text END, ''::pg_catalog.text)
    FROM pg_catalog.unnest($1::pg_catalog.int8[]) AS u(id)),
 (SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.pg_is_in_recovery() THEN 's'::pg_catalog.text WHEN pg_catalog.pg_try_advisory_lock(t.id) THEN 't'::pg_catalog.text ELSE 'f'::pg_catalog.text END, ''::pg_catalog.text)
    FROM pg_catalog.unnest($2::pg_catalog.int8[]) AS t(id))`,
		[]uint32{pgtype.Int8ArrayOID, pgtype.Int8ArrayOID}}

	// The same with a mode for each id: whether it is, or is to be, shared. Statements without a shared lock do without it, which
	// makes them cheaper.
	modesStatement = statement{"lockkeeper_modes", `SELECT
 (SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.pg_is_in_recovery() THEN 's'::pg_catalog.text WHEN CASE WHEN u.shared THEN pg_catalog.pg_advisory_unlock_shared(u.id) ELSE pg_catalog.pg_advisory_unlock(u.id) END
    THEN 't'::pg_catalog.text ELSE 'f'::pg_catalog.text END, ''::pg_catalog.text)
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int8[]), pg_catalog.unnest($2::pg_catalog.bool[])) AS u(id, shared)),
 (SELECT pg_catalog.string_agg(CASE WHEN pg_catalog.pg_is_in_recovery() THEN 's'::pg_catalog.text WHEN CASE WHEN t.shared THEN pg_catalog.pg_try_advisory_lock_shared(t.id) ELSE pg_catalog.pg_try_advisory_lock(t.id) END
    THEN 't'::pg_catalog.text ELSE 'f'::pg_catalog.text END, ''::pg_catalog.text)
    FROM ROWS FROM (pg_catalog.unnest($3::pg_catalog.int8[]), pg_catalog.unnest($4::pg_catalog.bool[])) AS t(id, shared))`,
		[]uint32{pgtype.Int8ArrayOID, pgtype.BoolArrayOID, pgtype.Int8ArrayOID, pgtype.BoolArrayOID}}

	// Who holds some ids, and who waits for them. PostgreSQL does not record when a lock was granted: the start of the session is what it
	// knows.
	// (The view pg_stat_activity would be 1 ms more for each session that opens: it joins two catalogs.)
	// (The ids are looked up in a hash, which the planner would not choose for a join: 512 of them among 10,000 locks took 190 ms.)
	whoStatement = statement{"lockkeeper_who", `SELECT k.id::pg_catalog.text, l.pid::pg_catalog.text, a.application_name, pg_catalog.host(a.client_addr),
 ` + microseconds("a.backend_start") + `::pg_catalog.text, l.granted::pg_catalog.text
 FROM pg_catalog.pg_locks AS l CROSS JOIN LATERAL
 (SELECT (l.classid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) l.objid::pg_catalog.int8 AS id) AS k
 LEFT JOIN LATERAL pg_catalog.pg_stat_get_activity(l.pid) AS a ON a.pid OPERATOR(pg_catalog.=) l.pid
 WHERE NOT pg_catalog.pg_is_in_recovery()
 AND l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text AND l.objsubid OPERATOR(pg_catalog.=) 1::pg_catalog.int2
 AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d
  WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
 AND CASE WHEN k.id OPERATOR(pg_catalog.=) ANY (SELECT w.id FROM pg_catalog.unnest($1::pg_catalog.int8[]) AS w(id)) THEN true ELSE false END`,
		[]uint32{pgtype.Int8ArrayOID}}

	// Tells other managers of locks. With synchronous_commit off its commit waits for no disk.
	hintStatement = statement{"lockkeeper_hint", "SELECT pg_catalog.pg_notify('" + hintChannel + "'::pg_catalog.text, $1::pg_catalog.text)",
		[]uint32{pgtype.TextOID}}

	statements = []*statement{&tryStatement, &unlockStatement, &batchStatement, &modesStatement, &askStatement, &whoStatement,
		&hintStatement}
)

// waitSQL waits for a lock in the server's queue, for as long as lock_timeout says, and answers t or f. A plain wait whose time is
// over is an ERROR line in the server's log; inside a block that catches it, it is none. The error does not say that the lock was not
// granted: the grant and the end of the time may meet. So the lock is tried: mostly another has it, and the answer is f. Where
// the try succeeds the lock was free, or was held already and is now held twice; one unlock later the lock table tells which. It is asked for this
// lock in this mode: the backend may have others, of a trigger that runs at the log-in, or of whoever had it before where a pooler does not reset it.
// The answer is a setting for as long as the transaction lasts, which is that of the message unless the session has one.
// (The try is for the same mode: one for another would fail where others queue, although this session holds the lock.) waitText fills it in.
var waitSQL = `DO $lockkeeper$
DECLARE
 id CONSTANT pg_catalog.int8 := '%[1]d'::pg_catalog.int8;
 answer pg_catalog.text := 't';
BEGIN
 BEGIN
  PERFORM pg_catalog.pg_advisory_lock%[2]s(id);
 EXCEPTION WHEN lock_not_available OR query_canceled THEN
  answer := 'f';
  IF pg_catalog.pg_try_advisory_lock%[2]s(id) THEN
   PERFORM pg_catalog.pg_advisory_unlock%[2]s(id);
   IF EXISTS (SELECT FROM ` + ownLock("'%[3]s'", "'%[4]d'", "'%[5]d'") + `) THEN
    answer := 't';
   END IF;
  END IF;
 END;
 PERFORM pg_catalog.set_config('lockkeeper.answer', answer, true);
END
$lockkeeper$; SELECT pg_catalog.current_setting('lockkeeper.answer')`

// plainWaitSQL is for servers without PL/pgSQL.
const plainWaitSQL = "SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_advisory_lock%[2]s('%[1]d'::pg_catalog.int8) END"

// ownLock is the row of pg_locks, as l, for a lock that this session has itself: in a mode, of an id of which these are the two halves.
func ownLock(mode, high, low string) string {
	return `pg_catalog.pg_locks AS l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text
 AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.granted AND l.mode OPERATOR(pg_catalog.=) ` + mode + `::pg_catalog.text
 AND l.objsubid OPERATOR(pg_catalog.=) 1::pg_catalog.int2 AND l.classid OPERATOR(pg_catalog.=) ` + high + `::pg_catalog.oid
 AND l.objid OPERATOR(pg_catalog.=) ` + low + `::pg_catalog.oid AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d
  WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())`
}

// waitText is waitSQL or plainWaitSQL for a lock. The functions of a shared lock end in "_shared"; pg_locks has the id in two halves.
func waitText(sql string, id int64, shared bool) string {
	function, mode := "", "ExclusiveLock"
	if shared {
		function, mode = "_shared", "ShareLock"
	}
	return fmt.Sprintf(sql, id, function, mode, uint32(uint64(id)>>32), uint32(uint64(id)))
}

// encoder writes the messages of one statement: bind, execute, sync. Its buffers are kept from one to the next.
type encoder struct {
	out, a, b []byte
	c, d      []byte
	params    [][]byte
	plainWait bool // the server has no PL/pgSQL
	scope     *scope
	failed    bool // the transaction may have failed: the statement follows its end
}

// first begins the messages of a statement.
func (e *encoder) first() []byte {
	if e.failed {
		return append(e.out[:0], e.scope.again...)
	}
	return e.out[:0]
}

func (e *encoder) wait(w *entry) ([]byte, error) {
	sql := waitSQL
	if e.plainWait {
		sql = plainWaitSQL
	}
	text := waitText(sql, w.id, w.shared) + e.scope.afterWait
	if e.failed {
		text = e.scope.beforeWait + text
	}
	var err error
	e.out, err = (&pgproto3.Query{String: text}).Encode(e.out[:0])
	return e.out, err
}

// hintChannel is the channel of all managers in a database.
const hintChannel = "lockkeeper"

const listenSQL = `LISTEN "` + hintChannel + `"`

// hint writes a hint, or LISTEN where there is no text.
func (e *encoder) hint(text string) ([]byte, error) {
	if text == "" {
		var err error
		e.out, err = (&pgproto3.Query{String: listenSQL}).Encode(e.out[:0])
		return e.out, err
	}
	e.a = append(e.a[:0], text...)
	e.params = append(e.params[:0], e.a)
	return e.finish(&hintStatement, textFormat)
}

var (
	binaryFormat = []int16{1}
	textFormat   = []int16{0}
)

// finish writes a statement whose parameters are ready.
func (e *encoder) finish(s *statement, results []int16) ([]byte, error) {
	return e.finishWith(s, results, e.scope.done)
}

// finishWith has other messages follow the statement.
func (e *encoder) finishWith(s *statement, results []int16, behind []byte) ([]byte, error) {
	bind := pgproto3.Bind{PreparedStatement: s.name, ParameterFormatCodes: binaryFormat, Parameters: e.params,
		ResultFormatCodes: results}
	var err error
	if e.out, err = bind.Encode(e.first()); err != nil {
		return nil, err
	}
	if e.out, err = (&pgproto3.Execute{}).Encode(e.out); err != nil {
		return nil, err
	}
	e.out = append(e.out, behind...)
	e.out, err = (&pgproto3.Sync{}).Encode(e.out)
	return e.out, err
}

func (e *encoder) int8(s *statement, id int64) ([]byte, error) {
	e.a = binary.BigEndian.AppendUint64(e.a[:0], uint64(id))
	e.params = append(e.params[:0], e.a)
	return e.finish(s, binaryFormat)
}

// ask is the health question. A transaction is not older than it.
func (e *encoder) ask() ([]byte, error) {
	e.params = e.params[:0]
	return e.finishWith(&askStatement, textFormat, e.scope.again)
}

func (e *encoder) who(wishes []wish) ([]byte, error) {
	e.a = appendArray(e.a[:0], pgtype.Int8OID, len(wishes))
	for _, w := range wishes {
		e.a = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(e.a, 8), uint64(w.id))
	}
	e.params = append(e.params[:0], e.a)
	return e.finishWith(&whoStatement, textFormat, e.scope.again) // its views stay locked, and as they were, as long as the transaction
}

func (e *encoder) batch(shared bool, unlocks, tries []entry) ([]byte, error) {
	e.a, e.b = appendIDs(e.a[:0], unlocks), appendIDs(e.b[:0], tries)
	if shared {
		e.c, e.d = appendModes(e.c[:0], unlocks), appendModes(e.d[:0], tries)
		e.params = append(e.params[:0], e.a, e.c, e.b, e.d)
		return e.finish(&modesStatement, textFormat)
	}
	e.params = append(e.params[:0], e.a, e.b)
	return e.finish(&batchStatement, textFormat)
}

// appendIDs is int8[] in PostgreSQL's binary form: dimensions, has-null flag, element type, then per dimension its
// length and lower bound, then each element with its size. (array_recv in src/backend/utils/adt/arrayfuncs.c)
func appendIDs(dst []byte, entries []entry) []byte {
	dst = appendArray(dst, pgtype.Int8OID, len(entries))
	for i := range entries {
		dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, 8), uint64(entries[i].id))
	}
	return dst
}

// appendModes is bool[] in the same form: whether each is shared.
func appendModes(dst []byte, entries []entry) []byte {
	dst = appendArray(dst, pgtype.BoolOID, len(entries))
	for i := range entries {
		var mode byte
		if entries[i].shared {
			mode = 1
		}
		dst = append(binary.BigEndian.AppendUint32(dst, 1), mode)
	}
	return dst
}

// appendArray is what comes before an array's elements.
func appendArray(dst []byte, element uint32, n int) []byte {
	be := binary.BigEndian
	if n == 0 {
		return be.AppendUint32(be.AppendUint32(be.AppendUint32(dst, 0), 0), element)
	}
	dst = be.AppendUint32(be.AppendUint32(be.AppendUint32(dst, 1), 0), element)
	return be.AppendUint32(be.AppendUint32(dst, uint32(n)), 1)
}
