package actor

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// contended: somebody else holds the lock, and c, the first in line, has to wait for it.
func (m *machine) contended(c *Claim, now time.Time) {
	m.state = stPausing
	if m.askAt.IsZero() {
		m.timed, m.askAt = true, now.Add(askAfter)
		if !c.Deadline.IsZero() {
			if half := now.Add(c.Deadline.Sub(now) / 2); half.Before(m.askAt) {
				m.askAt = half
			}
		}
	}
	c.final = c.final || !c.PollFirst || c.lastAttempt()
	if !c.final {
		m.pause(c, now)
		m.setTimer()
		return
	}
	m.reserve(c.Dedicated)
	m.wakeAt = time.Time{}
	switch {
	case m.reserved == resHave:
		c.Attempts++
		m.wait(c)
	case c.Dedicated:
		m.setTimer() // it never polls on a session with other locks: the reservation ends the pause
	default:
		m.poll(c)
	}
}

// pause sets the end of the pause by c's own backoff. A backoff that wants to stop does not: MaxAttempts is what bounds
// the attempts.
func (m *machine) pause(c *Claim, now time.Time) {
	d := pauseOfNone
	m.asking = c // for a pause, by code of its own: if that panics, nobody else has to bear it
	if c.backoff == nil && c.NewBackoff != nil {
		c.backoff = c.NewBackoff()
	}
	if c.backoff != nil {
		if next := c.backoff.NextBackOff(); next != backoff.Stop {
			d = next
		}
	}
	m.asking = nil
	m.timed, m.wakeAt = true, now.Add(max(d, 0))
}

// setTimer asks to be woken when the next thing is due.
func (m *machine) setTimer() {
	if !m.due().IsZero() {
		m.do(effect{kind: fxTimer})
	}
}

// due is when the next thing is, zero if never.
func (m *machine) due() time.Time {
	if m.wakeAt.IsZero() || !m.askAt.IsZero() && m.askAt.Before(m.wakeAt) {
		return m.askAt
	}
	return m.wakeAt
}

func (m *machine) wait(c *Claim) {
	m.state, m.onReserved, m.abandoned, m.wakeAt = stWaiting, true, false, time.Time{}
	c.final = true // one that got here by the place of an earlier first does not go back to trying
	m.do(effect{kind: fxWait})
	m.setTimer()
}

// poll waits without a session to wait on. When one is there the same attempt goes on in the server's queue.
func (m *machine) poll(c *Claim) {
	m.state, m.onReserved, m.abandoned = stWaiting, false, false
	c.Attempts++
	m.do(effect{kind: fxPoll})
	m.setTimer()
}

func (m *machine) polling() bool { return m.state == stWaiting && !m.onReserved }

// abandon ends the wait, or the poll, under way.
func (m *machine) abandon() {
	if !m.abandoned {
		m.abandoned = true
		m.do(effect{kind: fxAbandon})
	}
}

// reserve asks for a session of the key's own, unless one is there or asked for. One that was asked for and taken back
// has to be answered first.
func (m *machine) reserve(dedicated bool) {
	switch {
	case m.reserved == resNone && dedicated:
		m.reserved, m.dedicated = resAsked, true
		m.do(effect{kind: fxReserveDedicated})
	case m.reserved == resNone:
		m.reserved, m.dedicated = resAsked, false
		m.do(effect{kind: fxReserve})
	case m.reserved == resAsked && m.dedicated != dedicated:
		m.unreserve()
	}
}

// unreserve lets go of the reserved session, or of the place in the line for one.
func (m *machine) unreserve() {
	switch m.reserved {
	case resHave:
		m.reserved = resNone
		m.do(effect{kind: fxGiveBack})
	case resAsked:
		m.reserved = resDropped
		m.do(effect{kind: fxWithdraw})
	case resNone, resDropped:
	}
}

// reservation takes the answer to a reservation.
func (m *machine) reservation(e *event) {
	dropped := m.reserved == resDropped
	m.reserved = resNone
	if e.answer.OK {
		m.reserved = resHave
	}
	if dropped {
		m.unreserve()
	}
	c := m.line.head
	switch m.state {
	case stIdle:
		m.drive(e.now)
	case stPausing:
		switch {
		case dropped:
			if c.final || c.Dedicated {
				m.reserve(c.Dedicated)
			}
		case !e.answer.OK:
			m.attemptFailed(e)
		case c.Dedicated && !c.final:
			m.drive(e.now)
		default:
			c.Attempts++
			m.wait(c)
		}
	case stWaiting:
		m.reservationOfPoll(c, dropped)
	case stTrying: // if the lock is found held, the session is there to wait on
	case stHeld, stUnlocking, stSettling:
		m.unreserve()
	}
}

// reservationOfPoll takes the answer to a reservation that c has polled for meanwhile. An error is no failure of the
// attempt, which goes on: the timer sees to it that a session is asked for again.
func (m *machine) reservationOfPoll(c *Claim, dropped bool) {
	switch {
	case c == nil:
		m.unreserve()
	case m.reserved == resHave:
		m.abandon()
	case dropped:
		m.reserve(c.Dedicated)
	}
}

// answered takes the answer to the operation under way.
func (m *machine) answered(e *event) {
	switch m.state {
	case stTrying, stWaiting:
		m.tried(e)
	case stSettling:
		if m.settling && e.answer.OK {
			m.unlock()
			return
		}
		m.unlocked(e)
	case stUnlocking:
		m.unlocked(e)
	case stIdle, stPausing, stHeld:
		panic("BUG: an answer came in state " + m.state.String())
	}
}

func (m *machine) tried(e *event) {
	if e.answer.OK {
		m.grantedAt, m.handed = e.now, 0
		m.forget()
		m.grant(e)
		return
	}
	if e.answer.Err != nil {
		if m.reserved == resHave { // it may be gone, and others may be in line for it while this one pauses
			m.unreserve()
		}
		m.attemptFailed(e)
		return
	}
	c := m.line.head
	switch {
	case c == nil:
		m.drive(e.now)
	case c.Try:
		m.drop(c, ErrNotAcquired)
		m.drive(e.now)
	case !m.polling():
		if m.state == stWaiting && !c.Dedicated {
			m.unreserve() // its turn is over: others may be in line for the session
		}
		m.contended(c, e.now)
	case c.Dedicated: // it has come to be the first meanwhile, and has yet to ask for itself
		if !m.dedicated {
			m.unreserve()
		}
		m.drive(e.now)
	case m.reserved == resHave:
		m.wait(c)
	default:
		m.contended(c, e.now)
	}
}

// attemptFailed counts a failed attempt against all who wait: it was made for the key, not for the first of them alone.
func (m *machine) attemptFailed(e *event) {
	m.failed++
	if len(m.failures) == keptFailures {
		m.failures = append([]error(nil), m.failures[1:]...)
	}
	m.failures = append(m.failures, e.answer.Err)
	for c := m.line.head; c != nil; {
		next := c.next
		if tries := int(m.failed - c.joined); !e.answer.Transient || c.Try || tries >= max(1, c.MaxAttempts) {
			c.Attempts = max(c.Attempts, tries)
			m.drop(c, ErrAttempts)
		}
		c = next
	}
	m.askAt = time.Time{}
	c := m.line.head
	if c == nil {
		m.drive(e.now)
		return
	}
	m.state = stPausing
	m.pause(c, e.now)
	m.setTimer()
}

// failuresOf is what failed while c waited.
func (m *machine) failuresOf(c *Claim) []error {
	return m.failures[max(0, len(m.failures)-int(m.failed-c.joined)):]
}
