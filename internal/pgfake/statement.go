package pgfake

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Statement is a statement with its parameters, and what is to be answered.
type Statement struct {
	Kind   string
	Name   string // of the prepared statement
	SQL    string
	Params [][]byte
	Binary bool // the answer is to be in binary form
	Simple bool // it came as text

	Rows     [][][]byte
	Columns  int    // of the row description, where there is no row
	Code     string // SQLSTATE of the error that is the answer
	Severity string // of the error; default ERROR
	Message  string // of the error; there is a default
}

func newStatement(name, sql string, m *pgproto3.Bind) *Statement {
	s := &Statement{Kind: kindOf(sql), Name: name, SQL: sql, Binary: len(m.ResultFormatCodes) > 0 && m.ResultFormatCodes[0] == 1}
	for _, p := range m.Parameters { // which are the reader's until it reads on
		s.Params = append(s.Params, slices.Clone(p))
	}
	return s
}

// newSimple is a wait, whose id is in its text.
func newSimple(sql string) *Statement {
	if kindOf(sql) == Listen {
		return &Statement{Kind: Listen, Name: "lockkeeper_listen", SQL: sql, Simple: true}
	}
	id, _, _ := strings.Cut(sql, "'::pg_catalog.int8")
	id = id[strings.LastIndex(id, "'")+1:]
	return &Statement{Kind: kindOf(sql), Name: "lockkeeper_wait", SQL: sql, Simple: true, Params: [][]byte{[]byte(id)}}
}

// ID is the lock that the statement is about.
func (s *Statement) ID() int64 {
	if len(s.Params[0]) == 8 && s.Binary {
		return int64(binary.BigEndian.Uint64(s.Params[0]))
	}
	id, _ := strconv.ParseInt(string(s.Params[0]), 10, 64)
	return id
}

// Lock is the one lock that the statement is about. Its mode is in the text.
func (s *Statement) Lock() Lock { return Lock{s.ID(), strings.Contains(s.SQL, "_shared(")} }

// Unlocks are the locks that the statement wants released.
func (s *Statement) Unlocks() []Lock {
	switch s.Kind {
	case Batch:
		return locks(s.Params[:len(s.Params)/2])
	case Unlock:
		return []Lock{s.Lock()}
	default:
		return nil
	}
}

// Locks are the locks that the statement wants for the session.
func (s *Statement) Locks() []Lock {
	switch s.Kind {
	case Batch:
		return locks(s.Params[len(s.Params)/2:])
	case Try, Wait, PlainWait:
		return []Lock{s.Lock()}
	default:
		return nil
	}
}

// Wanted are the ids whose holders the statement asks for.
func (s *Statement) Wanted() (ids []int64) {
	for _, l := range locks(s.Params) {
		ids = append(ids, l.ID)
	}
	return ids
}

// locks reads the ids of a batch, int8[] in binary form, and where the batch has modes, bool[], those.
func locks(params [][]byte) (all []Lock) {
	for _, id := range elements(params[0], 8) {
		all = append(all, Lock{ID: int64(binary.BigEndian.Uint64(id))})
	}
	if len(params) > 1 {
		for i, mode := range elements(params[1], 1) {
			all[i].Shared = mode[0] == 1
		}
	}
	return all
}

// elements reads an array in binary form, whose elements are of that size.
func elements(array []byte, size int) (all [][]byte) {
	const head = 20
	for rest := array[min(head, len(array)):]; len(rest) >= 4+size; rest = rest[4+size:] {
		all = append(all, rest[4:4+size])
	}
	return all
}

// texts reads text[] in text form.
func texts(array []byte) []string { return strings.Split(strings.Trim(string(array), `{}"`), `","`) }

// Text adds a row.
func (s *Statement) Text(values ...string) {
	row := make([][]byte, len(values))
	for i, v := range values {
		row[i] = []byte(v)
	}
	s.Rows = append(s.Rows, row)
}

// Has adds a row of the answer to such a question: a session that holds a lock, or waits for it.
func (s *Statement) Has(id int64, pid uint32, granted bool) {
	s.Text(strconv.FormatInt(id, 10), strconv.Itoa(int(pid)), "fake", "127.0.0.1", began, strconv.FormatBool(granted))
}

// Bool adds a row with a truth value, in the form that was asked for.
func (s *Statement) Bool(v bool) {
	if !s.Binary {
		s.Text(Letter(v))
		return
	}
	b := byte(0)
	if v {
		b = 1
	}
	s.Rows = append(s.Rows, [][]byte{{b}})
}

// Waited answers a wait that was granted, or whose time was over.
func (s *Statement) Waited(granted bool) {
	s.Rows, s.Code = nil, ""
	switch {
	case s.Kind == Wait:
		s.Text(Letter(granted))
	case granted:
		s.Rows = [][][]byte{{{}}}
	default:
		s.Code = "55P03"
	}
}

// Letter is a truth value in text form.
func Letter(v bool) string {
	if v {
		return "t"
	}
	return "f"
}

// description describes the rows.
func (s *Statement) description() *pgproto3.RowDescription {
	n := max(1, s.Columns)
	if len(s.Rows) > 0 {
		n = len(s.Rows[0])
	}
	d := &pgproto3.RowDescription{}
	for range n {
		d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: []byte("column")})
	}
	return d
}

// answer is the rows or the error.
func (s *Statement) answer() (out []pgproto3.BackendMessage) {
	if s.Code != "" {
		severity := s.Severity
		if severity == "" {
			severity = "ERROR"
		}
		message := s.Message
		switch {
		case message != "":
		case s.Code != "53200":
			message = "the fake server was told to fail"
		default:
			message = "out of shared memory" // by which a full lock table is told from other want of memory
		}
		return []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: severity, SeverityUnlocalized: severity, Code: s.Code, Message: message}}
	}
	if s.Kind == Wait {
		out = append(out, &pgproto3.CommandComplete{CommandTag: []byte("DO")})
	}
	if s.Simple {
		out = append(out, s.description())
	}
	for _, row := range s.Rows {
		out = append(out, &pgproto3.DataRow{Values: row})
	}
	return append(out, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}
