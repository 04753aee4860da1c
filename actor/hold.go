package actor

import (
	"fmt"
	"time"
)

// The part of the machine that gives the lock, ends holds and unlocks.

// grant gives the lock, which is ours at the server, to the first waiter, and to those behind it who may share it. Where nobody
// waits, or the session is not trusted, it is unlocked.
func (m *machine) grant() {
	if c := m.nextHolder(); c != nil {
		m.assign(c, false)
		m.shareOut()
		m.tellSoon()
		return
	}
	m.unlock()
}

// nextHolder is the first waiter, if it may hold the lock as it is.
func (m *machine) nextHolder() *Claim {
	if c := m.queue.head; c != nil && m.mayHold(c) {
		return c
	}
	return nil
}

// mayHold reports whether c may hold the lock, which is ours, as it is: on its session, and in its mode.
func (m *machine) mayHold(c *Claim) bool {
	return !m.closing && m.now.Before(m.trusted) && (!c.Dedicated || m.server.onOwn) && c.Shared == m.server.shared
}

func (m *machine) assign(c *Claim, local bool) {
	m.wakeAt, m.askAt = time.Time{}, time.Time{}
	m.queue.remove(c)
	m.holders.push(c)
	c.stage, c.Granted, c.Local = stageHolding, m.now, local
	m.do(fxGrant, c, nil)
	if !m.server.onOwn {
		m.cancelOwn()
	}
}

func (m *machine) unlock() {
	m.wakeAt, m.askAt = time.Time{}, time.Time{}
	m.server.op = opUnlock
	m.do(fxUnlock, nil, nil)
	m.leaveLock()
}

// release: the holder ends its hold, unless that is over already. Where it gives back what was kept for it, its minimum hold is over.
func (m *machine) release(c *Claim) {
	switch {
	case c.stage == stageHolding:
		m.endHold(c, ErrReleased)
	case c == m.kept:
		m.keptEnough()
	}
}

// contextEnded ends a claim whose context has ended: a waiter is refused, a holder's lock is released.
func (m *machine) contextEnded(c *Claim, cause error) {
	switch {
	case c.stage == stageWaiting:
		m.withdraw(c, cause)
	case c.Hold != HoldWithContext:
	case c.stage == stageHolding:
		c.endedEarly = true
		m.endHold(c, cause)
	case c.stage == stageReleasing:
		c.releaserLeaves()
	}
}

// withdraw refuses a waiter that gives up.
func (m *machine) withdraw(c *Claim, cause error) {
	if c.stage != stageWaiting {
		return
	}
	wasHead := c == m.queue.head
	m.refuse(c, cause)
	if wasHead {
		m.headLeft(c)
	}
}

// headLeft deals with what was under way for the first waiter, which has left.
func (m *machine) headLeft(old *Claim) {
	c := m.queue.head
	if c == nil && m.server.own == ownAsked {
		m.cancelOwn() // no session is opened for those who have gone
	}
	switch state := m.state(); {
	case state == stHeld:
		m.shareOut()
	case state == stWaiting && m.server.op == opPoll && (c == nil || c.Dedicated || c.Shared != m.server.shared):
		m.stopPolling()
	case state == stWaiting && c != nil:
		c.final = true // it inherits the wait, or the poll
	case state == stPausing && (c == nil || c.Dedicated != old.Dedicated):
		m.cancelOwn()
		m.drive()
	case state == stPausing && m.server.own != ownNone:
		c.final = true // it inherits the place in the queue for a session
	}
}

// endHold ends the hold of c. The next waiter gets the lock by a local hand-off, up to the limits of that; after it other
// processes have their turn. The next is woken before the one who releases: that one has no hurry. (Measured, a hundred callers on
// one key: four fifths of the client's CPU a pair, and a fifth more pairs, since the other processor finds less to take over.)
func (m *machine) endHold(c *Claim, cause error) {
	m.do(fxOver, c, cause)
	m.holders.remove(c)
	if m.holders.n > 0 { // they share the lock
		m.do(fxSettle, c, nil)
		return
	}
	if m.keeps(c) {
		m.keep(c)
		return
	}
	if !m.server.lent && m.handOffs+1 < m.limits.HandOffGrants && m.now.Sub(m.grantedAt) < m.limits.HandOffTime && !m.draining {
		if next := m.nextHolder(); next != nil {
			m.handOffs++
			m.assign(next, true)
			m.shareOut()
			m.do(fxSettle, c, nil)
			return
		}
	}
	c.stage, m.leaving = stageReleasing, c
	m.unlock()
}

// unlocked takes the answer to an unlock.
func (m *machine) unlocked(a *Answer) {
	if c := m.leaving; c != nil {
		m.leaving = nil
		m.do(fxSettle, c, releaseOutcome(a))
	}
	if next := m.queue.head; !a.OK || next == nil || !next.Dedicated || m.server.lent {
		m.returnOwn()
	}
	m.server.onOwn = false
	m.offer()
	m.drive()
}

func releaseOutcome(a *Answer) error {
	switch {
	case a.OK:
		return nil
	case a.Err != nil:
		return fmt.Errorf("%w: %w", ErrReleaseUnknown, a.Err)
	default:
		return fmt.Errorf("%w: the server did not have the lock when it was told to release it", ErrLost)
	}
}

// lost: a session has ended. Where the lock is held on it the hold is over; an operation under way is answered by itself.
func (m *machine) lost(on Session) {
	if m.kept != nil && m.kept.Session == on {
		m.keptLost()
		return
	}
	if m.holders.n == 0 || m.holders.head.Session != on {
		return
	}
	cause := fmt.Errorf("%w: %w", ErrLost, on.Lost())
	for c := m.holders.head; c != nil; c = m.holders.head {
		m.holders.remove(c)
		c.lost = true
		m.do(fxOver, c, cause)
		m.do(fxSettle, c, cause)
	}
	m.leftSession()
	m.offer()
	m.drive()
}

// leftSession returns the key's own session where the lock was on it, which has ended.
func (m *machine) leftSession() {
	if m.server.onOwn {
		m.returnOwn()
	}
	m.server.onOwn = false
}
