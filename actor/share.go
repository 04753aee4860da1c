package actor

import "time"

// The part of the machine that lets claims share the lock: any number of holders in this process are one shared lock at the server.

// askReaders is how often it is asked, while more and more claims join those who share the lock, whether somebody elsewhere waits for it:
// who is in the server's queue for it cannot be seen otherwise, and would never have it while there is always one who shares it.
const askReaders = 100 * time.Millisecond

// joins reports whether c may share the lock with those who hold it. Not while anybody waits, here or elsewhere: who comes later
// than one that waits has the lock later.
func (m *machine) joins(c *Claim) bool {
	return c.Shared && m.queue.n == 0 && !m.draining && m.mayHold(c)
}

// join gives the lock to c too, which is in the queue.
func (m *machine) join(c *Claim) {
	m.assign(c, true)
	if m.now.Sub(m.askedAt) >= askReaders {
		m.askWaiters()
	}
}

func (m *machine) askWaiters() {
	m.askedAt = m.now
	m.do(fxAsk, nil, nil)
}

// askReadersAt is when to ask whether somebody elsewhere still waits for the lock, for the sake of those here who would share it: the other
// may have given up. Zero: no need. Those who only try do not wait, so it does not depend on that.
func (m *machine) askReadersAt() time.Time {
	if !m.draining {
		return time.Time{}
	}
	return m.askedAt.Add(askAgain)
}

// shareOut gives the lock, which is shared, to the first waiters too, as far as they may share it.
func (m *machine) shareOut() {
	for m.server.shared && !m.draining {
		c := m.nextHolder()
		if c == nil {
			return
		}
		m.join(c)
	}
}

// toldOfWaiters: while somebody elsewhere waits for a lock that is shared, nobody joins. What was asked before the grant says nothing: it may
// have been this process that waited.
func (m *machine) toldOfWaiters(t Told) {
	if m.server.shared && t.Asked.After(m.grantedAt) {
		m.draining = t.Waiters
		m.shareOut()
	}
}
