package sim_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

type opKind uint8

const (
	opTry opKind = iota
	opWait
	opPoll
	opUnlock
)

func (k opKind) String() string { return [...]string{"try", "wait", "poll", "unlock"}[k] }

// op is one operation of a keeper, on its way to the server and back.
type op struct {
	l        *link
	kind     opKind
	shared   bool // the mode
	s        *session
	executed bool // at the server
	queued   bool // at the server
	ok       bool
	stopping bool          // a poll, asked to stop
	asked    bool          // a poll, once
	offer    *actor.Hint   // goes right behind an unlock
	tainted  bool          // the incarnation that began it has failed
	unsent   chan struct{} // it was given to a session that had ended; closed when it is known whether that received it
	sliceEnd time.Time
}

func (o *op) String() string {
	return fmt.Sprintf("%v's %s %v of %d", o.l.p, modeName(o.shared), o.kind, o.l.id)
}

func modeName(shared bool) string {
	if shared {
		return "shared"
	}
	return "exclusive"
}

// reservation is a place in the queue for a session.
type reservation struct {
	l         *link
	withdrawn bool
}

// link implements actor.Link: it writes down what its keeper wants, and the history says what comes of it. Under the world's
// mu but for session and unsent, which are the keeper's while nothing is under way, as a real link's are.
type link struct {
	w       *world
	p       *process
	id      int64
	events  chan<- actor.Event
	session *session
	unsent  <-chan struct{} // the keeper's

	busy    *op
	own     *session // the reserved one
	heldOn  *session // what the keeper was told
	granted *session // by the last grant, until its unlock was answered
	shared  bool     // the mode of that, or of what is asked for
	asking  *reservation

	asked    time.Time // when the keeper last asked who holds and waits
	draining bool      // it has heard that somebody elsewhere waits for the lock that it shares, and not that nobody does any more
}

// Attach implements actor.Store.
func (p *process) Attach(id int64, events chan<- actor.Event) actor.Link {
	p.hook(id, "attach")
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if old := p.links[id]; old != nil && (old.busy != nil || old.asking != nil || old.own != nil ||
		old.heldOn != nil && old.heldOn.lost.Load() == nil) {
		p.w.violate("one keeper a key", "%v: a second keeper of %d came while the first was at work", p, id)
	}
	l := &link{w: p.w, p: p, id: id, events: events}
	p.links[id] = l
	return l
}

// send gives the keeper an event, which must have room for it, and lets it act. Without mu.
func (l *link) send(e actor.Event) {
	select {
	case l.events <- e:
	default:
		l.w.mu.Lock()
		l.w.violate("a store never waits", "%v: the keeper of %d has no room for %v", l.p, l.id, e)
		l.w.mu.Unlock()
	}
	l.w.await()
}

func (l *link) begin(kind opKind, s *session) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.alive(kind.String())
	switch {
	case l.busy != nil:
		l.w.violate("one operation a key", "%v: %v of %d while %v is under way", l.p, kind, l.id, l.busy.kind)
	case kind == opUnlock && (l.granted == nil || l.heldOn == nil && l.granted.lost.Load() == nil):
		l.w.violate("unlock what is locked", "%v unlocks %d, which it was not granted", l.p, l.id)
	case kind != opUnlock && l.heldOn != nil:
		l.w.violate("one session locks one id once", "%v: %v of %d, which it has", l.p, kind, l.id)
	case s == nil:
		l.w.violate("an operation needs a session", "%v: %v of %d", l.p, kind, l.id)
	}
	l.busy, l.unsent = &op{l: l, kind: kind, shared: l.shared, s: s}, nil
	if s != nil && s.lost.Load() != nil {
		l.busy.unsent = make(chan struct{})
		l.unsent = l.busy.unsent
		l.w.seen.add("given to a session that had ended")
	}
	l.w.ops = append(l.w.ops, l.busy)
	if l.w.calls++; l.w.calls > callsAStep {
		l.w.violate("an end", "%v: %d operations in one step", l.p, l.w.calls)
		l.w.mu.Unlock()
		select {} // for good: the bubble ends by it
	}
}

func (l *link) alive(what string) {
	if l.p.links[l.id] != l {
		l.w.violate("one keeper a key", "%v: %s of %d by a keeper whose time is over", l.p, what, l.id)
	}
}

// Try implements actor.Link, as do the methods below.
func (l *link) Try(shared bool)    { l.begin(opTry, l.choose(shared, false)) }
func (l *link) TryOwn(shared bool) { l.begin(opTry, l.choose(shared, true)) }
func (l *link) Wait(shared bool)   { l.begin(opWait, l.choose(shared, true)) }
func (l *link) Poll(shared, announce, _ bool) {
	if announce {
		l.Tell(&actor.Hint{Kind: actor.Wanted, Peers: []actor.Peer{actor.Here}})
	}
	l.begin(opPoll, l.choose(shared, false))
}

func (l *link) Pace(bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.busy == nil || l.busy.kind != opPoll || l.busy.stopping {
		l.w.violate("one operation a key", "%v: no poll of %d is there to be paced", l.p, l.id)
	}
}

func (l *link) Tell(n *actor.Hint) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if !l.p.dead {
		l.w.tell(l.p, l.id, n)
	}
}

// choose notes the mode, and says on which session to ask.
func (l *link) choose(shared, own bool) *session {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.shared = shared
	if own {
		return l.own
	}
	return l.p.shared
}

func (l *link) Unlock(offer *actor.Hint) {
	l.w.mu.Lock()
	s := l.granted
	l.w.mu.Unlock()
	l.begin(opUnlock, s)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.busy != nil {
		l.busy.offer = offer
	}
}

func (l *link) Lend(any) {}

func (l *link) StopPolling() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.busy == nil || l.busy.kind != opPoll || l.busy.stopping {
		l.w.violate("one operation a key", "%v: no poll of %d is there to be stopped", l.p, l.id)
		return
	}
	l.busy.stopping = true
}

func (l *link) Reserve(_, _ bool) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.alive("reserve")
	if l.own != nil || l.asking != nil {
		l.w.violate("one session a key", "%v: a second session is reserved for %d", l.p, l.id)
	}
	l.asking = &reservation{l: l}
	l.w.asking = append(l.w.asking, l.asking)
}

func (l *link) Withdraw() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.asking == nil || l.asking.withdrawn {
		l.w.violate("one session a key", "%v: no reservation of %d is there to be withdrawn", l.p, l.id)
		return
	}
	l.asking.withdrawn = true
}

func (l *link) Return() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.alive("give back")
	s := l.own
	if s == nil {
		l.w.violate("one session a key", "%v: nothing of %d is there to be given back", l.p, l.id)
		return
	}
	if l.busy != nil && l.busy.s == s || !s.ended && s.lost.Load() == nil && l.w.server.lock(l.id).of(s) > 0 {
		l.w.violate("no leak", "%v: a session is given back with lock %d, or a question for it, on it", l.p, l.id)
	}
	l.own = nil
	l.p.free++
	l.w.server.end(s)
}

func (l *link) Ask() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.asked = time.Now()
	if !slices.ContainsFunc(l.w.questions, func(q *question) bool { return q.l == l }) {
		l.w.questions = append(l.w.questions, &question{l, time.Now(), l.waiters()})
	}
}

// waiters reports whether somebody is in the server's queue. With mu.
func (l *link) waiters() bool { return len(l.w.server.lock(l.id).queue) > 0 }

// question is who holds a key's lock, and whether somebody waits for it.
type question struct {
	l       *link
	asked   time.Time
	waiters bool // when it was asked
}

func (l *link) Unsent() <-chan struct{} { return l.unsent }
func (l *link) Session() actor.Session  { return l.session }

func (l *link) Own() actor.Session {
	if l.own == nil {
		return nil
	}
	return l.own
}

// answer brings the answer of an operation to its keeper, which acts on it now. Where it was given to a session that had ended,
// and that did not receive it, there is none: the keeper learns of that instead. Without mu.
func (w *world) answer(o *op, a actor.Answer, received bool) {
	w.mu.Lock()
	l := o.l
	l.busy = nil
	w.ops = slices.DeleteFunc(w.ops, func(other *op) bool { return other == o })
	l.session = o.s
	key := keyOf{l.p, l.id}
	switch {
	case o.kind == opUnlock:
		l.heldOn, l.granted = nil, nil
	case a.Again:
	case a.OK:
		l.heldOn, l.granted, l.draining = o.s, o.s, false
		w.tenures[key] = &tenure{began: time.Now()}
	case a.Err == nil:
		w.noes[key]++
		if o.shared {
			w.sharedNoes[key]++
		}
	default:
		w.failures[key]++
		if !a.Ended { // else the first waiter may try again at once
			w.opFailures[key]++
		}
		w.permanent[key] = w.permanent[key] || !a.Transient
	}
	w.mu.Unlock()
	if received {
		if o.unsent != nil {
			defer w.await()
			defer close(o.unsent)
		}
		l.send(actor.Answered{Answer: &a})
		return
	}
	w.seen.add("never sent")
	close(o.unsent)
	w.await()
}

// assign answers a reservation. Without mu.
func (w *world) assign(r *reservation, err error) {
	w.mu.Lock()
	l := r.l
	l.asking = nil
	w.asking = slices.DeleteFunc(w.asking, func(other *reservation) bool { return other == r })
	a := actor.Answer{OK: err == nil, Err: err, Transient: true}
	if err == nil {
		l.p.free--
		l.own = w.server.open(l.p)
	} else if !r.withdrawn {
		w.failures[keyOf{l.p, l.id}]++
	}
	w.mu.Unlock()
	l.send(actor.Reserved{Answer: &a})
}
