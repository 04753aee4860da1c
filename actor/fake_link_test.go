package actor

import (
	"errors"
	"slices"
	"time"
)

// fakeLink implements [Link] on a fakeStore.
type fakeLink struct {
	store  *fakeStore
	id     int64
	events chan<- Event

	// Written before an operation is answered and read by the keeper without a lock, as a real link's is: whoever reads it
	// while an operation is under way is caught by the race detector.
	session *fakeSession
	unsent  chan struct{} // the keeper's

	// ---- under the store's mu
	busy       bool
	kind       effectKind // of the operation under way
	shared     bool       // the mode of it, or of the lock that is held
	stopped    bool       // the poll was asked to stop
	sliceTimer *time.Timer
	pollTimer  *time.Timer
	heldOn     *fakeSession // where the lock is held
	own        *fakeSession // the reserved one
	asked      *reservation // the latest, until its session is given back
	counts     map[effectKind]int
	op         int  // operations begun
	telling    bool // a question is under way
	lent       []any
}

// reservation is a place in the queue for a session.
type reservation struct {
	link                *fakeLink
	answered, withdrawn bool
}

var errWithdrawn = errors.New("reservation withdrawn")

// send gives the keeper an event. There must be room: a store never waits for a keeper.
func (l *fakeLink) send(e Event) {
	select {
	case l.events <- e:
	default:
		l.store.complain("key %d: no room for %v", l.id, e)
	}
}

// begin starts an operation on f. Its outcome is decided when its answer comes.
func (l *fakeLink) begin(kind effectKind, f *fakeSession, outcome func(f *fakeSession)) {
	s := l.store
	v := s.record(l, kind)
	if l.busy {
		s.complain("key %d: %v while %v is under way", l.id, kind, l.kind)
	}
	if kind == fxUnlock {
		if f == nil {
			s.complain("key %d: unlocked and never held", l.id)
		} else if s.owners[l.id] != l && f.lost.Load() == nil {
			s.complain("key %d: unlocked and not held", l.id)
		}
	} else if s.owners[l.id] != nil {
		s.complain("key %d: %v of a lock that is held", l.id, kind)
	}
	if f == nil {
		s.complain("key %d: %v without a session", l.id, kind)
		return
	}
	l.busy, l.kind, l.stopped, l.op, l.pollTimer, l.unsent = true, kind, false, l.op+1, nil, nil
	if v.unsent != nil {
		l.neverSent(f, v)
		return
	}
	finish := func(err error) {
		s.later(v.after, func() { l.finish(kind, f, v, err, outcome) })
	}
	if v.hang {
		s.hung[l.id] = finish
		return
	}
	finish(v.err)
}

func (l *fakeLink) finish(kind effectKind, f *fakeSession, v verdict, err error, outcome func(f *fakeSession)) {
	if err != nil && (kind == fxUnlock || v.ended) {
		l.store.lose(f, err)
	}
	if lost := f.Lost(); lost != nil {
		err = lost
	}
	switch {
	case v.again:
		l.reply(f, Answer{Again: true})
	case err != nil:
		l.reply(f, Answer{Err: err, Transient: !v.permanent, Ended: v.ended})
	default:
		outcome(f)
	}
}

// neverSent: the operation was given to a session that had ended. Nothing answers it.
func (l *fakeLink) neverSent(f *fakeSession, v verdict) {
	unsent := make(chan struct{})
	l.unsent = unsent
	l.store.lose(f, v.unsent)
	l.store.later(v.after, func() {
		if l.kind == fxUnlock {
			l.heldOn = nil
		}
		l.busy, l.session = false, f
		close(unsent)
	})
}

func (l *fakeLink) reply(f *fakeSession, a Answer) {
	if l.kind == fxUnlock {
		l.heldOn = nil
	}
	if a.Err == nil && f.lost.Load() == nil { // whoever answers is alive
		until := time.Now().Add(l.store.trust)
		f.until.Store(&until)
	}
	l.busy, l.session = false, f
	l.send(Answered{&a})
}

func (l *fakeLink) granted(f *fakeSession) {
	s := l.store
	s.owners[l.id], f.held[l.id], l.heldOn = l, l, f
	s.tenure[l.id]++
	l.reply(f, Answer{OK: true})
}

func (l *fakeLink) tried(f *fakeSession) {
	if !l.store.available(l) {
		l.reply(f, Answer{})
		return
	}
	l.granted(f)
}

func (l *fakeLink) waited(f *fakeSession) {
	s := l.store
	if s.available(l) {
		l.granted(f)
		return
	}
	s.queues[l.id] = append(s.queues[l.id], l)
	op := l.op
	l.sliceTimer = time.AfterFunc(s.slice, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		q := s.queues[l.id]
		if i := slices.Index(q, l); i >= 0 && l.op == op {
			s.queues[l.id] = slices.Delete(slices.Clone(q), i, i+1)
			l.reply(f, Answer{})
		}
	})
}

// pollEvery is how often a poll asks.
const pollEvery = 20 * time.Millisecond

func (l *fakeLink) polled(f *fakeSession) {
	s := l.store
	switch lost := f.Lost(); {
	case lost != nil:
		l.reply(f, Answer{Err: lost, Transient: true})
	case s.available(l):
		l.granted(f)
	case l.stopped:
		l.reply(f, Answer{})
	default:
		op := l.op
		l.pollTimer = time.AfterFunc(pollEvery, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if l.busy && l.op == op {
				l.polled(f)
			}
		})
	}
}

func (l *fakeLink) unlocked(f *fakeSession) {
	s := l.store
	delete(s.owners, l.id)
	delete(f.held, l.id)
	l.reply(f, Answer{OK: true})
	s.grantNext(l.id)
}

// Try implements [Link], as do the methods below.
func (l *fakeLink) Try(shared bool) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.shared = shared
	l.begin(fxTry, l.store.shared, l.tried)
}

func (l *fakeLink) TryOwn(shared bool) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.shared = shared
	l.begin(fxTryOwn, l.own, l.tried)
}

func (l *fakeLink) Wait(shared bool) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.shared = shared
	l.begin(fxWait, l.own, l.waited)
}

func (l *fakeLink) Pace(bool) {}

// Tell gives a hint to the others, if the test has any.
func (l *fakeLink) Tell(n *Hint) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.store.record(l, fxTell)
	l.store.told(l, n)
}

func (l *fakeLink) Poll(shared, announce, _ bool) {
	if announce {
		l.Tell(&Hint{Kind: Wanted, Peers: []Peer{Here}})
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.shared = shared
	l.begin(fxPoll, l.store.shared, l.polled)
}

func (l *fakeLink) Unlock(offer *Hint) {
	if offer != nil {
		defer l.Tell(offer)
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.begin(fxUnlock, l.heldOn, l.unlocked)
}

func (l *fakeLink) Lend(loan any) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.lent = append(l.lent, loan)
}

func (l *fakeLink) StopPolling() {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(l, fxStopPolling)
	if l.kind != fxPoll {
		s.complain("key %d: no poll is under way, but %v", l.id, l.kind)
	}
	l.stopped = true
	op := l.op
	s.later(0, func() {
		if l.busy && l.op == op && l.pollTimer != nil && l.pollTimer.Stop() {
			l.reply(s.shared, Answer{})
		}
	})
}

func (l *fakeLink) Reserve(bool, bool) {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.record(l, fxReserve)
	if l.own != nil || l.asked != nil && !l.asked.answered {
		s.complain("key %d: a second session reserved", l.id)
	}
	r := &reservation{link: l}
	l.asked = r
	s.later(v.after, func() {
		switch {
		case r.answered: // withdrawn
		case v.err != nil:
			r.answered = true
			l.send(Reserved{&Answer{Err: v.err, Transient: !v.permanent}})
		default:
			s.asking = append(s.asking, r)
			s.assign()
		}
	})
}

// assign gives the free sessions to those in the queue for one.
func (s *fakeStore) assign() {
	for s.free > 0 && len(s.asking) > 0 {
		r := s.asking[0]
		s.asking = s.asking[1:]
		s.free--
		r.answered, r.link.own = true, s.session()
		r.link.send(Reserved{&Answer{OK: true}})
	}
}

func (l *fakeLink) Withdraw() {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.record(l, fxWithdraw)
	r := l.asked
	if r == nil || r.withdrawn {
		s.complain("key %d: nothing to withdraw", l.id)
		return
	}
	r.withdrawn = true
	s.later(v.after, func() {
		if r.answered {
			return
		}
		r.answered = true
		s.asking = slices.DeleteFunc(s.asking, func(o *reservation) bool { return o == r })
		l.send(Reserved{&Answer{Err: errWithdrawn, Transient: true}})
	})
}

func (l *fakeLink) Return() {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record(l, fxReturn)
	switch {
	case l.own == nil:
		s.complain("key %d: nothing to give back", l.id)
		return
	case len(l.own.held) > 0:
		s.complain("key %d: a session was given back with a lock on it", l.id)
	case l.busy && l.kind != fxTry && l.kind != fxPoll && !(l.kind == fxUnlock && l.heldOn != l.own):
		s.complain("key %d: a session was given back during %v", l.id, l.kind)
	}
	l.own, l.asked = nil, nil
	s.free++
	s.assign()
}

func (l *fakeLink) Ask() {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.record(l, fxAsk)
	if l.telling {
		return // a question during another has no answer
	}
	l.telling = true
	told := Told{Asked: time.Now()}
	s.later(v.after, func() {
		l.telling = false
		told.Waiters = len(s.queues[l.id]) > 0
		if s.outside[l.id] {
			told.Holder = &Holder{PID: 4711, ApplicationName: "outside", Seen: time.Now()}
		}
		l.send(told)
	})
}

func (l *fakeLink) Unsent() <-chan struct{} { return l.unsent }
func (l *fakeLink) Session() Session        { return l.session }

func (l *fakeLink) Own() Session {
	if l.own == nil {
		return nil
	}
	return l.own
}
