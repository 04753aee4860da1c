package sim_test

import (
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// actions, the dullest first.
var actions = []action[*world]{
	{3, func(w *world) {
		w.sleep("", []time.Duration{time.Millisecond, 7 * time.Millisecond, 25 * time.Millisecond})
	}},
	{9, (*world).serve},
	{12, (*world).acquire},
	{6, (*world).readerOrWriter},
	{7, (*world).endSome},
	{4, (*world).endHolder},
	{5, (*world).execute},
	{8, (*world).reply},
	{5, (*world).assignSome},
	{1, (*world).assignNone},
	{1, (*world).failSome},
	{1, (*world).loseReply},
	{1, (*world).again},
	{3, (*world).tellWho},
	{1, (*world).kill},
	{1, (*world).cut},
	{3, (*world).notice},
	{1, (*world).serverEnds},
	{4, (*world).lightFuse},
	{6, (*world).hearSome},
	{1, (*world).goDeaf},
	{2, (*world).outsiderLocks},
	{2, (*world).outsiderUnlocks},
	{2, func(w *world) { w.sleep("", []time.Duration{110 * time.Millisecond, 250 * time.Millisecond}) }},
	{1, func(w *world) { w.sleep("long ", []time.Duration{keeperTrust, 2 * keeperTrust, 3 * time.Second}) }},
	{1, (*world).closeOne},
	{1, (*world).killProcess},
}

func (w *world) step() { choose(w.src, w, actions) }

func (w *world) sleep(what string, spans []time.Duration) {
	d := spans[w.src.Pick(len(spans))]
	w.say("%stime: %v", what, d)
	w.pass(d)
}

func (w *world) anyProcess() *process { return w.procs[w.src.Pick(len(w.procs))] }

func (w *world) acquire() {
	i := w.src.Pick(len(w.procs))
	if w.procs[i].isClosed() && !w.src.Chance(4) { // else: too late
		w.restart(i)
	}
	c := w.prepare(w.procs[i], int64(1+w.src.Pick(w.keys)))
	w.arrive(c)
	if w.src.Chance(12) {
		w.say("          it is cancelled at once")
		c.cancel()
	}
}

// arrive submits a claim that was prepared.
func (w *world) arrive(c *claim) {
	w.mu.Lock()
	w.comes(c)
	w.mu.Unlock()
	c.submit()
	w.await()
}

// prepare makes a claim that is not on its way yet.
func (w *world) prepare(p *process, id int64) *claim {
	terms := actor.Terms{
		ID:          id,
		Try:         w.src.Chance(5),
		Shared:      w.src.Chance(2),
		Dedicated:   w.src.Chance(6),
		PollFirst:   w.src.Chance(4),
		MaxAttempts: []int{10, 1, 2, 3}[w.src.Pick(4)],
		Hold:        []actor.HoldMode{actor.HoldWithContext, actor.HoldWithContext, actor.HoldDetached, actor.HoldForWork}[w.src.Pick(4)],
	}
	silent := w.src.Chance(10)
	if w.src.Chance(6) && !terms.Shared {
		terms.MinHold = 100 * time.Millisecond
	}
	if w.src.Chance(5) {
		terms.Deadline = time.Now().Add(300 * time.Millisecond)
	}
	c := w.newClaim(p, terms)
	c.silent = silent
	return c
}

func (w *world) newClaim(p *process, terms actor.Terms) *claim {
	c := &claim{w: w, p: p}
	c.Terms = terms
	c.Owner = c
	return c
}

// comes notes how things are when a claim is submitted. With mu.
func (w *world) comes(c *claim) {
	key := keyOf{c.p, c.ID}
	c.noes, c.failures, c.opFailures = w.noes[key], w.failures[key], w.opFailures[key]
	if c.Shared {
		c.noes = w.sharedNoes[key]
	}
	l := c.p.links[c.ID]
	c.others = w.wanted(c.p, c.ID) || l != nil && l.busy != nil && (l.busy.kind == opWait || l.busy.kind == opPoll)
	c.shares = w.mayShare(c)
	c.n = len(w.past) + len(w.open) + 1
	w.open = append(w.open, c)
	w.say("%v: try %v, dedicated %v, poll first %v, %d attempts, hold %d, for %v at least", c, c.Try, c.Dedicated, c.PollFirst,
		c.MaxAttempts, c.Hold, c.MinHold)
}

// endSome ends any claim that is not over, perhaps for the second time, or one that is.
func (w *world) endSome() {
	claims := w.open
	if w.src.Chance(8) {
		claims = w.past
	}
	if len(claims) == 0 {
		return
	}
	c := claims[len(claims)-1-w.src.Pick(min(len(claims), 200))]
	how := w.src.Pick(4)
	if c.submitErr != nil {
		return
	}
	w.say("end %v, by %s", c, [...]string{"its context", "giving up", "a release", "a drop"}[how])
	switch {
	case how == 0:
		c.cancel()
	case how == 1 || !c.answered || c.Err != nil:
		c.withdraw()
	default:
		c.release(how == 3)
	}
}

func (w *world) endHolder() {
	for _, c := range w.open {
		if c.answered && c.Err == nil && !c.releasing && !w.src.Chance(3) {
			w.say("release %v", c)
			c.release(false)
			return
		}
	}
}

// pending chooses one of the operations that fit, under mu.
func (w *world) pending(fits func(o *op) bool) *op {
	var found []*op
	for _, o := range w.ops {
		if fits(o) {
			found = append(found, o)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[w.src.Pick(min(len(found), 200))]
}

func (o *op) reachable() bool {
	return !o.s.ended && o.s.silent.Load() == 0 && o.s.lost.Load() == nil && o.unsent == nil
}

func (w *world) execute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.pending(func(o *op) bool { return o.reachable() && !o.executed && !o.queued }); o != nil {
		w.server.execute(o)
		w.say("the server has %v: %v", o, o.word())
	}
}

func (o *op) word() string {
	switch {
	case o.queued:
		return "in the queue"
	case o.ok:
		return "yes"
	case o.executed:
		return "no"
	default:
		return "not yet"
	}
}

// answerable reports whether the answer may be on its way: the server has one, or the session is over.
func (o *op) answerable() bool {
	if o.s.lost.Load() != nil || o.executed {
		return true // an answer may be here already when the connection fails
	}
	if o.kind == opPoll {
		return o.stopping // between two questions, and the server need not be asked for that
	}
	return o.reachable() && o.queued && !time.Now().Before(o.sliceEnd)
}

func (w *world) reply() {
	w.mu.Lock()
	o := w.pending((*op).answerable)
	w.mu.Unlock()
	if o != nil {
		w.replyTo(o)
	}
}

func (w *world) replyTo(o *op) {
	received := o.unsent == nil || w.src.Chance(3)
	w.mu.Lock()
	a := actor.Answer{OK: o.ok}
	if lost := o.s.lost.Load(); lost != nil {
		a = actor.Answer{Err: lost.err, Transient: true, Ended: true}
		if o.s.p.shared == o.s { // now everybody knows
			o.s.p.shared = w.server.openShared(o.s.p)
		}
	} else if o.queued {
		w.server.leave(o)
	}
	w.mu.Unlock()
	w.say("the answer to %v: %v %v, the session received it: %v", o, a.OK, a.Err, received)
	w.answer(o, a, received)
}

// again answers that there was no session to ask on.
func (w *world) again() {
	w.mu.Lock()
	o := w.pending(func(o *op) bool {
		return o.reachable() && o.s.shared && !o.executed && !o.queued && (o.kind == opTry || o.kind == opPoll)
	})
	w.mu.Unlock()
	if o != nil {
		w.say("there was no session for %v, and there is one now", o)
		w.answer(o, actor.Answer{Again: true}, true)
	}
}

// serve is execute and reply in one.
func (w *world) serve() {
	w.mu.Lock()
	o := w.pending(func(o *op) bool { return o.answerable() || o.reachable() })
	if o != nil {
		w.server.execute(o)
	}
	ready := o != nil && o.answerable()
	w.mu.Unlock()
	if ready {
		w.replyTo(o)
	}
}

// failSome lets a statement fail. Where it had been done, that has been undone: the session settles its doubts.
func (w *world) failSome() {
	permanent := w.src.Chance(6)
	w.mu.Lock()
	o := w.pending(func(o *op) bool { return o.reachable() && o.kind != opUnlock })
	if o != nil {
		w.server.undo(o)
	}
	w.mu.Unlock()
	if o != nil {
		w.say("%v fails, for good: %v", o, permanent)
		w.answer(o, actor.Answer{Err: errStatement, Transient: !permanent}, true)
	}
}

// loseReply breaks the connection when the server has done what was asked, which nobody hears.
func (w *world) loseReply() {
	w.mu.Lock()
	o := w.pending((*op).reachable)
	if o != nil {
		w.server.execute(o)
	}
	w.mu.Unlock()
	if o != nil {
		w.say("the answer to %v (%v) is lost, with its connection", o, o.word())
		w.lose(o.s)
	}
}
