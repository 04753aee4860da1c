package pg

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// lose ends the session: told first, closed after. The rest is finish's.
func (s *Session) lose(cause Cause, err error) {
	if s.loss != nil {
		return
	}
	s.loss = &LossError{Cause: cause, PID: s.pid, Err: err}
}

func (s *Session) readEnded() {
	select {
	case f := <-s.answers: // what came before the end still counts
		s.landed(f)
	default:
	}
	cause := CauseConnection
	if _, said := errors.AsType[*serverEndError](s.readErr); said {
		cause = CauseServer
	}
	s.lose(cause, s.readErr)
}

// finish ends the session, however it came to that. Those who hold locks on it are told before the socket is touched:
// what the socket does may take time.
func (s *Session) finish() {
	s.pool.unshare(s)
	s.telling.Take() // what the reader has granted until now is known below, and it grants nothing from here on
	s.lost.Store(s.lossError())
	s.telling.Give()
	s.lastAnswer()
	told := s.tellLost()
	close(s.ending)
	s.sweep()
	for _, r := range s.backlog {
		s.waiting.Add(-1)
		r.answer(s, false, s.lossError())
	}
	s.timer.Stop()
	s.rest.Stop()
	if told {
		s.linger()
	}
	s.closeConn()
	<-s.readDone
	s.lastAnswer()
	if f := s.current; f != nil && !f.answered {
		s.refuse(f)
	}
	s.refuse(s.parked)
	s.locks.Store(0)
	close(s.ended)
	s.pool.sessionEnded(s)
}

// lastAnswer takes the flight that came back at the end, and notes what it granted.
func (s *Session) lastAnswer() {
	select {
	case f := <-s.answers:
		s.current = f
		for i := range f.entries {
			if e := &f.entries[i]; f.answered && e.ok && (e.op == OpTry || e.op == OpWait) {
				s.held[e.id] = e.client
			}
		}
	default:
	}
}

// linger gives those who were told of a loss a moment before the socket is closed, unless the server has closed it.
func (s *Session) linger() {
	if s.loss == nil || s.loss.Cause == CauseServer || s.loss.Cause == CauseConnection {
		return
	}
	moment := time.NewTimer(s.config.farewell())
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-s.readDone:
	}
}

// tellLost tells every client that has a lock here, and forgets it.
func (s *Session) tellLost() (told bool) {
	if len(s.held) == 0 {
		return false
	}
	err := s.lossError()
	s.pool.config.Event(Event{Kind: EventLost, PID: s.pid, Use: s.Use(), Locks: len(s.held), Cause: string(err.Cause), Err: err})
	s.pool.stats.lost(err.Cause, len(s.held))
	for id, client := range s.held {
		client.Lost(s, id, err)
	}
	clear(s.held)
	return true
}

func (s *Session) refuse(f *flight) {
	if f == nil {
		return
	}
	s.waiting.Add(-int64(len(f.entries)))
	for i := range f.entries {
		f.entries[i].req.answer(s, false, s.lossError())
	}
}

// sweep answers whatever is in the inbox of a session that is ending. Each message goes to one sweeper only.
func (s *Session) sweep() {
	for list := s.inbox.Take(); ; {
		r, ok := list.Next()
		if !ok {
			return
		}
		s.waiting.Add(-1)
		r.answer(s, false, s.lossError())
	}
}

func (s *Session) lossError() *LossError {
	if s.loss != nil {
		return s.loss
	}
	return &LossError{Cause: CauseClosed, PID: s.pid}
}

// closeConn says goodbye and waits until the server has hung up: a backend that has hung up has released its locks, and
// no sooner is that known. Where the server does not answer in time the socket is closed anyway.
func (s *Session) closeConn() {
	by := time.Now().Add(s.config.CloseTimeout)
	s.endReading(by)
	if err := s.conn.SetWriteDeadline(by); err == nil {
		if message, err := (&pgproto3.Terminate{}).Encode(nil); err == nil {
			if _, err := s.conn.Write(message); err == nil && (s.loss == nil || s.loss.Cause != CauseSilence) {
				<-s.readDone // the deadline bounds it
			}
		}
	}
	closeSocket(s.conn)
}

// cancelAgain is how soon a cancellation is repeated that had no effect: a cancellation costs the server little.
const cancelAgain = 10 * time.Millisecond

// canceller is the client of the request that cancels a session's own wait.
type canceller struct {
	request Request
	session *Session
	done    atomic.Bool
}

func (c *canceller) Done(*Request) {
	c.done.Store(true)
	c.session.signal(signalNudge)
}

func (c *canceller) Lost(*Session, int64, error) {}

// nudged looks at what may have changed: the wait was abandoned, or its cancellation has been answered.
func (s *Session) nudged() {
	if s.cancel != nil && s.cancel.done.Load() {
		s.cancel = nil
		if f := s.parked; f != nil {
			s.parked = nil
			s.settle(f)
			return
		}
		// Where the wait is still under way the cancellation came before the server had begun it, or was lost on its way.
		s.cancelAt = time.Now().Add(cancelAgain)
		return
	}
	if s.cancel != nil || s.wait == nil || !s.wait.abandoned.Load() {
		return
	}
	c := &canceller{session: s}
	c.request.Op, c.request.ID, c.request.Client = opCancel, int64(s.pid), c
	s.cancel = c
	if !s.pool.submitCancel(&c.request) {
		s.cancel = nil
		s.lose(CauseDoubt, errors.New("a wait was abandoned, and no other session is there to cancel it"))
	}
}
