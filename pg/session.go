package pg

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// maxStatements is how many statements a shared session may have sent that are not answered. Two spare the server the wait for the next
// one, and the owner a wake-up for each answer. (Measured: a third more pairs at a thousand keys than with one; a third
// statement gains nothing.)
const maxStatements = 2

// airRoom is the room for statements in the air: one more, for a hint that goes right behind a release.
const airRoom = maxStatements + 1

// session is what both kinds of session are made of: a connection, the goroutine that reads it, and how far it is trusted. Two
// goroutines belong to it: the owner, which is run of [Shared] or [Solo], and the reader, which is read.
type session struct {
	pool   *Pool
	config *Config
	connection
	self kind // the Shared or Solo that this is part of

	endTold bool // the pool's: it knows that the session has ended

	// Sent by keepers and the pool; received by the owner; never closed; capacity as the kind says.
	requests chan *Request
	// Sent by the owner; received by the reader; never closed; capacity airRoom: as many statements are in the air at most.
	sent chan *sending
	// Sent by the reader: statements whose clients it has told; received by the owner, when it next has a use for them; never
	// closed; capacity airRoom, as before.
	answered chan *sending
	// Sent by the reader: statements that the owner has to look at, since they failed, have no client (a health question, what settles a doubt,
	// the owner's own of a loan), or their answer is not what it should be; received by the owner; never closed; capacity airRoom, as before.
	toOwner chan *sending
	// Sent by the reader; received by the owner; never closed; capacity 1: a server has one last word.
	lastWord chan *serverEndError
	// Closed by the reader at its end, after which readEnd and readErr may be read; received by the owner; nothing is sent.
	readEnded chan struct{}
	readEnd   readEnd
	readErr   error
	// Sent by the pool; received by the owner; never closed; capacity 2: one order to stop and one failover at most.
	orders chan order
	// Of a Shared. Sent by the reader, which takes what is unread and sends it together with what is new; received by the goroutine that passes
	// it on (Pool.passOn); never closed; capacity 1: there is one sender, which has just made room.
	heard chan []string
	// Closed by the owner at its end: all that it received is answered; received by senders of requests, by Pool.passOn, by puddle's goroutine and
	// by who waits for a loan; nothing is sent.
	gone chan struct{}

	use     atomic.Int32              // a Use, for events; written by run of the pool, before it gives a Solo to a key
	trusted atomic.Int64              // written by who starts it, by the reader, and by the owner of a lent one: until when the session is trusted, in nanoseconds since connection.asked
	lost    atomic.Pointer[LossError] // written by the owner, before it tells the clients
	closed  atomic.Bool               // written by the owner: it receives requests for the last time
	inAir   atomic.Int64              // written by the owner, which adds a statement that it sends, and by the reader, which takes it off
	locks   atomic.Int64              // written by the owner, which adds what it asks for, and by both, who take off what is not held

	// The owner's.
	air      []*sending // sent, and not yet back from the reader; oldest first
	free     []*sending // to be filled again
	enc      encoder
	loss     *LossError // why the session ends; nil while it does not
	timer    *time.Timer
	armed    time.Time // when the timer fires
	askedAt  time.Time // when the health question was last sent
	usedAt   time.Time // when a statement of a client's was last sent
	canWrite time.Time // the write deadline that the socket has
	badConn  bool      // a method of the connection panicked, or ended the goroutine: it is closed without a goodbye
}

func newSession(p *Pool, c *connection, room int) session {
	now := time.Now()
	return session{
		pool: p, config: &p.config, connection: *c,
		requests: make(chan *Request, room), sent: make(chan *sending, airRoom), answered: make(chan *sending, airRoom),
		toOwner: make(chan *sending, airRoom), lastWord: make(chan *serverEndError, 1), readEnded: make(chan struct{}),
		orders: make(chan order, 2), gone: make(chan struct{}),
		enc: encoder{scope: p.config.scope}, timer: time.NewTimer(p.config.HealthInterval), armed: now.Add(p.config.HealthInterval), askedAt: c.asked, usedAt: now,
	}
}

// kind is what differs between a [Shared] and a [Solo] where their owner deals with answers and with the end.
type kind interface {
	Session
	// record keeps account of the ids of a statement whose clients have been told.
	record(f *sending)
	// settled does so for a failed one, of whose ids none is held any more.
	settled(f *sending)
	// holds reports whether an id is held; holders gives each that is, and forgets it.
	holds() bool
	holders(each func(id int64, client Client))
	// unlockRefused is called before an unlock is refused: its client hears of the loss by that, and only by that.
	unlockRefused(id int64)
	// hangsUp is called before the connection is closed, and hungUp after.
	hangsUp()
	hungUp()
	// queued gives each request that was received and not sent, and forgets it.
	queued(each func(*Request))
}

// order is what the pool tells a session's owner: to stop, or that another server has taken its server's place.
type order struct{ failedOver *timeline }

// PID implements [Session], as do TrustedUntil and Lost.
func (s *session) PID() uint32 { return s.pid }

// TrustedUntil is in the past once the session is lost, also where an answer came after the loss.
func (s *session) TrustedUntil() time.Time {
	if s.lost.Load() != nil {
		return s.asked
	}
	return s.asked.Add(time.Duration(s.trusted.Load()))
}

func (s *session) trust(sent time.Time) {
	s.trusted.Store(int64(sent.Add(s.config.Trust()).Sub(s.asked)))
}

// Lost implements [Session].
func (s *session) Lost() error {
	if loss := s.lost.Load(); loss != nil {
		return loss
	}
	return nil
}

// unsentNow is the channel that Submit returns once it has sent a request. The owner sets closed before it receives for the last
// time: whoever finds it unset after sending has been received, or will be.
func (s *session) unsentNow() <-chan struct{} {
	if s.closed.Load() {
		return s.gone
	}
	return nil
}

// lose ends the session. The owner's loop sees it.
func (s *session) lose(cause Cause, err error) {
	if s.loss == nil {
		s.loss = newLossError(cause, s.pid, err)
	}
}

// readLost ends the session since the reader has ended.
func (s *session) readLost() { s.lose(endCauses[s.readEnd], s.readErr) }

func (s *session) obey(o order) {
	switch latest := o.failedOver; {
	case latest == nil:
		s.lose(CauseClosed, nil)
	case latest.system != s.timeline.system:
		s.lose(CauseCluster, fmt.Errorf("the server is of cluster %s, and one of cluster %s answers under its name", s.timeline.system, latest.system))
	default:
		s.lose(CauseFailedOver, fmt.Errorf("the server is on timeline %d, and a standby was promoted to timeline %d",
			s.timeline.number, latest.number))
	}
}

// newSending is an empty statement.
func (s *session) newSending(kind sendingKind) *sending {
	var f *sending
	if n := len(s.free); n > 0 {
		f, s.free = s.free[n-1], s.free[:n-1]
	} else {
		f = new(sending)
	}
	f.reset(kind)
	f.scope = s.config.scope
	return f
}

// recordAnswered takes back what the reader has delivered.
func (s *session) recordAnswered() {
	for {
		select {
		case f := <-s.answered:
			s.self.record(f)
		default:
			return
		}
	}
}

// look deals with a statement that the reader has left to the owner.
func (s *session) look(f *sending) {
	s.recordAnswered() // they came before
	if f.told.Load() {
		s.self.record(f)
		return
	}
	s.outOfAir(f)
	switch {
	case f.broken != nil:
		s.air = append(s.air, f) // nobody has been answered: leave does it
		cause := CauseDoubt
		if f.broken == errStray { //nolint:errorlint // it is put there as it is
			cause = CauseRecovery
		}
		s.lose(cause, f.broken)
	case f.skipped:
		s.resend(f)
	case f.err != nil && f.kind == kindLocks:
		s.settle(f)
	case f.mayRepeat():
		s.resend(f)
	case f.err != nil:
		s.air = append(s.air, f)
		s.lose(CauseDoubt, errors.Join(f.doubt, f.err))
	case f.kind == kindSettle && f.entries[0].op == OpWait && f.entries[0].ok:
		// The block of a wait may have been stopped where it held the lock twice: between its try and its unlock. It is unlocked
		// until there is nothing to unlock.
		f.err = f.doubt
		s.settle(f)
	case f.kind == kindSettle:
		s.self.settled(f)
		s.tellSettled(f)
		s.recycle(f)
	default:
		s.identified(f)
		s.recycle(f)
	}
}

// checkReleased ends the session where an unlock did not find its lock.
func (s *session) checkReleased(e *entry) {
	if e.op == OpUnlock && !e.ok {
		s.lose(CauseDoubt, fmt.Errorf("the server did not have the lock %d that it was told to release", e.id))
	}
}

// tellSettled answers the requests of a failed statement, now that none of its ids is held.
func (s *session) tellSettled(f *sending) {
	if f.whole != nil {
		f.whole.answer(s.self, false, f.doubt)
		return
	}
	for i := range f.entries {
		e := &f.entries[i]
		switch {
		case e.op == OpUnlock:
			e.req.answer(s.self, true, nil)
		case e.op == OpWait && (isSliceOver(f.doubt) || !f.plain && isLanguageMissing(f.doubt)): // the next wait is a plain one
			e.req.answer(s.self, false, nil)
		default:
			e.req.answer(s.self, false, f.doubt)
		}
	}
}

// outOfAir takes a statement out of those in the air.
func (s *session) outOfAir(f *sending) {
	for i := range s.air {
		if s.air[i] == f {
			s.air = append(s.air[:i], s.air[i+1:]...)
			return
		}
	}
}

func (s *session) recycle(f *sending) { s.free = append(s.free, f) }

// askHealth sends the health question.
func (s *session) askHealth() {
	message, err := s.enc.ask()
	s.askedAt = time.Now()
	s.write(s.newSending(kindAsk), message, err, s.askedAt.Add(s.config.HealthTimeout))
}

// settle unlocks once every id of a failed statement. The boolean tells what became of it: true, it was held and is free now;
// false, it was not. Nobody is answered before.
func (s *session) settle(f *sending) {
	f.kind, f.doubt = kindSettle, f.err
	s.sendAfterFailure(f, s.answerBy())
}

// resend sends a statement again which was not executed since one before it has failed, or was cancelled.
func (s *session) resend(f *sending) {
	s.sendAfterFailure(f, time.Now().Add(f.deadline.Sub(f.sent)))
}

// sendAfterFailure sends a statement that is the first since another has failed, or may be.
func (s *session) sendAfterFailure(f *sending, deadline time.Time) {
	f.clearAnswer()
	s.enc.failed = true
	message, err := f.message(&s.enc)
	s.enc.failed = false
	s.write(f, message, err, deadline)
}

// identified looks at the answer to the health question.
func (s *session) identified(f *sending) {
	same, recovery := sameBackend(s.identity, f.identity)
	if same {
		return
	}
	cause := CauseBackend
	if recovery {
		cause = CauseRecovery
	}
	s.lose(cause, fmt.Errorf("%q answered, %q was expected (backend, in recovery, start of the server, start of the backend, database)",
		f.identity, s.identity))
}

// answerBy is when a statement's answer must be here: as long as the session is trusted, and never sooner than that of a health
// question.
func (s *session) answerBy() time.Time {
	least := time.Now().Add(s.config.HealthTimeout)
	if until := s.TrustedUntil(); until.After(least) {
		return until
	}
	return least
}

// write sends a statement.
func (s *session) write(f *sending, message []byte, err error, deadline time.Time) {
	f.sent, f.deadline = time.Now(), deadline
	s.air = append(s.air, f)
	if err == nil {
		err = s.limitWrite(f.sent)
	}
	if err != nil {
		s.lose(CauseDoubt, err)
		return
	}
	s.inAir.Add(1)
	s.sent <- f // it has room: no more than airRoom are in the air
	if _, err := s.conn.Write(message); err != nil && !s.blocked() {
		// The server may have said why, and the reader is about to read it. Its end tells, or the statement's deadline.
		_ = s.conn.SetReadDeadline(deadline)
	}
}

// limitWrite sets the write deadline. The socket's buffer has room for a statement, since few are in the air, so that a write
// returns at once; the deadline stands in case it does not. It is renewed only now and then, as each renewal costs a timer. Where
// locks are held it is not later than the end of the trust, at which the owner has to tell their holders.
func (s *session) limitWrite(now time.Time) error {
	least, most := now.Add(s.config.HealthTimeout), now.Add(2*s.config.HealthTimeout)
	if until := s.TrustedUntil(); until.Before(most) && s.self.holds() {
		most = until
		if until.Before(least) {
			least = until
		}
	}
	if !s.canWrite.Before(least) && !s.canWrite.After(most) {
		return nil
	}
	s.canWrite = most
	return s.conn.SetWriteDeadline(most)
}

// blocked ends the session, and returns true, where a write has failed since it blocked until its deadline.
func (s *session) blocked() bool {
	if time.Now().Before(s.canWrite) {
		return false
	}
	s.lose(CauseSilence, errors.New("the connection took no statement in time"))
	return true
}

// overdue ends the session where an answer is late, or where it holds locks and is not trusted any more.
func (s *session) overdue(now time.Time, holds bool) {
	switch {
	case holds && !now.Before(s.TrustedUntil()):
		s.lose(CauseSilence, fmt.Errorf("no answer within %v", s.config.Trust()))
	case len(s.air) > 0 && !now.Before(s.air[0].deadline):
		s.lose(CauseSilence, fmt.Errorf("no answer within %v", s.air[0].deadline.Sub(s.air[0].sent)))
	}
}

// setTimer aims at whatever is due first. It leaves a timer alone that fires too early: whoever looks then sets it again. asks says
// that the session has locks, or has asked for some, and room for the health question: it is sent when it is due. Only locks that
// it holds can be lost: it may have asked for others when its trust had run out, since a session without locks asks nothing.
func (s *session) setTimer(asks, holds bool) {
	at := s.usedAt.Add(s.config.idleLimit())
	if len(s.air) > 0 {
		at = s.air[0].deadline
	}
	if next := s.askedAt.Add(s.config.HealthInterval); asks && (len(s.air) == 0 || next.Before(at)) {
		at = next
	}
	if until := s.TrustedUntil(); holds && until.Before(at) {
		at = until
	}
	s.wakeBy(at)
}

// wakeBy has the timer fire at that time at the latest.
func (s *session) wakeBy(at time.Time) {
	if s.armed.IsZero() || at.Before(s.armed) {
		s.armed = at
		s.timer.Reset(time.Until(at))
	}
}
