package sim_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// kinds of statements, by a part of their text; the first that fits counts.
const (
	kindSet      = "set"
	kindReadBack = "read back"
	kindBatch    = "batch"
	kindTryXact  = "try in a transaction"
	kindTry      = "try"
	kindUnlock   = "unlock"
	kindWait     = "wait"
	kindAsk      = "ask"
	kindPID      = "pid"
	kindWho      = "who"
)

var kindTexts = []struct{ part, kind string }{
	{"DO $lockkeeper$", kindWait}, {"LEFT JOIN pg_catalog.pg_stat_activity", kindWho},
	{"pg_settings AS s ON", kindSet}, {"pg_settings AS s\n", kindReadBack}, {"pg_settings", kindSet},
	{"unnest($1::pg_catalog.int8[])", kindBatch}, {"pg_try_advisory_xact_lock", kindTryXact},
	{"pg_try_advisory_lock", kindTry}, {"pg_advisory_unlock", kindUnlock}, {"pg_advisory_lock", kindWait},
	{"pg_stat_get_activity", kindAsk}, {"current_setting('application_name')", "name the session"},
	{"current_database()", "database"}, {"pg_control_system", "timeline"}, {"pg_postmaster_start_time", "who am I"},
	{"pg_backend_pid", kindPID}, {"BEGIN", "begin"}, {"ROLLBACK", "rollback"},
	{"version()", "version"}, {"pg_is_in_recovery", "recovery"}, {"transaction_read_only", "read only"},
}

// statement is one that was sent, and what came of it.
type statement struct {
	c         *wire
	name      string
	kind      string
	params    [][]byte
	binary    bool
	simple    bool // a Query: text, of several statements
	prepared  bool // a Parse
	described byte // a Describe, of a statement or a portal

	sent     time.Time
	settles  bool // it is to settle a doubt
	executed bool
	queued   bool // a wait
	sliceEnd time.Time
	rows     [][][]byte
	columns  int
	code     string // of the error
}

func newStatement(c *wire, m *pgproto3.Bind) *statement {
	s := &statement{c: c, name: m.PreparedStatement, kind: kindOf(c.sql[m.PreparedStatement]), columns: 1,
		binary: len(m.ResultFormatCodes) > 0 && m.ResultFormatCodes[0] == 1}
	for _, p := range m.Parameters {
		s.params = append(s.params, slices.Clone(p))
	}
	return s
}

// newQuery is a wait: the id is in its text.
func newQuery(c *wire, sql string) *statement {
	_, rest, _ := strings.Cut(sql, "id CONSTANT pg_catalog.int8 := '")
	id, _, _ := strings.Cut(rest, "'")
	return &statement{c: c, name: "lockkeeper_wait", kind: kindOf(sql), columns: 1, simple: true, params: [][]byte{[]byte(id)}}
}

func kindOf(sql string) string {
	for _, k := range kindTexts {
		if strings.Contains(sql, k.part) {
			return k.kind
		}
	}
	return sql
}

// unlocks are the ids that a statement wants released.
func (s *statement) unlocks() []int64 {
	switch s.kind {
	case kindBatch:
		return idsIn(s.params[0])
	case kindUnlock:
		return []int64{s.id()}
	}
	return nil
}

// touchesLocks: what it does waits until the history has it done.
func (s *statement) touchesLocks() bool { return len(s.ids()) > 0 }

func (s *statement) String() string {
	switch s.kind {
	case kindBatch:
		return fmt.Sprintf("batch of %v on %v: unlock %v, try %v", s.c.p, s.c, idsIn(s.params[0]), idsIn(s.params[1]))
	case kindTry, kindUnlock, kindWait:
		return fmt.Sprintf("%s of %d by %v on %v", s.kind, s.id(), s.c.p, s.c)
	}
	return fmt.Sprintf("%s by %v on %v", s.kind, s.c.p, s.c)
}

func (s *statement) id() int64 {
	if len(s.params[0]) == 8 && s.binary {
		return int64(binary.BigEndian.Uint64(s.params[0]))
	}
	id, _ := strconv.ParseInt(string(s.params[0]), 10, 64)
	return id
}

// idsIn reads int8[] in binary form.
func idsIn(array []byte) (ids []int64) {
	if len(array) < 20 {
		return nil
	}
	for rest := array[20:]; len(rest) >= 12; rest = rest[12:] {
		ids = append(ids, int64(binary.BigEndian.Uint64(rest[4:])))
	}
	return ids
}

func (s *statement) text(values ...string) {
	row := make([][]byte, len(values))
	for i, v := range values {
		row[i] = []byte(v)
	}
	s.rows, s.columns = append(s.rows, row), len(values)
}

func (s *statement) bool(v bool) {
	switch {
	case !s.binary:
		s.text(letter(v))
	case v:
		s.rows = [][][]byte{{{1}}}
	default:
		s.rows = [][][]byte{{{0}}}
	}
}

func letter(v bool) string {
	if v {
		return "t"
	}
	return "f"
}

// messages is the answer, without its end.
func (s *statement) messages(described bool) []pgproto3.BackendMessage {
	var out []pgproto3.BackendMessage
	if !s.simple {
		out = append(out, &pgproto3.BindComplete{})
	}
	if s.code != "" {
		return append(out, &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: s.code, Message: "as the history wants"})
	}
	if s.simple {
		out = append(out, &pgproto3.CommandComplete{CommandTag: []byte("DO")})
	}
	if described || s.simple {
		d := &pgproto3.RowDescription{}
		for range s.columns {
			d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: []byte("column")})
		}
		out = append(out, d)
	}
	for _, row := range s.rows {
		out = append(out, &pgproto3.DataRow{Values: row})
	}
	return append(out, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}
