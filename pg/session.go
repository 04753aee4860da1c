package pg

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// Use is what a session is for.
type Use uint8

// The uses.
const (
	UseShared    Use = iota // many locks
	UseWaiting              // one key that waits, or got its lock by waiting
	UseDedicated            // one key whose user asked for a connection of its own
)

func (u Use) String() string { return [...]string{"shared", "waiting", "dedicated"}[u] }

// Session is one connection and the locks on it. See the package's text for who owns what.
type Session struct {
	pool     *Pool
	config   *Config
	use      atomic.Uint32 // a Use; set by the pool when it hands a solo session out
	pid      uint32
	identity string // the answer to the health question, which never changes
	lineage  lineage
	light    bool // for locks that come one at a time; set by the pool before the session is shared
	conn     net.Conn
	front    *pgproto3.Frontend // its receiving half is the reader's; we encode for ourselves
	base     time.Time          // what trusted counts from; carries the monotonic clock

	toReader chan *flight  // capacity 1: sent by the owner, at most one is under way; received by the reader
	answers  chan *flight  // capacity 1: sent by the reader; received by the owner
	readDone chan struct{} // closed by the reader at its end, after which readErr may be read
	readErr  error
	over     chan struct{}             // closed by whoever had the turn when it found that the session ends, and kept it
	ending   chan struct{}             // closed by the owner: no request is sent any more
	ended    chan struct{}             // closed by the owner at its end: nothing of the session is left
	lost     atomic.Pointer[LossError] // published by the owner before it tells the clients

	// Every request writes these, so they are on a line of a processor's cache of their own.
	_       mailbox.Apart
	inbox   mailbox.Mailbox[*Request]
	waiting atomic.Int64 // requests posted and not yet answered: what the pool chooses by
	_       mailbox.Apart

	locks   atomic.Int64 // length of held, published for the same reason
	trusted atomic.Int64 // until when, in nanoseconds since base; written by the reader at each answer

	duty       atomic.Uint32             // who reads; see attend.go
	attended   atomic.Uint32             // answers that callers read
	callReader chan struct{}             // capacity 1: the duty goes back to the reader, sent by whoever gives it
	readEnd    atomic.Pointer[time.Time] // when reading is to end for good

	// Of who has the duty to read.
	incoming   *flight // the statement whose answer is coming in
	lastWord   *serverEndError
	readFailed error
	readBy     time.Time // the read deadline that the socket has for callers
	alone      int       // statements in a row that had one caller each
	landedAt   time.Time

	turn      mailbox.Turn                   // who has it owns what is below
	telling   mailbox.Turn                   // the reader's while it tells clients, the owner's while it publishes lost
	fatal     atomic.Pointer[serverEndError] // the server's last word, from the reader
	deposedBy atomic.Pointer[lineage]        // a promotion that the pool has seen
	gather    atomic.Int64                   // so many must wait for a statement to be sent before the pause is over; see gather.go
	rest      *time.Timer                    // calls rested
	signals   atomic.Uint32                  // what the owner is to look at: signal bits
	out       atomic.Bool                    // a statement is under way: what queues has to wait; written with the turn

	// The owner's.
	armed    time.Time  // when the timer will fire
	rearm    bool       // something is due earlier than the timer may know
	loss     *LossError // why it ends, nil for an orderly end
	held     map[int64]Client
	backlog  []*Request
	current  *flight
	spare    *flight // the last flight, to be filled again
	encode   encoder
	asked    time.Time // when the health question was last sent
	timer    *time.Timer
	canWrite time.Time  // the write deadline that the socket has
	wait     *Request   // the wait under way
	cancel   *canceller // the cancellation of our own wait under way: until it is answered nothing else is sent
	cancelAt time.Time  // when to cancel it again, should it still be under way
	parked   *flight    // a failed wait that is settled after that
}

func newSession(p *Pool, c *connected) *Session {
	s := &Session{
		pool: p, config: &p.config, pid: c.pid, identity: c.identity, lineage: c.lineage, conn: c.conn, front: c.front, base: c.answered,
		toReader: make(chan *flight, 1), answers: make(chan *flight, 1), readDone: make(chan struct{}),
		callReader: make(chan struct{}, 1), over: make(chan struct{}), ending: make(chan struct{}), ended: make(chan struct{}),
		held: make(map[int64]Client), asked: c.asked, timer: time.NewTimer(p.config.HealthInterval),
	}
	s.trust(c.asked)
	s.rest = time.AfterFunc(restMost, s.rested)
	s.rest.Stop()
	go s.read()
	go s.run()
	return s
}

// PID is the backend's process number.
func (s *Session) PID() uint32 { return s.pid }

// Use is what the session is for.
func (s *Session) Use() Use { return Use(s.use.Load()) }

// TrustedUntil is when the session's locks are lost unless an answer comes. It may be called from any goroutine: whoever
// hands out a grant, or is asked whether one still stands, compares it with the clock, since a process that was
// stopped wakes before its timers fire.
func (s *Session) TrustedUntil() time.Time {
	if loss := s.lost.Load(); loss != nil && loss.Cause != CauseClosed {
		return s.base // also where an answer came after the loss: the reader does not know of it
	}
	return s.base.Add(time.Duration(s.trusted.Load()))
}

func (s *Session) trust(sent time.Time) {
	s.trusted.Store(int64(sent.Add(s.config.Trust()).Sub(s.base)))
}

// Lost is why the session's locks are gone, nil while they are not. It may be called from any goroutine.
func (s *Session) Lost() error {
	if loss := s.lost.Load(); loss != nil {
		return loss
	}
	return nil
}

// Ended is closed when nothing of the session is left.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Submit hands a request to the session. It never blocks, and Done is called exactly once, possibly at once.
func (s *Session) Submit(r *Request) {
	attended := r.Attended // it may be in use again when it has been sent
	s.queue(r)
	s.deal(attended)
}

// submitAll is Submit of many at once, so that the first does not go alone.
func (s *Session) submitAll(all []*Request) {
	for _, r := range all {
		s.queue(r)
	}
	s.deal(false)
}

func (s *Session) queue(r *Request) {
	r.Session, r.OK, r.Err = s, false, nil
	if r.at.Load() != s { // to store costs more than to look
		r.at.Store(s)
	}
	if r.abandoned.Load() {
		r.abandoned.Store(false)
	}
	s.waiting.Add(1)
	r.post(&s.inbox)
}

// deal sees to it that what has been queued is dealt with.
func (s *Session) deal(attended bool) {
	select {
	case <-s.ending:
		// The owner may have looked for the last time before this request came. Whoever takes it answers it.
		s.sweep()
	default:
		s.work()
		if !attended {
			s.MustRead()
		}
	}
}

// The signals.
const (
	signalTimer   = 1 << iota // something may be due
	signalRead                // the reader has ended
	signalNudge               // a wait was abandoned, or its cancellation answered
	signalFatal               // the server has said that it ends the session
	signalStop                // end in good order
	signalDeposed             // a standby of its server has been promoted
)

func (s *Session) signal(bit uint32) {
	s.signals.Or(bit)
	s.work()
	s.MustRead()
}

// stop asks for an orderly end. It does no harm twice.
func (s *Session) stop() { s.signal(signalStop) }

// Abandon asks that a wait end soon: its answer may still be a grant.
func (s *Session) Abandon(r *Request) {
	r.abandoned.Store(true)
	s.signal(signalNudge)
}

// run is the session's own goroutine. Statements are sent and their answers accounted for by whoever submits a request
// to a session at rest, and by the reader; what is left is the clock, and the end, which may take time.
func (s *Session) run() {
	for {
		select {
		case <-s.timer.C:
			s.signal(signalTimer)
		case <-s.over:
			s.finish()
			return
		}
	}
}

// work acts as the owner as long as there is something to do and nobody else is at it. It never waits.
func (s *Session) work() {
	for s.pending() && s.turn.Try() {
		if over := s.step(); over {
			close(s.over) // the turn is kept: finish needs it, and nobody else ever will
			return
		}
		s.turn.Give()
	}
}

func (s *Session) pending() bool {
	return s.signals.Load() != 0 || len(s.answers) > 0 && s.waiting.Load() >= s.gather.Load() || !s.out.Load() && !s.inbox.Empty()
}

// step looks at everything once, and reports whether the session is to end.
func (s *Session) step() (over bool) {
	signals := s.signals.Swap(0)
	select {
	case f := <-s.answers:
		s.landed(f)
	default:
	}
	if s.loss == nil && signals&signalNudge != 0 {
		s.nudged()
	}
	if s.loss == nil && signals&signalFatal != 0 {
		s.lose(CauseServer, s.fatal.Load())
	}
	if s.loss == nil && signals&signalRead != 0 {
		s.readEnded()
	}
	if s.loss == nil && signals&signalDeposed != 0 {
		s.lose(CauseDeposed, fmt.Errorf("it is on timeline %d, and a standby has been promoted to timeline %d",
			s.lineage.timeline, s.deposedBy.Load().timeline))
	}
	if s.loss == nil && signals&signalTimer != 0 {
		s.checkTime()
	}
	if s.loss != nil || signals&signalStop != 0 {
		return true
	}
	s.sendNext()
	if s.loss != nil {
		return true
	}
	if signals != 0 || s.rearm || s.current == nil && s.armed.After(s.asked.Add(s.config.HealthInterval)) {
		s.rearm = false
		s.setTimer()
	}
	s.out.Store(s.current != nil || s.cancel != nil)
	return false
}

// setTimer aims at whatever is due first: the answer under way, the next health question, the end of trust.
func (s *Session) setTimer() {
	due := s.asked.Add(s.config.HealthInterval)
	switch {
	case s.wait != nil && !s.cancelAt.IsZero():
		due = s.cancelAt
	case s.current != nil:
		due = s.current.deadline
	case s.cancel != nil: // its answer comes by itself, or with the end of the session that it was sent on
		due = time.Now().Add(s.config.Trust())
	}
	if until := s.TrustedUntil(); len(s.held) > 0 && until.Before(due) {
		due = until
	}
	s.armed = due
	s.timer.Reset(time.Until(due))
}

func (s *Session) checkTime() {
	now := time.Now()
	if s.wait != nil && !s.cancelAt.IsZero() && !now.Before(s.cancelAt) {
		s.cancelAt = time.Time{}
		s.nudged()
	}
	switch {
	case s.current != nil && !now.Before(s.current.deadline), !now.Before(s.TrustedUntil()) && len(s.held) > 0:
		// An answer may lie ready that the clock overtook (this process was stopped, or starved): it counts, if what
		// it renews reaches to now.
		select {
		case f := <-s.answers:
			s.landed(f)
			if s.loss != nil || now.Before(s.TrustedUntil()) {
				return
			}
		default:
		}
		s.lose(CauseSilence, fmt.Errorf("no answer within %v", s.config.Trust()))
	}
}
