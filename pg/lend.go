package pg

import (
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A session that is lent. Its owner lends it when asked, lets the courier write, and takes the session back when the transaction or the hold
// has ended. The connection is never anybody else's: the owner, or the courier with the owner's leave, writes to it; the reader reads. So the
// end of the session is seen when it comes, whatever the holder does. Nothing of the owner's is in the air while something of the
// holder's is, so that each answer is known to be whose.
//
//	asked ── answer ──▶ open ── End, unlock, goodbye ──▶ revoked ── courier ended ──▶ returning ── answer ──▶ over
//
// While the holder's connection is idle the owner pings the server. While a statement of the holder's is under way the server says nothing on
// this connection; then the pool asks on another who has the lock. Either is evidence that the session was alive when it was asked for, and
// extends the trust.
//
// A holder may be slow to read its rows. The server may have sent them all, and count the time as its own idle time, while the reader
// waits with the first of them. So it is nudged: a Sync goes out behind what the holder has asked, and what answers it is dropped. Only
// when all of that has come is anything else sent.
//
// What is lent is not lent to anybody else: what a holder has changed in it, settings or a temporary table, ends with it. So the pool ends
// the session when it comes back.

type lending uint8

const (
	lendNone lending = iota
	lendAsked
	lendOpen
	lendRevoked
	lendReturning
)

// loanState is the owner's.
type loanState struct {
	phase       lending
	loan        *Loan // noLoan where there is none
	writing     bool  // the courier has leave to write
	ending      bool  // the loan is to end
	courierGone bool
	backlog     []*Request // received by run, and not yet sent, with a loan or without
}

// noLoan has no channels: a select on them waits for the other cases.
var noLoan = new(Loan)

// proceed deals with the requests that have been received, in order, as far as that is possible now.
func (s *Solo) proceed() {
	select {
	case <-s.loan.finish: // it was sent before what is in the backlog
		s.ending = true
	default:
	}
	s.takeBack()
	for s.loss == nil && len(s.backlog) > 0 && len(s.air) == 0 {
		r := s.backlog[0]
		if s.phase != lendNone && (r.Op != opLend || s.ending) {
			s.ending = s.ending || r.Op != opLend
			s.takeBack()
			return
		}
		s.backlog = s.backlog[1:] // before it is sent: a Write that panics leaves it in the air
		switch {
		case s.phase != lendNone:
			r.answer(s, false, ErrTxOpen)
		case r.Op != opLend:
			s.send(r)
		case !s.held || s.id != r.ID:
			r.answer(s, false, errNotHeld)
		default:
			s.sendLend(r)
		}
	}
}

// sendLend sends the first statement of a loan.
func (s *Solo) sendLend(r *Request) {
	s.lent.Store(true)
	s.phase, s.loan, s.writing, s.ending, s.courierGone = lendAsked, r.loan, false, false, false
	f := s.newSending(kindLend)
	f.whole, f.loan = r, r.loan
	message, err := s.enc.lend(s.config, s.taken)
	s.write(f, message, err, s.answerBy())
}

// lentAnswered deals with the answer to one of the owner's own statements around and during a loan.
func (s *Solo) lentAnswered(f *sending) {
	s.recordAnswered()
	if f.broken == nil && f.kind == kindBack && f.mayRepeat() {
		s.outOfAir(f)
		f.clearAnswer()
		s.writeBack(f)
		return
	}
	if f.broken != nil || f.kind == kindBack && f.err != nil {
		s.lose(CauseDoubt, orElse(f.broken, f.err))
		return // still in the air: leave refuses what it has
	}
	s.outOfAir(f)
	switch f.kind {
	case kindLend:
		s.lendNow(f)
	case kindBack:
		s.phase, s.loan = lendNone, noLoan
		if err := checkBack(f.text); err != nil {
			s.lose(CauseDoubt, err)
		}
	default:
	}
	s.recycle(f)
}

func orElse(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// lendNow begins the loan. Joined by the owner: the courier closes ended.
func (s *Solo) lendNow(f *sending) {
	l, err := f.loan, f.err
	var welcome []byte
	if err == nil {
		welcome, err = greeting(f.text, s.pid)
	}
	if err != nil {
		s.phase, s.loan = lendNone, noLoan
		f.whole.answer(s, false, err)
		return
	}
	s.phase = lendOpen
	go l.courier(s.conn, welcome)
	f.whole.answer(s, true, nil)
}

// mayWrite reports whether the courier may have leave to write.
func (s *Solo) mayWrite() bool {
	return s.phase == lendOpen && len(s.air) == 0 && !s.writing && !s.loan.unsettled()
}

// letWrite gives it leave. What a holder writes may take the server as long as it likes to read.
func (s *Solo) letWrite() {
	s.writing, s.canWrite = true, time.Time{}
	if err := s.conn.SetWriteDeadline(time.Time{}); err != nil {
		s.lose(CauseDoubt, err)
	}
}

// takeBack ends the loan that is to end, if nothing of the holder's is under way; else the session.
func (s *Solo) takeBack() {
	switch {
	case s.phase != lendOpen || !s.ending:
	case s.loan.busy():
		s.lose(CauseWork, errCut)
	case s.writing && s.courierGone: // with a part of a message
		s.lose(CauseWork, errCut)
	case s.writing: // what was written is answered, and the courier has yet to say that it has written
	default:
		s.phase = lendRevoked
		close(s.loan.revoked)
		_ = s.loan.inner.Close()
	}
	s.sendBack()
}

// courierEnded: the holder's connection has said goodbye, or the session is being taken back.
func (s *Solo) courierEnded() {
	s.courierGone, s.ending = true, true
	select {
	case <-s.loan.wrote: // said before it ended
		s.writing = false
	default:
	}
	if err := s.loan.courierErr; err != errHungUp { //nolint:errorlint // that very value
		s.lose(CauseConnection, err)
	}
}

// sendBack sends the last statements of a loan, once the courier has ended and what was on its way is answered.
func (s *Solo) sendBack() {
	if s.phase != lendRevoked || !s.courierGone || s.loss != nil || len(s.air) > 0 || s.loan.unsettled() {
		return
	}
	s.phase = lendReturning
	s.writeBack(s.newSending(kindBack))
}

func (s *Solo) writeBack(f *sending) {
	message, err := s.enc.back(s.taken, s.id, byte(s.loan.status.Load()))
	s.write(f, message, err, s.answerBy())
}

// proofDue is when the session is to be asked whether it is alive while it is lent: early, since the answer may come by way of another.
func (s *Solo) proofDue() time.Time { return s.askedAt.Add(s.config.HealthInterval / 2) }

// prove asks whether the session is alive.
func (s *Solo) prove(now time.Time) {
	if s.phase != lendOpen || now.Before(s.proofDue()) {
		return
	}
	s.askedAt = now
	if s.writing || s.loan.busy() || s.loan.passing.Load() || s.loan.unsettled() {
		if s.pool.choose() == nil {
			s.pool.wish()
		}
		s.pool.Who(s.id, s.loan)
		s.nudge()
		return
	}
	message, err := s.enc.ping()
	s.write(s.newSending(kindPing), message, err, s.answerBy())
}

// nudge has the server hear of a holder that reads slowly. In a COPY the server would not answer it, so rows must have come, or all of the answer;
// and what the holder asks must have been sent to its end.
func (s *Solo) nudge() {
	l := s.loan
	slow := l.rows.Load()
	if !l.busy() { // asked before passing, which is set first
		slow = l.passing.Load()
	}
	if s.writing || !slow || l.open.Load() {
		return
	}
	s.loan.nudged.Add(1) // before it can be answered
	message, err := s.enc.ping()
	if err == nil {
		err = s.limitWrite(time.Now())
	}
	if err == nil {
		_, err = s.conn.Write(message)
	}
	if err != nil && !s.blocked() {
		s.lose(CauseConnection, err)
	}
}

// proved takes the answer of who holds the lock. It is no evidence where it does not say.
func (s *Solo) proved(a WhoAnswer) {
	switch {
	case s.phase != lendOpen || a.Asked.IsZero():
	case a.Holder == nil || a.Holder.PID != s.pid || !s.beganAt(a.Holder.SessionSince):
		s.lose(CauseDoubt, errNotHeld)
	case a.Asked.Add(s.config.Trust()).After(s.TrustedUntil()):
		s.trust(a.Asked)
	}
}

// beganAt reports whether the session may have begun at that time: it is not always shown.
func (s *Solo) beganAt(t time.Time) bool {
	id, err := parseIdentity(s.identity)
	if err != nil || id.started == "-" || t.IsZero() {
		return true
	}
	return parseHolder([][]byte{nil, nil, nil, []byte(id.started)}).SessionSince.Equal(t)
}

// hangsUp implements kind: the holder has a moment to read what the server said last.
func (s *Solo) hangsUp() {
	if s.phase == lendOpen {
		close(s.loan.revoked)
	}
	if s.loan != noLoan {
		_ = s.loan.inner.SetDeadline(time.Now().Add(s.config.drainDelay()))
	}
}

// hungUp implements kind: the courier ends since the socket and the pipe are closed.
func (s *Solo) hungUp() {
	if s.loan == noLoan {
		return
	}
	_ = s.loan.inner.Close()
	if s.phase >= lendOpen {
		<-s.loan.ended
	}
}

// hangsUp implements kind, as does hungUp: nothing of a shared session is lent.
func (s *Shared) hangsUp() {}
func (s *Shared) hungUp()  {}

// maxAside bounds what the reader keeps of messages that nobody has asked for. Those beyond it are dropped.
const maxAside = 64 << 10

// pass gives the holder a message of the server's. Where the holder has asked nothing it is kept until it has: nobody reads the pipe, and the
// reader must not wait. Where it has it reads, or does as long as it does not want more to come: then the reader waits with it.
func (l *Loan) pass(message pgproto3.BackendMessage, buffered int) {
	before := len(l.out)
	out, err := message.Encode(l.out)
	if err != nil {
		_ = l.inner.Close() // the holder hears nothing any more; its statement fails
		return
	}
	l.out = out
	ready, isReady := message.(*pgproto3.ReadyForQuery)
	if !l.busy() {
		if isReady && l.unsettled() {
			l.out = l.out[:before]
			l.settle()
		}
		if len(l.out) > maxAside {
			l.out = l.out[:before]
		}
		return
	}
	switch message.(type) {
	case *pgproto3.DataRow, *pgproto3.CopyData:
		l.rows.Store(true)
	}
	if isReady {
		l.rows.Store(false)
		l.status.Store(int32(ready.TxStatus))
		l.passing.Store(true) // before nothing is owed any more
		l.answered.Add(1)     // before the holder sees it, who may end the loan at once
	}
	if isReady || buffered == 0 || len(l.out) >= courierBuffer {
		_, _ = l.inner.Write(l.out) // it fails when the session is being taken back: nobody reads any more
		l.out = l.out[:0]
	}
	if isReady {
		l.passing.Store(false)
	}
}

// settle counts an answer to a nudge.
func (l *Loan) settle() {
	l.replied.Add(1)
	select {
	case l.settled <- struct{}{}:
	default:
	}
}
