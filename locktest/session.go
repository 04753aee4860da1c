package locktest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// session is the server's side of a connection. A goroutine receives requests, another answers them.
type session struct {
	pgfake.Session
	*pgfake.Backend
	server   *Server
	conn     net.Conn
	backend  *pgproto3.Backend
	began    time.Time
	name     atomic.Pointer[string] // application_name, for other sessions
	listens  atomic.Bool
	canceled chan struct{}
	requests chan *pgfake.Request // received by answer; closed by receive
	gone     chan struct{}        // closed when the client has hung up, or the session is ended
	goOnce   sync.Once
}

func newSession(s *Server, pid uint32, conn net.Conn) *session {
	return &session{Session: pgfake.Session{PID: pid}, Backend: pgfake.NewBackend(&s.table, pid), server: s, conn: conn, backend: pgproto3.NewBackend(conn, conn), began: time.Now(),
		canceled: make(chan struct{}, 1), requests: make(chan *pgfake.Request, 256), gone: make(chan struct{})}
}

func (s *session) leave() { s.goOnce.Do(func() { close(s.gone) }) }

// serve is a connection from its start-up message to its end.
func (s *session) serve() {
	defer s.conn.Close()
	defer s.server.end(s.PID) // a backend hangs up when its locks are free, not before
	m, err := s.backend.ReceiveStartupMessage()
	if err != nil {
		return
	}
	if cancel, is := m.(*pgproto3.CancelRequest); is {
		if other := s.server.session(cancel.ProcessID); other != nil {
			select {
			case other.canceled <- struct{}{}:
			default:
			}
		}
		return
	}
	if start, is := m.(*pgproto3.StartupMessage); is {
		s.Settings = map[string]string{"application_name": start.Parameters["application_name"]}
	}
	s.publishName()
	faults := s.server.current()
	if !s.waits(faults) {
		return
	}
	if faults.refuse != "" {
		_ = s.send(pgfake.LastWord(faults.refuse))
		return
	}
	if s.send(s.Welcome(true)...) != nil {
		return
	}
	s.server.done.Go(s.receive)
	s.answerAll()
	s.server.end(s.PID)
	s.conn.Close()
	for range s.requests { // until receive has ended
	}
}

// receive reads what the client sends.
func (s *session) receive() {
	defer close(s.requests)
	defer s.leave()
	for {
		m, err := s.backend.Receive()
		if err != nil {
			return
		}
		if _, bye := m.(*pgproto3.Terminate); bye {
			return
		}
		if r := s.Receive(m); r != nil {
			s.requests <- r
		}
	}
}

// terminate ends the session as an administrator would.
func (s *session) terminate() {
	s.server.table.End(s.PID)
	_, _ = s.conn.Write(pgfake.Encode(pgfake.LastWord("57P01"))) // the client may have hung up
	s.leave()
	s.conn.Close()
}

// answerAll answers requests until the client has hung up.
func (s *session) answerAll() {
	for r := range s.requests {
		if !s.waits(s.server.current()) {
			return
		}
		for _, q := range r.Statements {
			if !s.answer(q) {
				return
			}
			if q.Code != "" {
				break
			}
		}
		s.publishName()
		if s.send(append(r.Answer(), s.Ready())...) != nil {
			return
		}
	}
}

func (s *session) publishName() {
	name := s.Settings["application_name"]
	s.name.Store(&name)
}

// waits is the pause before an answer. It reports false where the client has gone meanwhile.
func (s *session) waits(f faults) bool {
	if f.hung != nil {
		select {
		case <-f.hung:
		case <-s.gone:
			return false
		}
	}
	if f.delay > 0 {
		timer := time.NewTimer(f.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.gone:
			return false
		}
	}
	return true
}

func (s *session) send(messages ...pgproto3.BackendMessage) error {
	_, err := s.conn.Write(pgfake.Encode(messages...))
	return err
}

// unsupported answers what the server has not: see the package's comment.
const unsupported = "a locktest.Server has locks and nothing else: tokens (WithToken, WithFencing, WithTakeoverDelay), transactions on a lock's session (BeginTx) and sessions inside of " +
	"transactions (WithTransactionPooler) need a database"

// answer does a statement. It reports false where the client has gone meanwhile.
func (s *session) answer(q *pgfake.Statement) bool {
	if code := s.server.current().fail; code != "" && len(q.Locks()) > 0 {
		q.Code = code
		return true
	}
	switch q.Kind {
	case pgfake.Discard, pgfake.ResetRole, pgfake.Encoding:
	case pgfake.Wait, pgfake.PlainWait:
		return s.Await(q, s.Settings["lock_timeout"], s.canceled, s.gone)
	case pgfake.Who:
		s.server.who(q)
	case pgfake.AllLocks:
		s.server.allLocks(q)
	case pgfake.Marks:
		s.server.marks(q)
	case pgfake.Terminate:
		s.server.terminate(q)
	default:
		if !s.Do(q, s.server.facts, s) {
			q.Code, q.Message = "0A000", unsupported
		}
	}
	return true
}

// Notify implements [pgfake.Locks], as does Listen.
func (s *session) Notify(text string) {
	for _, other := range s.server.all() {
		if other.listens.Load() {
			_ = other.send(pgfake.Notification(text)) // it may have gone
		}
	}
}

func (s *session) Listen() { s.listens.Store(true) }
