package pg

import (
	"fmt"
	"slices"
	"time"
)

// Shared is a session that holds many locks. Only tries and unlocks are sent on it, as many as have queued in one statement, so
// that no wait delays a release.
type Shared struct {
	session
	lone bool // for locks that come one at a time; see Pool.choose

	// Sent by whoever finds requests full; received by the owner; never closed; capacity 1: one wish is as good as many.
	crowded chan struct{}

	// The owner's.
	ids     map[int64]lockOn
	held    int     // of ids: those that it holds
	offers  []*Hint // of releases that were sent
	backlog []*Request
}

// lockOn is an id that the session has asked for, or holds.
type lockOn struct {
	client Client
	last   *sending // the latest statement that the id is in, while it has not been recorded
	held   bool
}

// sharedRoom is the capacity of requests: enough for the requests of one answer's clients to wait there, where they wake nobody.
const sharedRoom = 4 * maxBatch

func startShared(p *Pool, c *connection, lone bool) *Shared {
	s := &Shared{session: newSession(p, c, sharedRoom), lone: lone, crowded: make(chan struct{}, 1),
		ids: make(map[int64]lockOn)}
	s.heard = make(chan []string, 1)
	s.self = s
	s.trust(c.asked)
	s.start()
	return s
}

// start starts the owner and the reader. Joined by the pool: the owner waits for the reader, and reports its own end to the pool.
func (s *Shared) start() {
	go s.read()
	go s.run()
}

// Submit implements [Session].
func (s *Shared) Submit(r *Request) (unsent <-chan struct{}) {
	r.Session = s
	select {
	case s.requests <- r:
		return s.unsentNow()
	default:
		return s.submitCrowded(r)
	}
}

// submitCrowded is Submit where requests is full. It is not inlined: Submit would need the room on a keeper's stack.
//
//go:noinline
func (s *Shared) submitCrowded(r *Request) (unsent <-chan struct{}) {
	select {
	case s.crowded <- struct{}{}:
	default:
	}
	select {
	case s.requests <- r:
		return s.unsentNow()
	case <-s.gone:
		return s.gone
	}
}

// run is the owner's goroutine. Two cases are open only when they matter: requests are left in their channel, where they wake
// nobody, while as many statements as may be are in the air; answers are left in theirs until the owner has a use for them.
func (s *Shared) run() {
	over := false
	defer s.leaveAfterPanic(&over)
	for s.loss == nil {
		full := len(s.air) >= maxStatements
		select {
		case r := <-when(s.requests, !full):
			s.collect(r)
		case f := <-when(s.answered, full):
			s.record(f)
		case <-s.crowded:
			s.collect(nil)
		case f := <-s.toOwner:
			s.look(f)
		case <-s.timer.C:
			s.armed = time.Time{}
			s.recordAnswered()
			s.overdue(time.Now(), s.held > 0)
			s.closeIdle()
		case w := <-s.lastWord:
			s.lose(CauseServer, w)
		case <-s.readEnded:
			s.readLost()
		case o := <-s.orders:
			s.obey(o)
		}
		s.sendNext()
		s.setTimer(len(s.ids) > 0 && len(s.air) < maxStatements, s.held > 0)
	}
	over = true
	s.leave()
}

// when is c if the case is open, and else nil, which is never ready.
func when[T any](c chan T, isOpen bool) chan T {
	if isOpen {
		return c
	}
	return nil
}

// collect takes r, and what has queued behind it, into the backlog.
func (s *Shared) collect(r *Request) {
	if r != nil {
		s.backlog = append(s.backlog, r)
	}
	for {
		select {
		case r := <-s.requests:
			s.backlog = append(s.backlog, r)
		default:
			return
		}
	}
}

// record implements kind: it keeps account of which ids the session holds, after the reader has told the clients. An id that is in a later statement
// is left to that.
func (s *Shared) record(f *sending) {
	s.outOfAir(f)
	for i := range f.entries {
		e := &f.entries[i]
		s.checkReleased(e)
		s.keep(f, e, e.ok && e.op != OpUnlock)
	}
	s.recycle(f)
}

func (s *Shared) keep(f *sending, e *entry, held bool) {
	on, known := s.ids[e.id]
	switch {
	case !known || on.last != f:
	case held:
		s.ids[e.id] = lockOn{client: on.client, held: true}
		s.held++
	default:
		delete(s.ids, e.id)
	}
}

// settled implements kind.
func (s *Shared) settled(f *sending) {
	for i := range f.entries {
		s.keep(f, &f.entries[i], false)
	}
	s.locks.Add(-int64(len(f.entries)))
}

// sendNext sends what has queued, and the health question when it is due, as far as statements may be in the air.
func (s *Shared) sendNext() {
	if len(s.air) > 0 {
		s.recordAnswered()
	}
	for s.loss == nil && len(s.air) < maxStatements {
		switch {
		case len(s.ids) > 0 && time.Since(s.askedAt) >= s.config.HealthInterval:
			s.askHealth()
		case len(s.offers) > 0:
			s.sendOffers()
		case len(s.backlog) == 0:
			return
		case s.backlog[0].Op >= opWho:
			r := s.backlog[0]
			s.takeBacklog(1)
			s.sendWhole(r)
		default:
			s.sendBatch()
		}
	}
}

// sendBatch sends the tries and unlocks at the head of the backlog, up to the first request of another kind. Tries that there is
// no room for go back to their clients.
func (s *Shared) sendBatch() {
	f := s.newSending(kindLocks)
	n, tries, room := 0, 0, s.config.MaxLocksPerSession-int(s.locks.Load())
	for ; n < len(s.backlog) && n < maxBatch; n++ {
		r := s.backlog[n]
		if r.Op != OpTry && r.Op != OpUnlock {
			break
		}
		if r.Op != OpTry {
			continue
		}
		if tries++; tries > room {
			break
		}
	}
	if n == 0 {
		s.noRoom()
		return
	}
	f.add(s.backlog[:n], OpUnlock)
	f.unlocks = len(f.entries)
	s.takeOffers(s.backlog[:n])
	f.add(s.backlog[:n], OpTry)
	s.takeBacklog(n)
	s.pool.stats.batch(n) // before it goes: whoever has its answer finds it counted
	s.sendLocks(f)
	if len(s.offers) > 0 && s.loss == nil {
		s.sendOffers()
	}
}

func (s *Shared) takeOffers(requests []*Request) {
	for _, r := range requests {
		if r.Offer != nil && r.Op == OpUnlock {
			s.offers = append(s.offers, r.Offer)
		}
	}
}

// sendOffers tells the other managers of releases that are on their way to the server before it.
func (s *Shared) sendOffers() {
	text := hintText(s.pool.self)
	for fits := true; fits && len(s.offers) > 0; {
		if text, fits = s.offers[0].append(text, s.pool.self); fits {
			s.offers = slices.Delete(s.offers, 0, 1)
		}
	}
	message, err := s.enc.hint(string(text))
	s.write(s.newSending(kindHint), message, err, s.answerBy())
	s.pool.stats.hintsSent.Add(1)
}

// takeBacklog takes the first n requests out of the backlog.
func (s *Shared) takeBacklog(n int) { s.backlog = slices.Delete(s.backlog, 0, n) }

// noRoom gives the try at the head of the backlog back.
func (s *Shared) noRoom() {
	r := s.backlog[0]
	s.takeBacklog(1)
	r.Again = true
	r.answer(s, false, nil)
}

// sendWhole sends a request that is a statement of its own.
func (s *Shared) sendWhole(r *Request) {
	switch r.Op {
	case opWho:
		f := s.newSending(kindWho)
		f.whole = r
		message, err := s.enc.who(r.inquiry.wishes)
		s.write(f, message, err, s.answerBy())
		s.usedAt = f.sent // a session that is lent may need the next answer in time
		return
	case opHint, opListen:
		f := s.newSending(kindHint)
		f.whole = r
		message, err := s.enc.hint(r.hint.text)
		s.write(f, message, err, s.answerBy())
		s.usedAt = f.sent
		return
	default:
	}
	f := s.newSending(kindLocks)
	f.whole = r
	for _, p := range r.polls.polls {
		f.entries = append(f.entries, entry{id: p.id, op: opPoll, shared: p.shared, client: p.client})
		f.shared = f.shared || p.shared
	}
	s.sendLocks(f)
}

func (s *Shared) sendLocks(f *sending) {
	if err := s.account(f); err != nil {
		s.air = append(s.air, f)
		s.lose(CauseDoubt, err)
		return
	}
	message, err := f.encode(&s.enc)
	s.write(f, message, err, s.answerBy())
	s.usedAt = f.sent
}

// account keeps track of what is asked for. A session that is asked to lock what it has, or to release what it has not, ends:
// PostgreSQL stacks a session's own lock without a word, and that it is asked to is our own broken invariant.
func (s *Shared) account(f *sending) error {
	s.locks.Add(int64(len(f.entries) - f.unlocks))
	if id, twice := f.repeatedTry(); twice {
		return fmt.Errorf("BUG: two tries of id %d in one statement", id)
	}
	for i := range f.entries {
		e := &f.entries[i]
		on, known := s.ids[e.id]
		if e.op == OpUnlock {
			if !known {
				return fmt.Errorf("BUG: unlock of id %d, which this session does not hold", e.id)
			}
			if on.held {
				s.held--
			}
			s.ids[e.id] = lockOn{client: on.client, last: f}
			continue
		}
		// A client that was refused may ask again before its statement was recorded. Any other try of the id is one too many.
		if known && (on.held || on.last != nil && (!on.last.told.Load() || on.last.grants(e.id))) {
			return fmt.Errorf("BUG: try of id %d, which this session holds or has asked for", e.id)
		}
		s.ids[e.id] = lockOn{client: e.client, last: f}
	}
	return nil
}

// closeIdle ends a session that has had nothing to do for a while. Without locks nothing was asked meanwhile either.
func (s *Shared) closeIdle() {
	if len(s.ids)+len(s.air)+len(s.backlog) == 0 && time.Since(s.usedAt) >= s.config.idleLimit() {
		s.lose(CauseClosed, nil)
	}
}

// holds implements kind, as does holders.
func (s *Shared) holds() bool { return s.held > 0 }

func (s *Shared) holders(each func(id int64, client Client)) {
	for id, on := range s.ids {
		if on.held {
			delete(s.ids, id)
			s.held--
			each(id, on.client)
		}
	}
}

// unlockRefused implements kind.
func (s *Shared) unlockRefused(id int64) { delete(s.ids, id) }

// queued implements kind.
func (s *Shared) queued(each func(*Request)) {
	for _, r := range s.backlog {
		each(r)
	}
	s.backlog = nil
}
