package pg

import (
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"
)

// fakeSession is one connection of a fakeServer.
type fakeSession struct {
	server   *fakeServer
	conn     net.Conn
	backend  *pgproto3.Backend
	pid      uint32
	prepared map[string]*pgproto3.Parse
	settings map[string]string
	canceled chan struct{}
	gone     chan struct{}                 // closed when the client has hung up
	messages chan pgproto3.FrontendMessage // so that a blocked statement sees the client go
	inBlock  bool
	inXact   []int64     // what is unlocked at the end of the transaction
	hung     atomic.Bool // it answers nothing any more, not even a goodbye
}

// question is one statement and what is to be answered.
type question struct {
	kind   string
	sql    string
	params [][]byte
	binary bool // the answer is to be in binary form
	simple bool // it came as text, with more than one statement in it
	reply
}

// reply is an answer. A meddler may fill it in, and then says so by answered; else the server does what was asked.
type reply struct {
	answered bool
	rows     [][][]byte
	columns  int // of the row description, where there is no row
	code     string
	severity string                                                             // of the error; default ERROR
	status   byte                                                               // of ReadyForQuery; default I
	edit     func(messages []pgproto3.BackendMessage) []pgproto3.BackendMessage // may change what is sent
	hangUp   bool                                                               // after it was sent
	never    bool                                                               // nothing is answered any more
}

func (s *fakeSession) serve() {
	defer s.conn.Close()
	defer s.server.end(s) // a backend hangs up when its locks are free, not before
	if m, err := s.backend.ReceiveStartupMessage(); err != nil {
		return
	} else if _, cancel := m.(*pgproto3.CancelRequest); cancel {
		return
	}
	if code := s.server.turnAway; code != "" {
		s.backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "not now"})
		_ = s.backend.Flush()
		return
	}
	s.backend.Send(&pgproto3.AuthenticationOk{})
	s.backend.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "15.0"})
	if !s.server.noKey {
		s.backend.Send(&pgproto3.BackendKeyData{ProcessID: s.pid, SecretKey: make([]byte, 4)})
	}
	s.backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if s.backend.Flush() != nil {
		return
	}
	s.server.done.Go(s.receive)
	if s.answerAll() {
		s.server.end(s)
		s.conn.Close()
	}
	for range s.messages { // until the client has hung up
	}
}

// receive hands the messages over one by one: each is only valid until the next is read.
func (s *fakeSession) receive() {
	defer close(s.messages)
	defer close(s.gone)
	for {
		m, err := s.backend.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			c := *m
			s.messages <- &c
		case *pgproto3.Bind:
			c := *m
			c.Parameters = slices.Clone(m.Parameters)
			for i := range c.Parameters {
				c.Parameters[i] = slices.Clone(c.Parameters[i])
			}
			c.ResultFormatCodes = slices.Clone(m.ResultFormatCodes)
			s.messages <- &c
		case *pgproto3.Describe:
			c := *m
			s.messages <- &c
		case *pgproto3.Terminate:
			if !s.hung.Load() {
				return
			}
		default:
			s.messages <- m
		}
	}
}

// answerAll returns when the client has hung up, or the server is to do so (true), or answers nothing any more.
func (s *fakeSession) answerAll() (hangUp bool) {
	var q *question
	var out []pgproto3.BackendMessage
	status := byte('I')
	for m := range s.messages {
		switch m := m.(type) {
		case *pgproto3.Parse:
			s.prepared[m.Name] = m
			out = append(out, &pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			sql := s.prepared[m.PreparedStatement].Query
			q = &question{kind: kindOf(sql), sql: sql, params: m.Parameters, reply: reply{severity: "ERROR"},
				binary: len(m.ResultFormatCodes) > 0 && m.ResultFormatCodes[0] == 1}
			out = append(out, &pgproto3.BindComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				out = append(out, &pgproto3.ParameterDescription{})
			}
			out = append(out, &pgproto3.NoData{})
		case *pgproto3.Execute:
			if out, status = s.execute(out, q); q.never {
				return false
			}
		case *pgproto3.Query:
			q = &question{kind: kindOf(m.String), sql: m.String, params: [][]byte{[]byte(idIn(m.String))}, simple: true,
				reply: reply{severity: "ERROR"}}
			if out, status = s.execute(out, q); q.never {
				return false
			}
			if !s.flush(out, status) || q.hangUp {
				return true
			}
			out, status, q = nil, 'I', nil
		case *pgproto3.Sync:
			if !s.flush(out, status) || q != nil && q.hangUp {
				return true
			}
			out, status, q = nil, 'I', nil
		}
	}
	return true
}

// execute answers a question. A status of 0 says that the end of the answer is in it.
func (s *fakeSession) execute(out []pgproto3.BackendMessage, q *question) ([]pgproto3.BackendMessage, byte) {
	s.answer(q)
	if q.never {
		s.hung.Store(true)
		return nil, 0
	}
	out = s.compose(out, q)
	if q.edit != nil {
		return q.edit(append(out, &pgproto3.ReadyForQuery{TxStatus: q.status})), 0
	}
	return out, q.status
}

func (s *fakeSession) flush(out []pgproto3.BackendMessage, status byte) bool {
	if status != 0 {
		out = append(out, &pgproto3.ReadyForQuery{TxStatus: status})
	}
	for _, m := range out {
		s.backend.Send(m)
	}
	return s.backend.Flush() == nil
}

// idIn is the lock's id in the text of a wait.
func idIn(sql string) string {
	_, rest, _ := strings.Cut(sql, ":= '")
	id, _, _ := strings.Cut(rest, "'")
	return id
}

// compose writes an answer's messages. The description of the rows comes right before them, where NoData stood.
func (s *fakeSession) compose(out []pgproto3.BackendMessage, q *question) []pgproto3.BackendMessage {
	if q.status == 0 {
		q.status = 'I'
		if s.inBlock {
			q.status = 'T'
		}
	}
	if q.code != "" {
		return append(out, &pgproto3.ErrorResponse{Severity: q.severity, SeverityUnlocalized: q.severity, Code: q.code,
			Message: "the fake server was told to fail"})
	}
	if q.simple {
		out = append(out, &pgproto3.CommandComplete{CommandTag: []byte("DO")}, s.describe(q))
	} else if i := slices.IndexFunc(out, func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.NoData); return ok }); i >= 0 {
		out[i] = s.describe(q)
	}
	for _, row := range q.rows {
		out = append(out, &pgproto3.DataRow{Values: row})
	}
	return append(out, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
}

func (s *fakeSession) describe(q *question) *pgproto3.RowDescription {
	description := &pgproto3.RowDescription{}
	for range max(q.columns, columnsOf(q.rows)) {
		description.Fields = append(description.Fields, pgproto3.FieldDescription{Name: []byte("column")})
	}
	return description
}

func columnsOf(rows [][][]byte) int {
	if len(rows) == 0 {
		return 1
	}
	return len(rows[0])
}

func (q *question) text(values ...string) {
	row := make([][]byte, len(values))
	for i, v := range values {
		row[i] = []byte(v)
	}
	q.rows = append(q.rows, row)
}

func (q *question) bool(v bool) {
	switch {
	case !q.binary:
		q.text(map[bool]string{true: "t", false: "f"}[v])
	case v:
		q.rows = [][][]byte{{{1}}}
	default:
		q.rows = [][][]byte{{{0}}}
	}
}

func (q *question) id() int64 {
	if len(q.params[0]) == 8 && q.binary {
		return int64(binary.BigEndian.Uint64(q.params[0]))
	}
	id, _ := strconv.ParseInt(string(q.params[0]), 10, 64)
	return id
}
