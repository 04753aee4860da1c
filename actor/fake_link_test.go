package actor

import (
	"errors"
	"slices"
	"time"
)

// fakeLink implements [Link] on a fakeStore.
type fakeLink struct {
	store    *fakeStore
	id       int64
	observer Observer

	// Written when an operation is answered and read by the keeper without a lock, as a real link's is: whoever reads it
	// while an operation is under way is caught by the race detector.
	session *fakeSession

	// ---- under the store's mu
	busy      bool
	kind      effectKind // of the operation under way
	abandoned bool
	slice     *time.Timer  // of the wait at the server
	again     *time.Timer  // of the poll: when it asks next
	heldOn    *fakeSession // where the lock is held
	own       *fakeSession // the reserved one
	asked     *reservation // the latest, until its session is given back
	counts    map[effectKind]int
	op        int // operations begun
}

// reservation is a place in the line for a session.
type reservation struct {
	link                *fakeLink
	answered, withdrawn bool
}

var errWithdrawn = errors.New("reservation withdrawn")

// begin starts an operation on f. Its outcome is decided when its answer comes.
func (l *fakeLink) begin(kind effectKind, f *fakeSession, outcome func(f *fakeSession)) {
	s := l.store
	v := s.noted(l, kind)
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
	l.busy, l.kind, l.abandoned, l.op, l.again = true, kind, false, l.op+1, nil
	finish := func(err error) {
		s.later(v.after, func() {
			if err != nil && kind == fxUnlock {
				s.lose(f, err)
			}
			if lost := f.lost.Load(); lost != nil {
				err = lost.err
			}
			if err != nil {
				l.reply(f, Answer{Err: err, Transient: !v.permanent})
				return
			}
			outcome(f)
		})
	}
	if v.hang {
		s.hung[l.id] = finish
		return
	}
	finish(v.err)
}

func (l *fakeLink) reply(f *fakeSession, a Answer) {
	if l.kind == fxUnlock {
		l.heldOn = nil
	}
	if a.Err == nil { // whoever answers is alive
		until := time.Now().Add(l.store.trust)
		f.until.Store(&until)
	}
	l.busy, l.session = false, f
	l.store.tell(func() { l.observer.Answered(a) })
}

func (l *fakeLink) granted(f *fakeSession) {
	s := l.store
	s.owners[l.id], f.held[l.id], l.heldOn = l, l, f
	s.tenure[l.id]++
	l.reply(f, Answer{OK: true})
}

func (l *fakeLink) tried(f *fakeSession) {
	if s := l.store; s.owners[l.id] != nil || s.outside[l.id] {
		l.reply(f, Answer{})
		return
	}
	l.granted(f)
}

func (l *fakeLink) waited(f *fakeSession) {
	s := l.store
	switch {
	case s.owners[l.id] == nil && !s.outside[l.id]:
		l.granted(f)
	case l.abandoned:
		l.reply(f, Answer{})
	default:
		s.queues[l.id] = append(s.queues[l.id], l)
		op := l.op
		l.slice = time.AfterFunc(s.slice, func() {
			s.mu.Lock()
			defer s.unlock()
			l.stopWaiting(op)
		})
	}
}

// stopWaiting ends the wait at the server that was the link's operation of this number, unless it has been answered.
func (l *fakeLink) stopWaiting(op int) {
	q := l.store.queues[l.id]
	if i := slices.Index(q, l); i >= 0 && l.op == op {
		l.slice.Stop()
		l.store.queues[l.id] = slices.Delete(slices.Clone(q), i, i+1)
		l.reply(l.own, Answer{})
	}
}

// pollEvery is how often a poll asks.
const pollEvery = 20 * time.Millisecond

func (l *fakeLink) polled(f *fakeSession) {
	s := l.store
	switch lost := f.lost.Load(); {
	case lost != nil:
		l.reply(f, Answer{Err: lost.err, Transient: true})
	case s.owners[l.id] == nil && !s.outside[l.id]:
		l.granted(f)
	case l.abandoned:
		l.reply(f, Answer{})
	default:
		op := l.op
		l.again = time.AfterFunc(pollEvery, func() {
			s.mu.Lock()
			defer s.unlock()
			if l.busy && l.op == op {
				l.polled(f)
			}
		})
	}
}

// stopPolling ends the poll that was the link's operation of this number, if it rests.
func (l *fakeLink) stopPolling(op int) {
	if l.busy && l.op == op && l.again != nil && l.again.Stop() {
		l.reply(l.store.shared, Answer{})
	}
}

func (l *fakeLink) unlocked(f *fakeSession) {
	s := l.store
	delete(s.owners, l.id)
	delete(f.held, l.id)
	l.reply(f, Answer{OK: true})
	s.passOn(l.id)
}

// Try implements [Link], as do the methods below.
func (l *fakeLink) Try() {
	l.store.mu.Lock()
	defer l.store.unlock()
	l.begin(fxTry, l.store.shared, l.tried)
}

func (l *fakeLink) TryReserved() {
	l.store.mu.Lock()
	defer l.store.unlock()
	l.begin(fxTryReserved, l.own, l.tried)
}

func (l *fakeLink) Wait() {
	l.store.mu.Lock()
	defer l.store.unlock()
	l.begin(fxWait, l.own, l.waited)
}

func (l *fakeLink) Poll() {
	l.store.mu.Lock()
	defer l.store.unlock()
	l.begin(fxPoll, l.store.shared, l.polled)
}

func (l *fakeLink) Unlock() {
	l.store.mu.Lock()
	defer l.store.unlock()
	l.begin(fxUnlock, l.heldOn, l.unlocked)
}

func (l *fakeLink) Abandon() {
	s := l.store
	s.mu.Lock()
	defer s.unlock()
	s.noted(l, fxAbandon)
	if l.kind != fxWait && l.kind != fxPoll {
		s.complain("key %d: abandoned %v", l.id, l.kind)
	}
	l.abandoned = true
	op := l.op
	s.later(0, func() {
		if l.kind == fxPoll {
			l.stopPolling(op)
		} else {
			l.stopWaiting(op)
		}
	})
}

func (l *fakeLink) Reserve(dedicated, _ bool) {
	s := l.store
	s.mu.Lock()
	defer s.unlock()
	kind := fxReserve
	if dedicated {
		kind = fxReserveDedicated
	}
	v := s.noted(l, kind)
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
			l.store.tell(func() { l.observer.Reserved(Answer{Err: v.err, Transient: !v.permanent}) })
		default:
			s.asking = append(s.asking, r)
			s.seat()
		}
	})
}

// seat gives the free sessions to those in line for one.
func (s *fakeStore) seat() {
	for s.free > 0 && len(s.asking) > 0 {
		r := s.asking[0]
		s.asking = s.asking[1:]
		s.free--
		r.answered, r.link.own = true, s.session()
		r.link.store.tell(func() { r.link.observer.Reserved(Answer{OK: true}) })
	}
}

func (l *fakeLink) Withdraw() {
	s := l.store
	s.mu.Lock()
	defer s.unlock()
	s.noted(l, fxWithdraw)
	r := l.asked
	if r == nil || r.withdrawn {
		s.complain("key %d: nothing to withdraw", l.id)
		return
	}
	r.withdrawn = true
	s.later(0, func() {
		if r.answered {
			return
		}
		r.answered = true
		s.asking = slices.DeleteFunc(s.asking, func(o *reservation) bool { return o == r })
		l.store.tell(func() { l.observer.Reserved(Answer{Err: errWithdrawn, Transient: true}) })
	})
}

func (l *fakeLink) GiveBack() {
	s := l.store
	s.mu.Lock()
	defer s.unlock()
	s.noted(l, fxGiveBack)
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
	s.seat()
}

func (l *fakeLink) Ask() {
	s := l.store
	s.mu.Lock()
	defer s.unlock()
	v := s.noted(l, fxAsk)
	s.later(v.after, func() {
		var h *Holder
		if s.outside[l.id] {
			h = &Holder{PID: 4711, ApplicationName: "outside", Seen: time.Now()}
		}
		l.store.tell(func() { l.observer.Told(h) })
	})
}

func (l *fakeLink) Gone() error {
	lost := l.session.lost.Load()
	if lost == nil {
		return nil
	}
	l.store.mu.Lock()
	defer l.store.unlock()
	l.heldOn = nil // from here on the keeper knows
	return lost.err
}

func (l *fakeLink) Session() Session { return l.session }

func (l *fakeLink) Detach() {
	s := l.store
	s.mu.Lock()
	defer s.unlock()
	if !s.links[l] {
		s.complain("key %d: detached twice", l.id)
	}
	asked := l.asked != nil && !l.asked.answered
	if l.busy || asked || l.own != nil || s.owners[l.id] == l {
		s.complain("key %d: detached with busy=%v asked=%v session=%v held=%v", l.id, l.busy, asked, l.own != nil,
			s.owners[l.id] == l)
	}
	delete(s.links, l)
}

// Attend and Unattended do nothing: answers come by themselves.
func (l *fakeLink) Attend(<-chan struct{}) bool { return false }
func (l *fakeLink) Unattended()                 {}
