package pg

import (
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// fakeSession is one connection of a fakeServer.
type fakeSession struct {
	pgfake.Session
	*pgfake.Backend
	server   *fakeServer
	conn     net.Conn
	backend  *pgproto3.Backend
	canceled chan struct{}
	gone     chan struct{}        // closed when the client has hung up
	requests chan *pgfake.Request // so that a blocked statement sees the client go
	listens  atomic.Bool
	hung     atomic.Bool // it answers nothing any more, not even a goodbye
}

// question is one statement. A meddler may fill in the answer, and then says so by answered; else the server does what was
// asked.
type question struct {
	*pgfake.Statement
	answered bool
	status   byte                                                               // of ReadyForQuery, where it is not the session's
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
		_ = s.send(pgfake.LastWord(code))
		return
	}
	if s.send(s.Welcome(!s.server.noKey)...) != nil {
		return
	}
	s.server.done.Go(s.receive)
	if s.answerAll() {
		s.server.end(s)
		s.conn.Close()
	}
	for range s.requests { // until the client has hung up
	}
}

func (s *fakeSession) receive() {
	defer close(s.requests)
	defer close(s.gone)
	for {
		m, err := s.backend.Receive()
		if err != nil {
			return
		}
		if _, bye := m.(*pgproto3.Terminate); bye && !s.hung.Load() {
			return
		}
		if r := s.Receive(m); r != nil {
			s.requests <- r
		}
	}
}

// answerAll returns when the client has hung up, or the server is to do so (true), or answers nothing any more.
func (s *fakeSession) answerAll() (hangUp bool) {
	for r := range s.requests {
		q := &question{}
		for _, statement := range r.Statements {
			q = &question{Statement: statement}
			if s.answer(q); q.never {
				s.hung.Store(true)
				return false
			}
			if q.Code != "" {
				break
			}
		}
		end := s.Ready()
		if q.status != 0 {
			end.TxStatus = q.status
		}
		out := append(r.Answer(), end)
		if q.edit != nil {
			out = q.edit(out)
		}
		if s.send(out...) != nil || q.hangUp {
			return true
		}
	}
	return true
}

func (s *fakeSession) send(messages ...pgproto3.BackendMessage) error {
	for _, m := range messages {
		s.backend.Send(m)
	}
	return s.backend.Flush()
}

// say sends a message that nobody asked for.
func (s *fakeSession) say(m pgproto3.BackendMessage) error {
	_, err := s.conn.Write(pgfake.Encode(m))
	return err
}

// answer is PostgreSQL's part.
func (s *fakeSession) answer(q *question) {
	if meddle := s.server.meddler(); meddle != nil {
		meddle(s, q)
	}
	if q.answered || q.never {
		return
	}
	switch q.Kind {
	case pgfake.Discard, pgfake.ResetRole, pgfake.Encoding:
	case pgfake.Wait, pgfake.PlainWait:
		q.never = !s.Await(q.Statement, s.Settings["lock_timeout"], s.canceled, s.gone)
	case pgfake.Who:
		s.server.who(q)
	default:
		if !s.Do(q.Statement, s.server.knows(), s) {
			q.Code = "0A000"
		}
	}
}

// Notify implements [pgfake.Locks], as does Listen.
func (s *fakeSession) Notify(text string) {
	for _, other := range s.server.all() {
		if other.listens.Load() {
			_ = other.say(pgfake.Notification(text))
		}
	}
}

func (s *fakeSession) Listen() { s.listens.Store(true) }
