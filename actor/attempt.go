package actor

import "time"

// The part of the machine that asks for the lock: attempts, pauses, and a session of the key's own to wait on.

// answered takes the answer to the operation that was under way.
func (m *machine) answered(a *Answer) {
	inherited := m.inherited
	m.inherited = false
	if m.before.op == opNone {
		panic("BUG: an answer, and nothing is under way")
	}
	if m.server.held {
		m.offerTaken()
	}
	switch {
	case m.before.op == opUnlock || inherited && !m.server.held:
		m.unlocked(a)
	case inherited:
		m.unlock() // this incarnation has not asked for it
	default:
		m.tried(a)
	}
}

func (m *machine) tried(a *Answer) {
	c := m.queue.head
	switch {
	case a.OK:
		m.grantedAt, m.askedAt, m.handOffs, m.draining = m.now, m.now, 0, false
		m.clearWait()
		m.grant()
	case a.Again:
		if c != nil {
			c.Attempts = max(0, c.Attempts-1) // nothing was asked
		}
		m.drive()
	case a.Err != nil:
		m.returnOwn() // it may have ended, and others may queue for it while this key pauses
		m.attemptFailed(a)
	case c == nil, c.isUnasked():
		m.drive()
	case c.Try:
		m.refuse(c, ErrNotAcquired)
		m.drive()
	default:
		m.notGranted(c)
	}
}

// notGranted: another process holds the lock, and c, the first waiter, has to wait for it.
func (m *machine) notGranted(c *Claim) {
	switch {
	case m.before.op != opWait && m.takeOffer(c):
		m.try(c, fxTry)
	case m.before.op != opPoll:
		if m.before.op == opWait && !c.Dedicated {
			m.returnOwn() // its slice is over: others may queue for the session
		}
		m.contended(c)
	case c.Dedicated: // it has become the first waiter during the poll, and has yet to ask for itself
		if !m.server.dedicated {
			m.cancelOwn()
		}
		m.drive()
	case m.server.own == ownHave:
		m.wait(c)
	default:
		m.contended(c)
	}
}

func (m *machine) contended(c *Claim) {
	m.pausing = true
	if m.askAt.IsZero() {
		m.askAt = m.now.Add(askAfter)
		if !c.Deadline.IsZero() {
			if half := m.now.Add(c.Deadline.Sub(m.now) / 2); half.Before(m.askAt) {
				m.askAt = half
			}
		}
	}
	c.final = c.final || !c.PollFirst || c.lastAttempt()
	if !c.final {
		m.pause(c)
		return
	}
	m.wakeAt = time.Time{}
	if m.server.own != ownHave && m.announces(c) {
		m.noSession()
		m.pollForHint(c)
		return
	}
	m.reserve(c)
	switch {
	case m.server.own == ownHave:
		c.Attempts++
		m.wait(c)
	case c.Dedicated: // it never polls on a session with other locks: the reservation ends the pause
	default:
		m.poll(c)
	}
}

// wait waits in the server's queue. A claim that does so once does not poll first again.
func (m *machine) wait(c *Claim) {
	c.final, m.pausing, m.wakeAt = true, false, time.Time{}
	m.server.op, m.server.shared, m.server.onOwn = opWait, c.Shared, true
	m.do(fxWait, c, nil)
}

// poll waits without a session to wait on. When there is one the same attempt goes on in the server's queue.
func (m *machine) poll(c *Claim) {
	c.Attempts++
	m.pausing = false
	m.server.op, m.server.shared, m.server.onOwn, m.server.stopping = opPoll, c.Shared, false, false
	if m.peers != nil {
		m.peers.fallAt = time.Time{} // of an earlier poll
	}
	m.do(fxPoll, c, nil)
}

func (m *machine) stopPolling() {
	if m.server.op == opPoll && !m.server.stopping {
		m.server.stopping = true
		m.do(fxStopPolling, nil, nil)
	}
}

// pause begins a pause, and asks the caller of c how long it is to be.
func (m *machine) pause(c *Claim) {
	m.pausing, m.wakeAt = true, m.now.Add(defaultPause)
	if !c.askedPause {
		m.do(fxAskPause, c, nil)
	}
}

func (m *machine) paused(c *Claim, d time.Duration) {
	c.askedPause = false
	if c == m.queue.head && m.state() == stPausing && !m.wakeAt.IsZero() {
		m.wakeAt = m.now.Add(max(d, 0))
	}
}

// attemptFailed counts a failed attempt against all who wait: it was made for the key, not for the first waiter alone.
// Where its session had ended, the first waiter may try once more at once: the server was not heard.
func (m *machine) attemptFailed(a *Answer) {
	if c := m.queue.head; c != nil && a.Ended && !c.retried {
		c.retried = true
		c.Failures = append(c.Failures, a.Err)
		m.drive()
		return
	}
	m.failed++
	if len(m.failures) == keptFailures {
		m.failures = append([]error(nil), m.failures[1:]...)
	}
	m.failures = append(m.failures, a.Err)
	for c := m.queue.head; c != nil; {
		next := c.next
		if tries := int(m.failed - c.joined); !a.Transient || c.Try || tries >= max(1, c.MaxAttempts) {
			c.Attempts = max(c.Attempts, tries)
			m.refuse(c, ErrAttempts)
		}
		c = next
	}
	m.askAt = time.Time{}
	c := m.queue.head
	if c == nil {
		m.drive()
		return
	}
	m.pause(c)
}

// failuresOf is what failed while c waited.
func (m *machine) failuresOf(c *Claim) []error {
	return append(c.Failures, m.failures[max(0, len(m.failures)-int(m.failed-c.joined)):]...)
}

// reserve asks for a session of the key's own for c, unless there is one or it was asked for. One that was asked for and
// taken back has to be answered first.
func (m *machine) reserve(c *Claim) {
	switch {
	case c.PollOnly:
	case m.server.own == ownNone:
		m.server.own, m.server.dedicated = ownAsked, c.Dedicated
		m.do(fxReserve, c, nil)
	case m.server.own == ownAsked && m.server.dedicated != c.Dedicated:
		m.cancelOwn()
	}
}

// cancelOwn returns the key's own session, or takes the reservation back.
func (m *machine) cancelOwn() {
	if m.server.own == ownAsked {
		m.server.own = ownWithdrawn
		m.do(fxWithdraw, nil, nil)
		return
	}
	m.returnOwn()
}

func (m *machine) returnOwn() {
	if m.server.own == ownHave {
		m.server.own, m.server.lent = ownNone, false
		m.do(fxReturn, nil, nil)
	}
}

// reserved takes the answer to a reservation.
func (m *machine) reserved(a *Answer) {
	withdrawn := m.before.own == ownWithdrawn
	if !withdrawn && m.before.own != ownAsked {
		panic("BUG: a session that was not asked for")
	}
	if withdrawn {
		m.returnOwn()
	}
	c := m.queue.head
	switch m.state() {
	case stIdle:
		m.drive()
	case stPausing:
		switch {
		case withdrawn:
			if c.final || c.Dedicated {
				m.reserve(c)
			}
		case !a.OK:
			m.attemptFailed(a)
		case c.Dedicated && !c.final:
			m.drive()
		default:
			c.Attempts++
			m.wait(c)
		}
	case stWaiting: // the claim polls meanwhile; that there is no session is no failure of the poll
		switch {
		case c == nil:
			m.cancelOwn()
		case m.server.own == ownHave:
			m.stopPolling()
		case withdrawn && !m.announces(c):
			m.reserve(c)
		}
	case stTrying: // if the lock is found held, the session is there to wait on
	case stHeld, stKept, stUnlocking, stSettling:
		m.cancelOwn()
	}
}
