package actor

import "time"

// The part of the machine that keeps the lock at the server for the rest of a minimum hold, after its holder has ended the hold.

// keeps reports whether the lock is to stay at the server although the hold of c is over.
func (m *machine) keeps(c *Claim) bool {
	return c.MinHold > 0 && !m.closing && m.now.Before(c.keptUntil())
}

// keptUntil is when the claim's minimum hold is over.
func (c *Claim) keptUntil() time.Time {
	if c.unused {
		return c.Granted
	}
	return c.Granted.Add(c.MinHold)
}

// keep keeps the lock for c, which does not wait for that.
func (m *machine) keep(c *Claim) {
	m.kept = c
	m.do(fxSettle, c, nil)
}

// keptEnough releases the lock when the minimum hold is over. Who waits asks again: other processes have waited as long.
func (m *machine) keptEnough() {
	if !m.now.Before(m.kept.keptUntil()) {
		m.kept = nil
		m.unlock()
	}
}

// keptLost: the session that kept the lock has ended. Nobody is told: no work is under way.
func (m *machine) keptLost() {
	m.kept = nil
	m.leftSession()
	m.offer()
	m.drive()
}
