package pg

import (
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// leave ends a session, however it came to that. Those who hold locks on it are told before the socket is touched: what the socket
// does may take time. Requests are received, and refused, until nobody can send one that would not be seen.
func (s *session) leave() {
	s.timer.Stop()
	s.lost.Store(s.loss) // whoever is given a lock from here on finds that it is not trusted
	s.recordAnswered()
	told := s.tellHolders()
	s.self.queued(s.refuseNew)
	s.self.hangsUp()
	s.hangUp(told || len(s.air) > 0)
	s.self.hungUp()
	s.recordAnswered() // what the reader delivered before it ended
	s.recordFailed()
	s.tellHolders()
	for _, f := range s.air {
		s.refuseSending(f)
	}
	s.locks.Store(0)
	s.closed.Store(true)
	s.refuseQueued()
	close(s.gone)
	s.pool.tellEnded(s.self)
}

// tellHolders tells every client that has a lock here.
func (s *session) tellHolders() (told bool) {
	locks := 0
	s.self.holders(func(id int64, client Client) {
		s.pool.stats.lost(s.loss.Cause) // first: whoever is told finds it counted
		client.Lost(s.self, id)
		locks++
	})
	if locks > 0 {
		s.config.Event(Event{Kind: EventLost, PID: s.pid, Use: Use(s.use.Load()), Locks: locks, Cause: string(s.loss.Cause), Err: s.loss})
	}
	return locks > 0
}

// hangUp closes the connection and waits until the reader has ended. Where holders were told of a loss while the server may well
// have the session still, or will be told since a grant may be on its way, they have a moment before: hanging up frees their
// locks. A backend that has hung up has released its locks, and no sooner is that known, so the server is told goodbye and has time
// to hang up; see closeBy.
func (s *session) hangUp(told bool) {
	var moment <-chan time.Time
	readEnded := s.readEnded
	if told && s.loss.Cause != CauseServer && s.loss.Cause != CauseConnection {
		timer := time.NewTimer(s.config.drainDelay())
		defer timer.Stop()
		moment = timer.C
	} else {
		apart(s.sayGoodbye)
	}
	for {
		select {
		case r := <-s.requests:
			s.refuseNew(r)
		case f := <-s.answered:
			s.self.record(f)
			s.tellHolders()
		case <-moment:
			moment, readEnded = nil, s.readEnded
			apart(s.sayGoodbye)
		case <-readEnded:
			if moment != nil && s.readEnd == misunderstood {
				readEnded = nil // the server may have the session still, and the moment counts
				continue
			}
			apart(func() {
				defer closeSocket(s.conn)
				s.sayLast()
			})
			return
		}
	}
}

// sayGoodbye asks the server to hang up, and bounds the wait for it: the reader ends at the deadline.
func (s *session) sayGoodbye() {
	if s.loss.Cause == CauseSilence || s.badConn {
		closeSocket(s.conn)
		return
	}
	said := false
	defer func() {
		if !said {
			closeSocket(s.conn)
		}
	}()
	_ = s.conn.SetDeadline(s.closeBy()) // where it fails the connection is closed, and the reader ends by that
	message, err := s.goodbye()
	if err == nil {
		_, err = s.conn.Write(message)
	}
	said = err == nil
}

// goodbye is what ends the session. One that ends in good order and has more to do for that does it first, and hangs up when that has been
// answered, or when it takes too long. Another in a transaction hangs up in the midst of it, by which a pooler closes the backend.
func (s *session) goodbye() ([]byte, error) {
	message := s.config.scope.goodbye
	if len(message) == 0 || s.loss.Cause != CauseClosed && s.loss.Cause != CauseFailedOver && s.loss.Cause != CauseCluster {
		return (&pgproto3.Terminate{}).Encode(nil)
	}
	s.sent <- s.newSending(kindEnd) // it has room: no hints are sent where a goodbye is more than one message
	return message, nil
}

// sayLast hangs up a session that has been ended in good order.
func (s *session) sayLast() {
	if s.readEnd != endedInOrder {
		return
	}
	if message, err := (&pgproto3.Terminate{}).Encode(nil); err == nil {
		_, _ = s.conn.Write(message) // the deadline of the goodbye holds for it as well
	}
}

// closeBy is until when the server may take to hang up. A wait under way keeps it from reading the goodbye until its slice is over;
// to hang up meanwhile would leave a line in its log.
func (s *session) closeBy() time.Time {
	bound := s.config.CloseTimeout
	for _, f := range s.air {
		if f.kind == kindLocks && len(f.entries) == 1 && f.entries[0].op == OpWait {
			bound += s.config.WaitSlice
		}
	}
	return time.Now().Add(bound)
}

// leaveAfterPanic is deferred by an owner's run: a connection that a user's DialFunc made may panic, or end the goroutine. Joined by the
// pool, as the owner's own goroutine is.
func (s *session) leaveAfterPanic(over *bool) {
	if *over {
		return
	}
	value := recover()
	s.badConn = true
	defer func() {
		s.lose(CauseConnection, errBadConn) // for a value whose text ends the goroutine
		go s.leave()                        // that goroutine is the owner from here on
	}()
	s.lose(CauseConnection, connPanic(value))
}

func (s *session) refuse(r *Request) { r.answer(s.self, false, s.loss) }

// refuseNew refuses a request that was never sent.
func (s *session) refuseNew(r *Request) {
	if r.Op == OpUnlock {
		s.self.unlockRefused(r.ID)
	}
	s.refuse(r)
}

// refuseQueued refuses what lies in the channel of requests.
func (s *session) refuseQueued() {
	for {
		select {
		case r := <-s.requests:
			s.refuseNew(r)
		default:
			return
		}
	}
}

// recordFailed takes back what the reader left to the owner at the end. What nobody was told of stays in the air.
func (s *session) recordFailed() {
	for {
		select {
		case f := <-s.toOwner:
			if f.told.Load() {
				s.self.record(f)
			}
		default:
			return
		}
	}
}

func (s *session) refuseSending(f *sending) {
	if f.whole != nil {
		s.refuse(f.whole)
		return
	}
	for i := range f.entries {
		s.refuse(f.entries[i].req)
	}
}
