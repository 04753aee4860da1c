package actor

import (
	"slices"
	"time"
)

// The part of the machine that knows of other processes which wait for the key, and tells them when to try. All of it is hints: the server
// alone says who holds the lock.

// Peer is another process, by a number. Here is this one.
type Peer = uint32

// Here is this process in a list of peers.
const Here Peer = 0

// HintKind says what a hint tells.
type HintKind uint8

// The hints.
const (
	// Wanted: Peers waits, one alone.
	Wanted HintKind = iota
	// Offered: the lock was released. The first of Peers may try; the others wait behind it.
	Offered
	// Held: a process holds the lock that knows that Peers wait. It will offer it to them.
	Held
	// Shared: the same of a lock that is shared. It is not offered: who waits in the server's queue keeps others from sharing it.
	Shared
)

// Hint is what one process tells the others of a key. It may be late, or lost.
type Hint struct {
	Kind  HintKind
	Peers []Peer
}

const (
	// tellAfter is how long a process holds a lock that others want before it tells them that it knows: most holds are shorter.
	tellAfter = 10 * time.Millisecond
	// fallAfter is how long a process waits for an answer before it waits in the server's queue. answerAge is how long an answer counts at least.
	fallAfter = 100 * time.Millisecond
	answerAge = 15 * time.Second
	// patience is fallAfter where another process has told something of the key: it knows how.
	patience = 500 * time.Millisecond
	// lateAfter is how long after the last hint of a key a poll may find the lock free by chance: on its way from one process to another. A hint that
	// is lost is missed for as long as a poll pauses, which is more.
	lateAfter = 200 * time.Millisecond
)

// peers is what a keeper knows of the other processes that wait for its key.
//
// All processes hear all hints in one order. So all that have been interested in a key for as long have the same queue; what one lacks
// comes to it with an offer.
type peers struct {
	queue    []Peer // first come, first served; Here is never in it
	offered  bool   // this process may try
	listed   bool   // this process was named in its own offer as one that waits
	passed   bool   // the lock was offered to others as it was released
	answered bool   // a holder knows that this process waits
	queues   bool   // nobody answers: wait in the server's queue
	late     bool   // the last grant came by a poll, long after the last hint
	known    bool   // another process has told something of the key

	heardAt time.Time // the last hint, or the beginning of the wait
	tellAt  time.Time // while the lock is held: when to tell those who wait; zero if never
	fallAt  time.Time // while this process waits: when to look whether a holder has answered; zero if never
}

func (m *machine) know() *peers {
	if m.peers == nil {
		m.peers = &peers{}
	}
	return m.peers
}

// heard takes a hint.
func (m *machine) heard(n *Hint) {
	p := m.know()
	p.known, p.heardAt = true, m.now
	switch n.Kind {
	case Wanted:
		p.join(n.Peers)
		m.wanted()
	case Offered:
		p.follow(n.Peers)
		if n.Peers[0] == Here {
			m.owes = true
			m.mayTry()
			return
		}
		m.answeredBy(n)
	case Held:
		m.answeredBy(n)
	case Shared:
		m.sharedBy(n)
	}
}

// join adds those who are not in the queue yet.
func (p *peers) join(more []Peer) {
	for _, peer := range more {
		if peer != Here && !slices.Contains(p.queue, peer) {
			p.queue = append(p.queue, peer)
		}
	}
}

// follow takes the queue of an offer, and behind it those that are in this one alone. The first has its turn.
func (p *peers) follow(offer []Peer) {
	old := p.queue
	p.queue = nil
	p.join(offer[1:])
	p.join(slices.DeleteFunc(old, func(peer Peer) bool { return peer == offer[0] }))
}

// wanted: somebody else waits.
func (m *machine) wanted() {
	switch m.state() {
	case stHeld, stKept:
		m.tellSoon()
	case stIdle:
		if m.owes { // the release, and the other's attempt after it told, may have crossed
			m.offer()
		}
	case stTrying, stPausing, stWaiting, stUnlocking, stSettling:
	}
}

// answeredBy: those who told n, and heard it, know of those whom it names. (This process may owe an answer even so: it may have held the lock
// after n was told, and before it heard it.)
func (m *machine) answeredBy(n *Hint) {
	p := m.peers
	if !slices.Contains(n.Peers, Here) || m.server.op != opPoll || m.server.stopping || m.queue.head == nil {
		return
	}
	had := p.answered
	p.answered, p.queues, p.fallAt = true, false, m.staleAt()
	m.noSession()
	if !had {
		m.do(fxPace, nil, nil)
	}
}

// staleAt is when an answer that has come now no longer counts: another time for each key, so that ten thousand are not told of together, and
// some at one time, so that one statement tells of them.
func (m *machine) staleAt() time.Time {
	spread := time.Duration(uint64(m.queue.head.ID) % uint64(answerAge))
	at := m.now.Add(answerAge + spread)
	return at.Add(-time.Duration(at.UnixNano() % int64(100*time.Millisecond))) // and not Truncate, which goes by the wall clock from then on
}

// noSession takes the wish for a session to wait on back.
func (m *machine) noSession() {
	if m.server.own == ownAsked && !m.server.dedicated {
		m.cancelOwn()
	}
}

// sharedBy: the lock is shared, and this process waits for it in the server's queue.
func (m *machine) sharedBy(n *Hint) {
	if slices.Contains(n.Peers, Here) && !m.peers.fallAt.IsZero() {
		m.fall()
	}
}

// mayTry: the lock was offered to this process.
func (m *machine) mayTry() {
	switch p := m.peers; m.state() {
	case stTrying, stUnlocking, stSettling:
		p.offered, p.listed = true, false // this try may have come too early; or there is one to come
	case stWaiting:
		if m.server.op == opPoll { // else it is in the server's queue
			p.offered, p.queues = true, false
			m.noSession()
			m.stopPolling()
		}
	case stIdle, stPausing:
		p.listed = false // its turn has come, and goes
		m.offer()        // nobody here would try now
	case stHeld, stKept:
	}
}

// takeOffer reports whether c is to try since the lock was offered.
func (m *machine) takeOffer(c *Claim) bool {
	p := m.peers
	if p == nil || !p.offered {
		return false
	}
	p.offered = false
	if m.announces(c) {
		return true
	}
	m.offer()
	return false
}

// offer tells the first in the queue to try: the lock is not held here. Those who wait here are the last in it.
func (m *machine) offer() {
	if m.peers != nil && m.peers.passed { // it went with the release
		m.peers.passed = false
		return
	}
	if n := m.nextOffer(); n != nil {
		m.tell(n)
	}
}

// nextOffer is the offer; nil where nobody waits.
func (m *machine) nextOffer() *Hint {
	p := m.peers
	if p == nil || len(p.queue) == 0 {
		return nil
	}
	to := p.queue
	if c := m.queue.head; c != nil && m.announces(c) {
		to, p.listed = append(slices.Clip(to), Here), true
	}
	p.queue, p.offered, m.owes = slices.Clone(p.queue[1:]), false, false
	p.passed = m.server.op == opUnlock
	return &Hint{Kind: Offered, Peers: to}
}

func (m *machine) tell(n *Hint) {
	m.do(fxTell, nil, nil)
	m.effects[len(m.effects)-1].hint = n
}

// offerTaken: the lock was granted to this process.
func (m *machine) offerTaken() {
	m.owes = true
	if p := m.peers; p != nil {
		p.late = p.answered && m.before.op == opPoll && !m.before.stopping && m.now.Sub(p.heardAt) > lateAfter
		p.offered, p.listed = false, false
	}
}

// tellSoon has those who wait told that the lock is held here, unless it is released before. Of a lock that is shared they are told at once.
func (m *machine) tellSoon() {
	p := m.peers
	switch {
	case p == nil || len(p.queue) == 0:
	case m.server.shared:
		m.tell(&Hint{Kind: Shared, Peers: p.queue})
		p.queue = nil
	case p.tellAt.IsZero():
		p.tellAt = m.now.Add(tellAfter)
	}
}

// leaveLock: the lock is being released. The offer goes right behind, where the session can do that.
func (m *machine) leaveLock() {
	if p := m.peers; p != nil {
		p.tellAt, p.passed = time.Time{}, false
		if !m.server.onOwn {
			m.effects[len(m.effects)-1].hint = m.nextOffer()
		}
	}
}

func (m *machine) tellHeldAt() time.Time {
	if m.peers == nil {
		return time.Time{}
	}
	return m.peers.tellAt
}

// tellHeld does it when the time has come.
func (m *machine) tellHeld() {
	if at := m.tellHeldAt(); !at.IsZero() && !m.now.Before(at) {
		m.peers.tellAt = time.Time{}
		if len(m.peers.queue) > 0 {
			m.tell(&Hint{Kind: Held, Peers: slices.Clone(m.peers.queue)})
		}
	}
}

// announces reports whether c waits for a hint, and not in the server's queue.
func (m *machine) announces(c *Claim) bool {
	return m.limits.Hints && !c.Dedicated && !c.Try && !c.Shared && (c.final || !c.PollFirst) && (m.peers == nil || !m.peers.queues)
}

// pollForHint waits for a hint, and asks now and then, since it may be lost. The others are told, unless they know.
func (m *machine) pollForHint(c *Claim) {
	p := m.know()
	listed := p.listed
	p.listed, p.answered, p.heardAt = false, listed, m.now
	wait := fallAfter
	if p.known {
		wait = patience
	}
	if half := c.Deadline.Sub(m.now) / 2; !c.Deadline.IsZero() && half < wait {
		wait = half
	}
	m.poll(c)
	if p.fallAt = m.now.Add(wait); listed {
		p.fallAt = m.staleAt()
	}
	if !listed {
		m.announce()
	}
}

// announce has the last effect, a poll or a fxTell, tell the others that this process waits. Whoever holds the lock has to offer it from now on.
func (m *machine) announce() {
	m.owes = false
	m.effects[len(m.effects)-1].hint = &Hint{Kind: Wanted, Peers: []Peer{Here}}
}

// cameLate reports whether the last grant should have come by a hint.
func (m *machine) cameLate() bool { return m.peers != nil && m.peers.late }

// listed reports whether this process has just offered the lock, and stands in that offer.
func (m *machine) listed() bool { return m.peers != nil && m.peers.listed }

// hinted reports whether a hint is expected.
func (m *machine) hinted() bool { return m.peers != nil && m.peers.answered }

func (m *machine) fallAt() time.Time {
	if m.peers == nil || m.server.op != opPoll || m.server.stopping {
		return time.Time{}
	}
	return m.peers.fallAt
}

// hintFailed: no holder has answered, or the answer is old. After an answer it is asked for once more.
func (m *machine) hintFailed() {
	if p := m.peers; p.answered {
		p.answered, p.fallAt = false, m.now.Add(patience)
		m.do(fxPace, nil, nil)
		m.do(fxTell, nil, nil)
		m.announce()
		return
	}
	m.fall()
}

// fall has the first waiter wait in the server's queue, as soon as there is a session for that.
func (m *machine) fall() {
	p := m.peers
	p.queues, p.answered, p.fallAt = true, false, time.Time{}
	if c := m.queue.head; c != nil && m.server.op == opPoll && !m.server.stopping {
		m.do(fxPace, nil, nil)
		m.reserve(c)
	}
}

// endHint forgets what was about those who waited here.
func (m *machine) endHint() {
	if p := m.peers; p != nil {
		p.offered, p.answered, p.queues, p.fallAt = false, false, false, time.Time{}
	}
}
