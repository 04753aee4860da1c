package actor

import (
	"fmt"
	"time"
)

// Limits are what a keeper keeps to.
type Limits struct {
	// MaxWaiters bounds the claims that wait for one key.
	MaxWaiters int
	// HandOffTime and HandOffGrants bound how long and how often a lock is handed on inside this process before other
	// processes get their turn at the server.
	HandOffTime   time.Duration
	HandOffGrants int
	// Hints: processes tell each other when to try for a lock. Otherwise each waits in the server's queue.
	Hints bool
}

const (
	// askAfter is how long a claim waits before the keeper asks who holds the lock: most waits are shorter, and the
	// question makes the server read its whole lock table. askAgain is the time between two questions.
	askAfter = 100 * time.Millisecond
	askAgain = 2 * time.Second
	// defaultPause is the pause before the next attempt of a claim whose caller has not said how long it is.
	defaultPause = time.Second
	// keptFailures bounds how many failed attempts are remembered for those who wait.
	keptFailures = 64
)

// machine decides what a keeper does. step takes one message and gives the effects; it does no I/O, reads no clock, starts
// nothing and waits for nothing. The keeper's goroutine alone calls it.
type machine struct {
	limits *Limits

	// Of the step under way.
	before  server // what was known of the server before the message
	server  server // what is known now
	now     time.Time
	trusted time.Time // until when the session that holds the lock is trusted
	effects []effect

	// ---- kept from step to step
	queue     queue
	holders   queue  // one, or any number that share the lock
	leaving   *Claim // whose release the unlock under way is
	kept      *Claim // whose minimum hold goes on, although its hold is over
	pausing   bool   // between two attempts, or until there is a session to wait on
	inherited bool   // the operation under way is of an earlier incarnation: a grant is given back
	closing   bool
	peers     *peers // nil until the key is wanted here and elsewhere at one time
	owes      bool   // this process was the last known to hold the lock, or to be offered it: it answers those who want it

	grantedAt time.Time // by the server
	handOffs  int       // since then
	askedAt   time.Time // while the lock is shared: when it was last asked whether somebody waits for it
	draining  bool      // somebody elsewhere waits for the lock: nobody joins those who share it
	remote    *Holder   // who else holds the lock
	failed    int32     // attempts that failed, ever; it may wrap
	failures  []error
	wakeAt    time.Time // the end of the pause; zero: only a reservation ends it
	askAt     time.Time // when to ask who holds the lock; zero: no need
	lastAsk   time.Time // when that was asked last
	triedAt   time.Time // when the try came that waits for the end of somebody else's wait
}

// state is what the key's keeper is doing about the lock at the server. It follows from what is known of the server.
type state uint8

const (
	stIdle      state = iota // the lock is not ours and nothing is under way
	stTrying                 // a try is under way
	stPausing                // between attempts, or until there is a session to wait on
	stWaiting                // a wait in the server's queue, or a poll, is under way
	stHeld                   // the lock is ours, and a claim's
	stKept                   // the lock is ours, and nobody's: a minimum hold goes on
	stUnlocking              // an unlock is under way
	stSettling               // an operation of an earlier incarnation is under way
)

func (s state) String() string {
	return [...]string{"idle", "trying", "pausing", "waiting", "held", "kept", "unlocking", "settling"}[s]
}

func (m *machine) state() state {
	switch s := &m.server; {
	case s.op == opUnlock:
		return stUnlocking
	case s.op != opNone && m.inherited:
		return stSettling
	case s.op == opTry:
		return stTrying
	case s.op != opNone:
		return stWaiting
	case s.held && m.kept != nil:
		return stKept
	case s.held:
		return stHeld
	case m.pausing:
		return stPausing
	default:
		return stIdle
	}
}

// step is the transition: what was known of the server before a message, what is known with it, and the message give effects.
// They are to be carried out in order, and are valid until the next step. trusted is until when the session that holds the lock is
// trusted.
func (m *machine) step(before, known *server, e message, now, trusted time.Time) []effect {
	m.effects, m.now, m.trusted = m.effects[:0], now, trusted
	m.before, m.server = *before, *known
	switch e := e.(type) {
	case acquire:
		m.acquire(e.claim)
	case release:
		m.release(e.claim)
	case contextEnded:
		m.contextEnded(e.claim, e.cause)
	case withdraw:
		m.withdraw(e.claim, e.cause)
	case paused:
		m.paused(e.claim, e.pause)
	case Answered:
		m.answered(e.Answer)
	case Reserved:
		m.reserved(e.Answer)
	case Lost:
		m.lost(e.Session)
	case Told:
		m.told(e)
	case heard:
		m.heard(e.Hint)
	case due:
		m.due()
	case closing:
		m.close()
	default:
		panic(fmt.Sprintf("BUG: %T is not an event of the machine", e))
	}
	return m.effects
}

// do is not inlined: each of its callers would need the room on the stack.
//
//go:noinline
func (m *machine) do(kind effectKind, c *Claim, err error) {
	m.effects = append(m.effects, effect{claim: c, err: err, kind: kind, server: m.server})
}

// refuse takes a waiter out of the queue, where it is there, and refuses it.
func (m *machine) refuse(c *Claim, err error) {
	if c.stage == stageWaiting {
		m.queue.remove(c)
		c.Failures = m.failuresOf(c)
	}
	c.stage = stageOver
	m.do(fxRefuse, c, err)
}

func (m *machine) acquire(c *Claim) {
	state := m.state()
	switch {
	case m.closing:
		m.refuse(c, ErrClosed)
	case state == stHeld && m.joins(c):
		m.queue.push(c)
		m.join(c)
	case c.Try && (m.queue.n > 0 || state == stHeld || state == stKept):
		m.refuse(c, ErrNotAcquired)
	case m.queue.n >= m.limits.MaxWaiters:
		m.refuse(c, ErrTooManyWaiters)
	default:
		c.stage, c.joined = stageWaiting, m.failed
		m.queue.push(c)
		switch {
		case state == stIdle:
			m.drive()
		case c.Try && m.server.op == opWait:
			m.askForTry()
		}
	}
}

// drive starts what the first waiter needs. The lock is not ours and nothing is under way.
func (m *machine) drive() {
	m.pausing = false
	m.wakeAt, m.askAt = time.Time{}, time.Time{}
	if m.closing {
		m.refuseAll(ErrClosed)
	}
	c := m.queue.head
	switch {
	case c == nil:
		m.clearWait()
		m.cancelOwn()
		if m.owes {
			m.offer()
		}
		if m.closing && m.server.idle() {
			m.do(fxExit, nil, nil)
		}
	case c.Dedicated && m.server.own != ownHave:
		m.pausing = true
		m.reserve(c)
	case c.Dedicated:
		m.try(c, fxTryOwn)
	case c.PollFirst && !c.Try && !c.final && c.lastAttempt():
		m.contended(c) // the only attempt it has left is the one that waits
	case m.listed() && m.announces(c):
		m.contended(c) // the lock has just been offered to others
	default:
		m.try(c, fxTry)
	}
}

func (m *machine) refuseAll(err error) {
	for m.queue.head != nil {
		m.refuse(m.queue.head, err)
	}
}

// clearWait forgets what those who wait would have been told.
func (m *machine) clearWait() {
	m.remote, m.failures = nil, nil
	m.endHint()
}

func (m *machine) try(c *Claim, kind effectKind) {
	c.Attempts++
	m.server.op, m.server.shared, m.server.onOwn = opTry, c.Shared, kind == fxTryOwn
	if m.peers != nil {
		m.peers.offered = false
	}
	m.do(kind, c, nil)
}

// lastAttempt reports whether the next attempt is the last that the claim has.
func (c *Claim) lastAttempt() bool { return c.Attempts+1 >= max(1, c.MaxAttempts) }

// nextDue is when due is to be sent, zero if never. What due would not look at now is not due: it may lie in the past.
func (m *machine) nextDue() time.Time {
	switch state := m.state(); {
	case state == stKept:
		return sooner(m.kept.keptUntil(), m.tellHeldAt())
	case state == stHeld:
		return sooner(m.askReadersAt(), m.tellHeldAt())
	case state == stWaiting, state == stSettling:
		return sooner(m.askAt, m.fallAt())
	case state != stPausing && state != stWaiting:
		return time.Time{}
	case m.wakeAt.IsZero() || !m.askAt.IsZero() && m.askAt.Before(m.wakeAt):
		return m.askAt
	default:
		return m.wakeAt
	}
}

// due looks at what the time has come for. One that comes early, or late, does no harm.
func (m *machine) due() {
	passed := func(at time.Time) bool { return !at.IsZero() && !m.now.Before(at) }
	state := m.state()
	switch state {
	case stPausing, stWaiting, stSettling:
	case stKept:
		m.tellHeld()
		m.keptEnough()
		return
	case stHeld:
		if passed(m.askReadersAt()) {
			m.askWaiters()
		}
		m.tellHeld()
		return
	case stIdle, stTrying, stUnlocking:
		return
	}
	switch {
	case !passed(m.askAt):
	case m.queue.n == 0: // whom it was for has given up
		m.askAt = time.Time{}
	default:
		m.askHolder()
		if c := m.queue.head; m.server.op == opPoll && !m.server.stopping && !m.announces(c) {
			m.reserve(c) // no session could be opened before: those who poll are not in the server's queue
		}
	}
	if passed(m.fallAt()) {
		m.hintFailed()
	}
	if state == stPausing && passed(m.wakeAt) {
		askAt := m.askAt
		if m.drive(); m.askAt.IsZero() {
			m.askAt = askAt
		}
	}
}

func (m *machine) told(t Told) {
	switch state := m.state(); {
	case t.Asked.IsZero(): // the question failed
	case state == stHeld:
		m.toldOfWaiters(t)
	case state != stKept && m.queue.n > 0:
		m.remote = t.Holder
		m.toldOfTry(t)
	}
}

// sooner is the sooner of two times that are not zero.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// close: the supervisor closes. Waiters are refused, the holder's lock is released, and the keeper ends when all that is
// under way has been answered.
func (m *machine) close() {
	m.closing = true
	m.refuseAll(ErrClosed)
	switch m.state() {
	case stIdle, stPausing:
		m.drive()
	case stHeld:
		for c := m.holders.head; c != nil; {
			next := c.next
			if c.Hold == HoldForWork {
				m.do(fxNotify, c, ErrClosed)
			} else {
				m.endHold(c, ErrClosed)
			}
			c = next
		}
	case stKept:
		m.kept = nil
		m.unlock()
	case stWaiting:
		m.stopPolling()
	case stTrying, stUnlocking, stSettling:
	}
}
