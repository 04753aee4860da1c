package pg

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Solo is a session for one key: to wait for it in the server's queue, or since its holder wants a session to itself. One
// statement is in the air at a time.
type Solo struct {
	session

	// The owner's.
	id     int64
	client Client
	held   bool
	ended  bool // the session is lost, and the unlock of the lock has been refused
	loanState

	lent atomic.Bool // written by the owner: it has been lent, and is nobody else's any more
}

// startSolo starts a session. Its requests come from one client, which has one under way: that is the capacity.
func startSolo(p *Pool, c *connection) *Solo {
	s := &Solo{session: newSession(p, c, 1), loanState: loanState{loan: noLoan}}
	s.self = s
	s.trust(c.asked)
	s.start()
	return s
}

// start starts the owner and the reader. Joined by the pool: the owner waits for the reader, and reports its own end to the pool.
func (s *Solo) start() {
	go s.read()
	go s.run()
}

// Submit implements [Session].
func (s *Solo) Submit(r *Request) (unsent <-chan struct{}) {
	r.Session = s
	select {
	case s.requests <- r:
		return s.unsentNow()
	case <-s.gone:
		return s.gone
	}
}

// run is the owner's goroutine.
func (s *Solo) run() {
	over := false
	defer s.leaveAfterPanic(&over)
	for s.loss == nil {
		select {
		case r := <-s.requests:
			s.backlog = append(s.backlog, r)
		case f := <-s.answered:
			s.record(f)
		case f := <-s.toOwner:
			if f.kind >= kindLend {
				s.lentAnswered(f)
			} else {
				s.look(f)
			}
		case <-s.timer.C:
			s.armed = time.Time{}
			s.recordAnswered()
			s.tick(time.Now())
		case w := <-s.lastWord:
			s.lose(CauseServer, w)
		case <-s.readEnded:
			s.readLost()
		case o := <-s.orders:
			s.obey(o)
		case <-when(s.loan.wants, s.mayWrite()):
			s.letWrite()
		case <-s.loan.wrote:
			s.writing = false
		case <-s.loan.settled: // it may be time for what had to wait
		case <-s.loan.finish:
			s.ending = true
		case <-when(s.loan.ended, !s.courierGone):
			s.courierEnded()
		case a := <-s.loan.told:
			s.proved(a)
		}
		s.proceed() // sends what was received (lend.go, since a loan may be in the way)
		s.aim()
	}
	over = true
	s.leave()
}

// aim aims the timer. A session that is lent is not idle, however long its holder takes.
func (s *Solo) aim() {
	switch {
	case s.phase == lendNone:
		s.setTimer(s.held && len(s.air) == 0, s.held)
		return
	case len(s.air) > 0:
		s.wakeBy(s.air[0].deadline)
	case s.phase == lendOpen:
		s.wakeBy(s.proofDue())
	}
	if s.held {
		s.wakeBy(s.TrustedUntil())
	}
}

func (s *Solo) tick(now time.Time) {
	s.overdue(now, s.held)
	switch {
	case s.loss != nil || len(s.air) > 0:
	case s.phase != lendNone:
		s.prove(now)
	case s.held && now.Sub(s.askedAt) >= s.config.HealthInterval:
		s.askHealth()
	case !s.held && now.Sub(s.usedAt) >= s.config.idleLimit():
		s.lose(CauseClosed, nil)
	}
}

func (s *Solo) send(r *Request) {
	f := s.newSending(kindLocks)
	f.addOne(r)
	deadline := s.answerBy()
	switch r.Op {
	case OpUnlock:
		f.unlocks = 1
	case OpWait:
		deadline = time.Now().Add(s.config.WaitSlice + s.config.HealthTimeout)
	default:
	}
	if r.Op != OpUnlock {
		s.locks.Add(1)
	}
	if (r.Op == OpUnlock) != s.held || s.held && s.id != r.ID {
		s.air = append(s.air, f)
		s.lose(CauseDoubt, fmt.Errorf("BUG: %v of id %d on a session that holds %d: %v", r.Op, r.ID, s.id, s.held))
		return
	}
	s.held = false // an unlock under way tells its client by its answer
	s.enc.plainWait = s.pool.plainWait.Load()
	message, err := f.encode(&s.enc)
	s.write(f, message, err, deadline)
	s.usedAt = f.sent
}

// record implements kind.
func (s *Solo) record(f *sending) {
	s.outOfAir(f)
	for i := range f.entries {
		e := &f.entries[i]
		s.checkReleased(e)
		s.id, s.client, s.held = e.id, e.client, e.ok && e.op != OpUnlock && !s.ended
	}
	s.recycle(f)
}

// settled implements kind.
func (s *Solo) settled(f *sending) {
	s.held = false
	s.locks.Add(-1)
	if f.entries[0].op == OpWait && !f.plain && isLanguageMissing(f.doubt) {
		s.pool.plainWait.Store(true)
	}
}

// holds implements kind, as does holders.
func (s *Solo) holds() bool { return s.held }

func (s *Solo) holders(each func(id int64, client Client)) {
	if s.held {
		s.held = false
		each(s.id, s.client)
	}
}

// unlockRefused implements kind.
func (s *Solo) unlockRefused(int64) { s.held, s.ended = false, true }

// queued implements kind.
func (s *Solo) queued(each func(*Request)) {
	for _, r := range s.backlog {
		each(r)
	}
	s.backlog = nil
}

// isSliceOver reports whether a plain wait ended as it was meant to, when its slice was over.
func isSliceOver(err error) bool { return sqlState(err) == "55P03" }

// isLanguageMissing reports whether the server has no PL/pgSQL for this role: no such language, or no right to it.
func isLanguageMissing(err error) bool {
	code := sqlState(err)
	return code == "42704" || code == "42501"
}
