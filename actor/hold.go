package actor

import "fmt"

// grant gives the lock, which is ours at the server, to the first in line who still wants it; where nobody does, or the
// session is trusted no longer, it is unlocked.
func (m *machine) grant(e *event) {
	if c := m.heir(e); c != nil {
		m.give(e, c, false)
		return
	}
	m.unlock()
}

// heir is the first in line who still wants the lock, if that one may hold it where it is. Those before, who have ended
// and whose message has yet to come, are refused.
func (m *machine) heir(e *event) *Claim {
	for c := m.line.head; c != nil; c = m.line.head {
		ending := c.ending.Load()
		if ending == nil {
			if m.canHold(e, c) {
				return c
			}
			return nil
		}
		m.drop(c, ending.err)
	}
	return nil
}

func (m *machine) give(e *event, c *Claim, local bool) {
	m.state = stHeld
	m.untime()
	m.line.remove(c)
	m.holder = c
	c.stage, c.Granted, c.Local = stageHolding, e.now, local
	m.do(effect{kind: fxGrant, claim: c})
	if !m.onReserved {
		m.unreserve()
	}
}

// canHold reports whether c may hold the lock where it is.
func (m *machine) canHold(e *event, c *Claim) bool {
	return !m.closing && e.now.Before(e.trust) && (m.onReserved || !c.Dedicated)
}

func (m *machine) unlock() {
	m.state = stUnlocking
	m.untime()
	m.do(effect{kind: fxUnlock})
}

// end ends a claim: a waiter withdraws, the holder releases. For one that is over already it is too late to matter.
func (m *machine) end(e *event) {
	c := e.claim
	cause := c.ending.Load().err
	switch c.stage {
	case stageWaiting:
		wasHead := c == m.line.head
		m.drop(c, cause)
		if wasHead {
			m.headLeft(e, c)
		}
	case stageHolding:
		m.release(e, c, cause)
	case stageNew, stageReleasing, stageOver:
	}
}

// headLeft deals with what was under way for the first in line, who has withdrawn.
func (m *machine) headLeft(e *event, old *Claim) {
	c := m.line.head
	switch {
	case m.state == stWaiting && c == nil, m.polling() && c.Dedicated:
		m.abandon()
	case m.polling():
		c.final = true // it inherits the poll
	case m.state == stPausing && (c == nil || c.Dedicated != old.Dedicated):
		m.unreserve()
		m.drive(e.now)
	case m.state == stPausing && m.reserved != resNone:
		c.final = true // it inherits the place in the line for a session
	}
}

// release ends the hold of c. The next in line gets the lock from hand to hand, for at most a quantum; then other
// processes have their turn.
func (m *machine) release(e *event, c *Claim, cause error) {
	m.do(effect{kind: fxOver, claim: c, err: cause})
	m.holder = nil
	if int(m.handed)+1 < m.limits.QuantumGrants && e.now.Sub(m.grantedAt) < m.limits.QuantumTime {
		// An heir is chosen once: whether this release has succeeded hangs on it.
		if next := m.heir(e); next != nil {
			m.do(effect{kind: fxSettle, claim: c})
			m.handed++
			m.give(e, next, true)
			return
		}
	}
	c.stage, m.leaving = stageReleasing, c
	m.unlock()
}

// unlocked takes the answer to an unlock.
func (m *machine) unlocked(e *event) {
	if c := m.leaving; c != nil {
		m.leaving = nil
		m.do(effect{kind: fxSettle, claim: c, err: releaseOutcome(e.answer)})
	}
	c := m.line.head
	if !(e.answer.OK && c != nil && c.Dedicated) {
		if m.reserved == resHave {
			m.unreserve()
		}
	}
	m.onReserved = false
	m.drive(e.now)
}

func releaseOutcome(a Answer) error {
	switch {
	case a.OK:
		return nil
	case a.Err != nil:
		return fmt.Errorf("%w: %w", ErrReleaseUnknown, a.Err)
	default:
		return fmt.Errorf("%w: the server did not have it when it was told to release it", ErrLost)
	}
}

// lost: the session that the lock is on has ended.
func (m *machine) lost(e *event) {
	if m.state != stHeld || e.gone == nil {
		return // what is under way is answered by itself
	}
	c := m.holder
	m.holder = nil
	cause := fmt.Errorf("%w: %w", ErrLost, e.gone)
	m.do(effect{kind: fxOver, claim: c, err: cause})
	m.do(effect{kind: fxSettle, claim: c, err: cause})
	if m.onReserved {
		m.unreserve()
	}
	m.onReserved = false
	m.drive(e.now)
}

// stop: the manager closes. Waiters are refused, the holder's lock is released, and when all that is under way has been
// answered the keeper ends.
func (m *machine) stop(e *event) {
	m.closing = true
	for m.line.head != nil {
		m.drop(m.line.head, ErrClosed)
	}
	switch m.state {
	case stIdle, stPausing:
		m.drive(e.now)
	case stHeld:
		m.release(e, m.holder, ErrClosed)
	case stWaiting:
		m.abandon()
	case stTrying, stUnlocking, stSettling:
	}
}
