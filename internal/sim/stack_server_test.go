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
	kindCancel   = "cancel"
	kindWho      = "who"
)

var kindTexts = []struct{ part, kind string }{
	{"pg_settings AS s ON", kindSet}, {"pg_settings AS s\n", kindReadBack}, {"pg_settings", kindSet},
	{"unnest($1::pg_catalog.int8[])", kindBatch}, {"pg_try_advisory_xact_lock", kindTryXact},
	{"pg_try_advisory_lock", kindTry}, {"pg_advisory_unlock", kindUnlock}, {"pg_advisory_lock", kindWait},
	{"session_user", kindAsk}, {"current_database", "database"}, {"pg_control_system", "lineage"},
	{"pg_postmaster_start_time", "who am I"}, {"pg_backend_pid", kindPID}, {"pg_cancel_backend", kindCancel}, {"pg_locks", kindWho},
	{"BEGIN", "begin"}, {"ROLLBACK", "rollback"}, {"version()", "version"}, {"pg_is_in_recovery", "recovery"}, {"transaction_read_only", "read only"},
}

// statement is one that was sent, and what came of it.
type statement struct {
	c         *wire
	name      string
	kind      string
	params    [][]byte
	binary    bool
	prepared  bool // a Parse
	described byte // a Describe, of a statement or a portal

	executed bool
	queued   bool // a wait
	sliceEnd time.Time
	rows     [][][]byte
	columns  int
	code     string // of the error
}

func newStatement(c *wire, m *pgproto3.Bind) *statement {
	sql := c.sql[m.PreparedStatement]
	s := &statement{c: c, name: m.PreparedStatement, kind: sql, columns: 1,
		binary: len(m.ResultFormatCodes) > 0 && m.ResultFormatCodes[0] == 1}
	for _, k := range kindTexts {
		if strings.Contains(sql, k.part) {
			s.kind = k.kind
			break
		}
	}
	for _, p := range m.Parameters {
		s.params = append(s.params, slices.Clone(p))
	}
	return s
}

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
	out := []pgproto3.BackendMessage{&pgproto3.BindComplete{}}
	if s.code != "" {
		return append(out, &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: s.code, Message: "as the history wants"})
	}
	if described {
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

// advisory is one lock at the server.
type advisory struct {
	owner *backend
	queue []*statement
}

// backend is the server's end of a connection.
type backend struct {
	w        *stack
	c        *wire // nil: a program that does without us
	pid      uint32
	settings map[string]string
	idle     time.Time // since when it waits for the client
	over     bool
	inBlock  bool           // a transaction,
	xact     []int64        // and its locks
	doubt    map[int64]bool // ids of statements that failed: whether they are held is for an unlock to find out
}

func (b *backend) status() byte {
	if b.inBlock {
		return 'T'
	}
	return 'I'
}

// tryXact is for a transaction, which ends with the statement outside of a block.
func (b *backend) tryXact(id int64) bool {
	l := b.w.lock(id)
	if l.owner != nil {
		return false
	}
	if b.inBlock {
		l.owner = b
		b.xact = append(b.xact, id)
	}
	return true
}

func (b *backend) rollback() {
	for _, id := range b.xact {
		b.w.free(id, b.w.lock(id))
	}
	b.inBlock, b.xact = false, nil
}

// silentUntil is when the server ends the session unless it hears from the client: its idle_session_timeout.
func (b *backend) silentUntil() time.Time { return b.idle.Add(b.setting("idle_session_timeout")) }

func (b *backend) setting(name string) time.Duration {
	ms, err := strconv.Atoi(b.settings[name])
	if err != nil || ms == 0 {
		return time.Hour // that is never
	}
	return time.Duration(ms) * time.Millisecond
}

func (b *backend) whose() string {
	if b.c == nil {
		return "another program"
	}
	return b.c.p.String()
}

func (w *stack) lock(id int64) *advisory {
	l := w.locks[id]
	if l == nil {
		l = &advisory{}
		w.locks[id] = l
	}
	return l
}

func (b *backend) try(id int64) bool {
	l := b.w.lock(id)
	if l.owner == b {
		b.w.violate("one session locks one id once", "%s locks %d on a session that has it", b.whose(), id)
	}
	if l.owner != nil {
		return false
	}
	l.owner = b
	return true
}

func (b *backend) unlock(id int64) bool {
	l := b.w.lock(id)
	doubtful := b.doubt[id]
	delete(b.doubt, id)
	if l.owner != b && doubtful {
		return false
	}
	if l.owner != b {
		b.w.violate("unlock what is locked", "%s unlocks %d on a session that does not have it", b.whose(), id)
		return false
	}
	b.w.free(id, l)
	return true
}

// free gives a lock to who waits for it.
func (w *stack) free(id int64, l *advisory) {
	l.owner = nil
	for len(l.queue) > 0 && l.owner == nil {
		s := l.queue[0]
		l.queue = l.queue[1:]
		s.queued = false
		l.owner = s.c.backend
		s.done([][][]byte{{{}}}, "")
		w.seen.add("granted in the queue")
		w.say("          the server grants %d to %v", id, s.c.p)
	}
}

// ids are what a statement wants locked or released.
func (s *statement) ids() []int64 {
	switch s.kind {
	case kindBatch:
		return append(idsIn(s.params[0]), idsIn(s.params[1])...)
	case kindTry, kindUnlock, kindWait:
		return []int64{s.id()}
	}
	return nil
}

// done ends a statement, whose answer is on its way then.
func (s *statement) done(rows [][][]byte, code string) {
	if code != "" {
		for _, id := range s.ids() {
			s.c.backend.doubt[id] = true
		}
	}
	s.rows, s.code, s.executed = rows, code, true
	s.c.pending = nil
	s.c.backend.idle = time.Now()
	s.c.replies = append(s.c.replies, encode(append(s.messages(false), &pgproto3.ReadyForQuery{TxStatus: 'I'})...))
}

func (s *statement) leaveQueue() {
	if s.queued {
		l := s.c.w.lock(s.id())
		l.queue = slices.DeleteFunc(l.queue, func(other *statement) bool { return other == s })
		s.queued = false
	}
}

// execute is PostgreSQL's part. A wait may queue, and is not done then.
func (b *backend) execute(s *statement) {
	b.idle = time.Now()
	switch s.kind {
	case kindSet:
		values := textElements(s.params[1])
		for i, name := range textElements(s.params[0]) {
			b.settings[name] = values[i]
			s.text(name, values[i])
		}
	case kindReadBack:
		for _, name := range textElements(s.params[0]) {
			s.text(name, b.settings[name])
		}
	case kindAsk:
		s.text(fmt.Sprintf("%d f %d db role", b.pid, b.w.serverStart))
	case kindPID:
		s.text(strconv.Itoa(int(b.pid)))
	case "database":
		s.text("db")
	case "who am I":
		s.text(fmt.Sprintf("%d %d", b.pid, b.w.serverStart))
	case "begin":
		b.inBlock = true
	case "rollback":
		b.rollback()
	case "lineage":
		s.text(fmt.Sprintf("7000 %08X", b.w.timeline))
	case "version":
		s.text("PostgreSQL 16.0, simulated")
	case "recovery":
		s.text("f")
	case "read only":
		s.text("off")
	case kindTry:
		s.bool(b.try(s.id()))
	case kindTryXact:
		s.bool(b.tryXact(s.id()))
	case kindUnlock:
		s.bool(b.unlock(s.id()))
	case kindBatch:
		s.rows = [][][]byte{{b.each(s.params[0], b.unlock), b.each(s.params[1], b.try)}}
	case kindWho:
		s.who()
	case kindCancel:
		s.bool(b.w.cancelBackend(binary.BigEndian.Uint32(s.params[0])))
	case kindWait:
		if l := b.w.lock(s.id()); !b.try(s.id()) {
			s.queued, s.sliceEnd = true, time.Now().Add(b.setting("lock_timeout"))
			l.queue = append(l.queue, s)
			return
		}
		s.rows = [][][]byte{{{}}}
	default:
		b.w.violate("the simulation knows what is asked", "%s", s.kind)
		s.code = "0A000"
	}
}

func textElements(array []byte) []string {
	return strings.Split(strings.Trim(string(array), `{}"`), `","`)
}

func (b *backend) each(array []byte, f func(int64) bool) []byte {
	var letters []byte
	for _, id := range idsIn(array) {
		letters = append(letters, letter(f(id))...)
	}
	return letters
}

func (s *statement) who() {
	id := int64(binary.BigEndian.Uint32(s.params[0]))<<32 | int64(binary.BigEndian.Uint32(s.params[1]))
	if owner := s.c.w.lock(id).owner; owner != nil {
		s.text(strconv.Itoa(int(owner.pid)), "simulated", "127.0.0.1", "1700000000")
	}
}

// cancelBackend ends what a backend is doing: its wait, or a statement that has just come.
func (w *stack) cancelBackend(pid uint32) bool {
	for _, c := range w.wires {
		if s := c.pending; c.backend.pid == pid && s != nil && (s.queued || s.kind != kindWait) {
			w.seen.add("backend cancelled")
			w.say("          %v is cancelled", s)
			s.leaveQueue()
			s.done(nil, "57014")
			return true
		}
	}
	return false
}

// end ends a backend: its locks are free. Where the client cannot have heard, excuse is true.
func (b *backend) end(excuse bool) {
	if b.over {
		return
	}
	b.over = true
	if c := b.c; c != nil {
		if c.pending != nil {
			c.pending.leaveQueue()
			c.pending = nil
		}
		c.hungUp = true
	}
	for _, id := range b.w.lockIDs() {
		if l := b.w.lock(id); l.owner == b {
			if excuse && b.c != nil && !b.c.told() {
				b.c.p.excused[id] = b.c
			}
			b.w.free(id, l)
		}
	}
}

func (w *stack) lockIDs() (ids []int64) {
	for id := range w.locks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
