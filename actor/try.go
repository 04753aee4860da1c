package actor

// The part of the machine for a try that comes while an operation is under way whose caller has given up. Only what the server says after the
// try came may refuse it: an earlier answer may be of a lock that has been released since.

// isUnasked reports whether c is a try for which the server has not been asked yet.
func (c *Claim) isUnasked() bool { return c.Try && c.Attempts == 0 }

// askForTry: a try waits for the end of a wait in the server's queue. Where nobody else holds the lock the wait is about to be granted; where
// somebody does, it may last for its slice, and the answer to who that is comes sooner.
func (m *machine) askForTry() {
	m.triedAt, m.askAt = m.now, m.now
	if next := m.lastAsk.Add(askAfter); next.After(m.now) { // the room for events is for questions that are not asked more often
		m.askAt = next
		return
	}
	m.askHolder()
}

// askHolder asks who holds the lock, and again later.
func (m *machine) askHolder() {
	m.lastAsk, m.askAt = m.now, m.now.Add(askAgain)
	m.do(fxAsk, nil, nil)
}

// toldOfTry refuses a try that waits for the end of somebody else's wait, where another process has the lock. A try for a shared lock waits on,
// since what is told does not say whether that lock is shared.
func (m *machine) toldOfTry(t Told) {
	c := m.queue.head
	if c.isUnasked() && !c.Shared && m.server.op == opWait && t.Holder != nil && !t.Asked.Before(m.triedAt) {
		m.refuse(c, ErrNotAcquired)
		m.headLeft(c)
	}
}

// ofOthers is what was told, without a holder that is the wait under way itself: that was granted a moment ago, and its answer is on its way.
func (k *keeper) ofOthers(t Told) Told {
	if t.Holder == nil || k.server.op != opWait {
		return t
	}
	if own := k.link.Own(); own != nil && own.PID() == t.Holder.PID {
		t.Holder = nil
	}
	return t
}
