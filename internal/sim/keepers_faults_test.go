package sim_test

import (
	"slices"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// lose ends a session at its client: whoever holds a lock on it hears, and what is under way has no other answer. The
// server hears by itself, sooner or later.
func (w *world) lose(s *session) {
	w.mu.Lock()
	if s.lost.Load() != nil || s.p == nil {
		w.mu.Unlock()
		return
	}
	s.fallSilent()
	s.lost.Store(&lossError{errBroken})
	stale := w.src.Chance(3) // some have yet to hear, and will ask on it
	if s.p.shared == s && !stale {
		s.p.shared = w.server.openShared(s.p)
	}
	var told []*link
	for _, id := range w.ids() {
		if l := s.p.links[id]; l != nil && l.heldOn == s {
			if l.heldOn = nil; l.busy == nil || w.src.Chance(3) { // else the answer says it
				told = append(told, l)
			}
		}
	}
	ops := slices.DeleteFunc(slices.Clone(w.ops), func(o *op) bool { return o.s != s })
	w.mu.Unlock()
	w.say("%v is lost", s)
	for _, l := range told {
		l.send(actor.Lost{Session: s})
	}
	for _, o := range ops {
		if !w.src.Chance(3) { // else its answer comes later
			w.replyTo(o)
		}
	}
}

// mine chooses a session that a process has and that fits.
func (w *world) sessionWhere(fits func(s *session) bool) *session {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*session
	for _, s := range w.server.sessions {
		if s.p != nil && fits(s) {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.src.Pick(min(len(found), 200))]
}

// kill ends a session at the server, and its client has yet to hear of it.
func (w *world) kill() {
	s := w.sessionWhere(func(s *session) bool { return s.lost.Load() == nil })
	if s == nil {
		return
	}
	w.say("the server ends %v", s)
	w.seen.add("session killed")
	w.mu.Lock()
	w.server.end(s)
	w.ended = append(w.ended, s)
	w.mu.Unlock()
}

// cut lets nothing through any more, and tells nobody.
func (w *world) cut() {
	s := w.sessionWhere(func(s *session) bool { return s.silent.Load() == 0 })
	if s != nil {
		w.say("%v is cut off", s)
		s.fallSilent()
		w.mu.Lock()
		w.ended = append(w.ended, s)
		w.mu.Unlock()
	}
}

// notice lets the client of a session find out: the socket says so, or trust has run out.
func (w *world) notice() {
	w.mu.Lock()
	w.ended = slices.DeleteFunc(w.ended, func(s *session) bool { return s.lost.Load() != nil })
	var found []*session
	for _, s := range w.ended {
		if s.ended || !time.Now().Before(s.TrustedUntil()) {
			found = append(found, s)
		}
	}
	var s *session
	if len(found) > 0 {
		s = found[w.src.Pick(min(len(found), 200))]
	}
	w.mu.Unlock()
	if s != nil {
		w.lose(s)
	}
}

// serverEnds lets the server find out that a client has closed a connection.
func (w *world) serverEnds() {
	s := w.sessionWhere(func(s *session) bool { return s.lost.Load() != nil })
	if s != nil {
		w.say("the server hears that %v is closed", s)
		w.mu.Lock()
		w.server.end(s)
		w.mu.Unlock()
	}
}

func (w *world) assignSome() {
	w.mu.Lock()
	var r *reservation
	if n := len(w.asking); n > 0 {
		r = w.asking[w.src.Pick(min(n, 200))]
	}
	free := r != nil && r.l.p.free > 0
	w.mu.Unlock()
	switch {
	case r == nil:
	case r.withdrawn && !(free && w.src.Chance(3)):
		w.say("the reservation of %v for %d is withdrawn", r.l.p, r.l.id)
		w.assign(r, errWithdrawn)
	case free:
		w.say("%v has a session for %d", r.l.p, r.l.id)
		w.assign(r, nil)
	}
}

func (w *world) assignNone() {
	w.mu.Lock()
	var r *reservation
	if n := len(w.asking); n > 0 {
		r = w.asking[w.src.Pick(min(n, 200))]
	}
	w.mu.Unlock()
	if r != nil {
		w.say("no session can be opened in %v for %d", r.l.p, r.l.id)
		w.assign(r, errBroken)
	}
}

// lightFuse lets a keeper fail, or a claim end, at a step of the keeper's life that is yet to come.
func (w *world) lightFuse() {
	p := w.anyProcess()
	id := int64(1 + w.src.Pick(w.keys))
	f := &fuse{after: 1 + w.src.Pick(8), what: fuseKind(w.src.Pick(4)), which: w.src.Pick(4)}
	if f.what == fuseClaim {
		f.claim = w.prepare(p, id)
	}
	w.say("%s for %d in %v, %d steps from now", [...]string{"a panic of the keeper", "a Goexit of the keeper", "the end of a claim", "a claim"}[f.what],
		id, p, f.after)
	w.mu.Lock()
	p.fuses[id] = f
	w.mu.Unlock()
}

func (w *world) outsiderLocks() {
	id := int64(1 + w.src.Pick(w.keys))
	w.mu.Lock()
	defer w.mu.Unlock()
	shared := w.src.Chance(3)
	if w.outside[id] == nil {
		o := &op{l: &link{w: w, p: &process{w: w}, id: id}, kind: opWait, shared: shared, s: w.server.open(nil)}
		w.outside[id] = o.s
		w.server.execute(o)
		w.say("another program locks %d, %s: %v", id, modeName(shared), o.word())
	}
}

func (w *world) outsiderUnlocks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range w.ids() {
		if s := w.outside[id]; s != nil {
			w.say("another program unlocks %d", id)
			delete(w.outside, id)
			w.server.end(s)
			return
		}
	}
}

func (w *world) closeOne() {
	i := w.src.Pick(len(w.procs))
	p := w.procs[i]
	switch {
	case p.isClosed():
		w.restart(i)
	case !p.closing && w.src.Chance(3): // rarely: what comes after is dull
		w.say("%v closes", p)
		p.close()
	}
}

// restart puts a new process in the place of one that is closed.
func (w *world) restart(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.procs[i]
	w.procs[i] = w.newProcess()
	w.say("%v starts in the place of %v", w.procs[i], old)
}

// killProcess ends a process as kill -9 does: its sessions end at the server, and nobody in it hears anything any more.
func (w *world) killProcess() {
	i := w.src.Pick(len(w.procs))
	p := w.procs[i]
	if p.closing || !w.src.Chance(3) {
		return
	}
	w.mu.Lock()
	w.procs[i] = w.newProcess()
	w.say("%v is killed; %v starts in its place", p, w.procs[i])
	w.seen.add("process killed")
	p.dead = true
	for _, s := range slices.Clone(w.server.sessions) {
		if s.p == p {
			w.server.end(s)
			w.ended = append(w.ended, s)
		}
	}
	w.mu.Unlock()
	p.close()
}

// goesWell lets all go well from here on, until everybody has been served.
func (w *world) goesWell() {
	for range 300 {
		if !w.fine() || len(w.open) == 0 {
			break
		}
		w.heal()
		for _, c := range slices.Clone(w.open) {
			if c.answered && c.Err == nil && !c.releasing {
				c.release(false)
				w.settle()
			}
		}
		w.pass(20 * time.Millisecond)
	}
	if len(w.open) > 0 {
		w.mu.Lock()
		w.violate("every call returns", "all has gone well for seconds, and %v has no answer", w.open[0])
		w.mu.Unlock()
		return
	}
	w.asNew()
}

// asNew: whatever has happened, each lock can be had again, in each process.
func (w *world) asNew() {
	for range 12 { // whoever was cut off has noticed, and a key that was given up for a while is not, any more
		w.heal()
		w.pass(100 * time.Millisecond)
	}
	for _, p := range w.all {
		for _, id := range w.ids() {
			if p.closing || !w.fine() || w.config.MaxKeys < w.keys {
				continue
			}
			c := w.newClaim(p, actor.Terms{ID: id, MaxAttempts: 3, Shared: (int(id)+p.n)%2 == 0})
			w.arrive(c)
			for range 20 {
				w.settle()
				w.heal()
				if c.answered || !w.fine() {
					break
				}
				w.pass(20 * time.Millisecond)
			}
			if !c.answered || c.Err != nil {
				w.mu.Lock()
				w.violate("recovery", "all is well again, and %v was answered with %v", c, c.Err)
				w.mu.Unlock()
				return
			}
			c.release(false)
			w.settle()
			w.heal()
		}
	}
}

// heal does what is due: answers, sessions, the end of what is lost. Nobody panics any more.
func (w *world) heal() {
	w.mu.Lock()
	for _, p := range w.all {
		clear(p.fuses)
	}
	ended := w.ended
	w.ended = nil
	var waiting []*session
	w.mu.Unlock()
	for _, s := range ended {
		if s.ended || !time.Now().Before(s.TrustedUntil()) {
			w.lose(s)
			w.settle()
		} else {
			waiting = append(waiting, s)
		}
	}
	w.mu.Lock()
	w.ended = append(w.ended, waiting...)
	w.mu.Unlock()
	for w.answerQuestion(false) {
		w.settle()
	}
	for range w.keys {
		w.outsiderUnlocks()
	}
	for range 50 {
		w.assignSome()
		w.settle()
		w.mu.Lock()
		idle := true
		for _, o := range w.ops {
			w.server.execute(o)
			idle = idle && !o.answerable()
		}
		w.mu.Unlock()
		if idle {
			break
		}
		w.reply()
		w.settle()
	}
	for s := w.closedOne(); s != nil; s = w.closedOne() {
		w.mu.Lock()
		w.server.end(s)
		w.mu.Unlock()
	}
}

func (w *world) closedOne() *session {
	return w.sessionWhere(func(s *session) bool { return s.lost.Load() != nil })
}

// closeAll closes every process, also after a rule was broken: the goroutines must go.
func (w *world) closeAll() {
	for _, p := range w.all {
		if !p.closing {
			p.close()
		}
	}
	synctest.Wait()
	for range 300 {
		w.heal()
		for _, c := range slices.Clone(w.open) { // Close waits for those who work
			if c.answered && c.Err == nil && !c.releasing {
				c.release(false)
			}
		}
		w.settle()
		if !slices.ContainsFunc(w.all, func(p *process) bool { return !p.isClosed() }) {
			break
		}
		w.pass(20 * time.Millisecond)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.all {
		if !p.isClosed() {
			w.violate("every call returns", "Close of %v does not return", p)
		}
	}
	w.leftovers()
}
