package actor

import (
	"fmt"
	"time"
)

// state is what the key's keeper is doing about the lock at the server.
type state uint8

const (
	// stIdle: the lock is not ours and nothing is under way.
	stIdle state = iota
	// stTrying: a try is under way.
	stTrying
	// stPausing: between attempts, or until a session for waiting is there, whichever comes first.
	stPausing
	// stWaiting: a wait is under way, in the server's queue, or by polling until there is a session to wait on.
	stWaiting
	// stHeld: the lock is ours, and a claim's.
	stHeld
	// stUnlocking: an unlock is under way.
	stUnlocking
	// stSettling: an operation of an earlier, failed incarnation is under way.
	stSettling
)

func (s state) String() string {
	return [...]string{"idle", "trying", "pausing", "waiting", "held", "unlocking", "settling"}[s]
}

// reserving is how far the keeper is with a session of its own.
type reserving uint8

const (
	resNone reserving = iota
	resAsked
	resDropped // asked and taken back: the answer is still to come
	resHave
)

// Limits are what a keeper keeps to.
type Limits struct {
	// MaxWaiters bounds a key's line.
	MaxWaiters int
	// QuantumTime and QuantumGrants bound how long and how often a lock is handed on inside this process before other
	// processes get their turn.
	QuantumTime   time.Duration
	QuantumGrants int
}

const (
	// askAfter is how long a wait lasts before the keeper finds out who is in the way: most waits are shorter, and
	// the question makes the server look through all its locks.
	askAfter = 100 * time.Millisecond
	askAgain = 2 * time.Second
	// pauseOfNone is the pause of those who have no backoff, or one that wants to stop.
	pauseOfNone = time.Second
	// keptFailures bounds how many failed attempts are remembered for those who wait.
	keptFailures = 64
)

// machine is a keeper's mind: step takes one event and says what is to be done. It does no I/O, reads no clock and
// starts nothing.
type machine struct {
	limits *Limits
	out    []effect

	state      state
	reserved   reserving
	dedicated  bool // what the reservation is for
	onReserved bool // the operation, or the lock, is on the reserved session
	abandoned  bool // the wait under way was abandoned
	settling   bool // in stSettling: the operation under way takes the lock
	closing    bool
	timed      bool // wakeAt or askAt may be set

	holder    *Claim // in stHeld
	leaving   *Claim // whose release is under way, in stUnlocking
	line      line
	handed    int32     // grants inside the process since the server's
	failed    int32     // attempts that failed, ever; it may go round
	grantedAt time.Time // by the server
	remote    *Holder
	asking    *Claim // whose own code is being run

	// ---- not touched where there is no contention and no failure
	failures []error
	wakeAt   time.Time // end of the pause; zero: nothing but a reservation ends it
	askAt    time.Time // when to find out who is in the way; zero: no need
}

// step is the transition. The effects are to be carried out in order; they are valid until the next step.
func (m *machine) step(e *event) []effect {
	m.out = m.out[:0]
	switch e.kind {
	case evAcquire:
		m.acquire(e)
	case evEnd:
		m.end(e)
	case evAnswered:
		m.answered(e)
	case evReserved:
		m.reservation(e)
	case evLost:
		m.lost(e)
	case evTold:
		m.told(e)
	case evTimer:
		m.timer(e)
	case evStop:
		m.stop(e)
	default:
		panic(fmt.Sprintf("BUG: %v is not an event of the machine", e.kind))
	}
	return m.out
}

func (m *machine) do(fx effect) { m.out = append(m.out, fx) }

func (m *machine) refuse(c *Claim, err error) {
	m.do(effect{kind: fxRefuse, claim: c, err: err})
}

// drop takes a waiter out of the line and refuses it.
func (m *machine) drop(c *Claim, err error) {
	m.line.remove(c)
	c.Failures = m.failuresOf(c)
	m.refuse(c, err)
}

func (m *machine) acquire(e *event) {
	c := e.claim
	switch ending := c.ending.Load(); {
	case m.closing:
		m.refuse(c, ErrClosed)
	case ending != nil:
		m.refuse(c, ending.err)
	case c.Try && (m.line.n > 0 || m.state == stHeld || m.state == stWaiting): // trying for nobody: it gets that answer
		m.refuse(c, ErrNotAcquired)
	case m.line.n >= m.limits.MaxWaiters:
		m.refuse(c, ErrTooManyWaiters)
	default:
		c.stage, c.joined = stageWaiting, m.failed
		m.line.push(c)
		if m.state == stIdle {
			m.drive(e.now)
		}
	}
}

// drive starts whatever the first in line needs. The lock is not ours and nothing is under way.
func (m *machine) drive(now time.Time) {
	m.state = stIdle
	m.untime()
	if m.closing {
		for m.line.head != nil {
			m.drop(m.line.head, ErrClosed)
		}
	}
	c := m.line.head
	switch {
	case c == nil:
		m.forget()
		m.unreserve()
		if m.closing && m.reserved == resNone {
			m.do(effect{kind: fxExit})
		}
	case c.Dedicated && m.reserved != resHave:
		m.state = stPausing
		m.reserve(true)
	case c.Dedicated:
		m.try(c, fxTryReserved)
	case c.PollFirst && !c.Try && !c.final && c.lastAttempt():
		m.contended(c, now) // the only attempt it has left is the one that waits
	default:
		m.try(c, fxTry)
	}
}

// untime takes back all that was to happen at some time.
func (m *machine) untime() {
	if m.timed {
		m.timed, m.wakeAt, m.askAt = false, time.Time{}, time.Time{}
	}
}

// forget lets go of what those who wait would have been told.
func (m *machine) forget() {
	m.remote = nil
	if m.failed != 0 {
		m.failures = nil
	}
}

func (m *machine) try(c *Claim, kind effectKind) {
	m.state, m.onReserved = stTrying, kind == fxTryReserved
	c.Attempts++
	m.do(effect{kind: kind})
}

// lastAttempt reports whether the next attempt is the last.
func (c *Claim) lastAttempt() bool { return c.Attempts+1 >= max(1, c.MaxAttempts) }

func (m *machine) timer(e *event) {
	due := func(at time.Time) bool { return !at.IsZero() && !e.now.Before(at) }
	if m.state != stPausing && m.state != stWaiting {
		return
	}
	if due(m.askAt) {
		m.timed, m.askAt = true, e.now.Add(askAgain)
		m.do(effect{kind: fxAsk})
		if m.polling() && !m.abandoned {
			m.reserve(false) // where no session could be opened: those who poll have no place in the server's queue
		}
	}
	if m.state == stPausing && due(m.wakeAt) {
		asked := m.askAt
		m.drive(e.now)
		if !asked.IsZero() {
			m.timed, m.askAt = true, asked
		}
		return
	}
	m.setTimer()
}

func (m *machine) told(e *event) {
	if m.state != stHeld && m.line.n > 0 {
		m.remote = e.holder
	}
}
