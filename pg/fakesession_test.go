package pg

import (
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

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
	hung     atomic.Bool // it answers nothing any more, not even a goodbye
}

// question is one statement and what is to be answered.
type question struct {
	kind   string
	sql    string
	params [][]byte
	binary bool // the answer is to be in binary form
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
			s.answer(q)
			if q.never {
				s.hung.Store(true)
				return false
			}
			out = s.compose(out, q)
			status = q.status
			if q.edit != nil {
				out = q.edit(append(out, &pgproto3.ReadyForQuery{TxStatus: status}))
				status = 0
			}
		case *pgproto3.Sync:
			if status != 0 {
				out = append(out, &pgproto3.ReadyForQuery{TxStatus: status})
			}
			for _, m := range out {
				s.backend.Send(m)
			}
			if s.backend.Flush() != nil || q != nil && q.hangUp {
				return true
			}
			out, status, q = nil, 'I', nil
		}
	}
	return true
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
	if i := slices.IndexFunc(out, func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.NoData); return ok }); i >= 0 {
		description := &pgproto3.RowDescription{}
		for range max(q.columns, columnsOf(q.rows)) {
			description.Fields = append(description.Fields, pgproto3.FieldDescription{Name: []byte("column")})
		}
		out[i] = description
	}
	for _, row := range q.rows {
		out = append(out, &pgproto3.DataRow{Values: row})
	}
	return append(out, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
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

// answer is PostgreSQL's part.
func (s *fakeSession) answer(q *question) {
	if meddle := s.server.meddler(); meddle != nil {
		meddle(s, q)
	}
	if q.answered || q.never {
		return
	}
	switch q.kind {
	case "set":
		s.set(q)
	case "read back":
		for _, name := range elements(q.params[0]) {
			if value, known := s.settings[name]; known {
				q.text(name, value)
			}
		}
		q.columns = 2
	case "ask":
		q.text(s.server.identity(s))
	case "who am I":
		q.text(strconv.Itoa(int(s.pid)) + " 2023-11-14")
	case "pid":
		q.text(strconv.Itoa(int(s.pid)))
	case "database":
		q.text("fake")
	case "lineage":
		q.text(s.server.lineage)
	case "version":
		q.text(s.server.version)
	case "recovery":
		q.text(s.server.recovery)
	case "read only":
		q.text("off")
	case "begin", "rollback":
		s.inBlock = q.kind == "begin"
	case "try", "try in transaction":
		q.bool(s.server.try(s, q.id()))
	case "unlock":
		q.bool(s.server.unlock(s, q.id()))
	case "wait":
		s.wait(q)
	case "batch":
		q.rows = [][][]byte{{s.each(q.params[0], s.server.unlock), s.each(q.params[1], s.server.try)}}
	case "cancel":
		s.cancel(q)
	case "who":
		q.columns = 4
	default:
		q.code = "0A000"
	}
}

func (s *fakeSession) set(q *question) {
	values := elements(q.params[1])
	for i, name := range elements(q.params[0]) {
		_, known := s.settings[name]
		if s.server.settings == nil || known {
			if s.settings == nil {
				s.settings = make(map[string]string)
			}
			s.settings[name] = values[i]
			q.text(name, values[i])
		}
	}
	q.columns = 2
}

func elements(array []byte) []string {
	return strings.Split(strings.Trim(string(array), `{}"`), `","`)
}

func (s *fakeSession) each(array []byte, f func(*fakeSession, int64) bool) []byte {
	var letters []byte
	for _, id := range arrayIDs(array) {
		letters = append(letters, map[bool]byte{true: 't', false: 'f'}[f(s, id)])
	}
	return letters
}

// arrayIDs reads int8[] in binary form.
func arrayIDs(array []byte) []int64 {
	if len(array) < 20 {
		return nil
	}
	var ids []int64
	for rest := array[20:]; len(rest) >= 12; rest = rest[12:] {
		ids = append(ids, int64(binary.BigEndian.Uint64(rest[4:])))
	}
	return ids
}

func (s *fakeSession) wait(q *question) {
	select {
	case <-s.canceled: // it came before there was something to cancel
	default:
	}
	id := q.id()
	w := s.server.enqueue(s, id)
	slice, err := strconv.Atoi(s.settings["lock_timeout"])
	if err != nil {
		slice = 1 << 30
	}
	timer := time.NewTimer(time.Duration(slice) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-w.granted:
	case <-timer.C:
		q.code = "55P03"
	case <-s.canceled:
		q.code = "57014"
	case <-s.gone:
		q.never = true
	}
	if q.code != "" && !s.server.leave(w, id) && q.code == "55P03" {
		q.code = "" // granted in that moment
	}
	q.rows = [][][]byte{{{}}}
}

func (s *fakeSession) cancel(q *question) {
	pid := binary.BigEndian.Uint32(q.params[0])
	s.server.mu.Lock()
	target := s.server.sessions[pid]
	s.server.mu.Unlock()
	if target != nil {
		select {
		case target.canceled <- struct{}{}:
		default:
		}
	}
	q.bool(target != nil)
}

// say sends a message that nobody asked for.
func (s *fakeSession) say(m pgproto3.BackendMessage) error {
	raw, err := m.Encode(nil)
	if err != nil {
		return err
	}
	_, err = s.conn.Write(raw)
	return err
}
