package sim_test

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// What happens to shared locks, and the rules of them. The rules are called with mu.

const (
	// readersAsk is how long readers may join without a question whether somebody elsewhere waits.
	readersAsk = 100 * time.Millisecond
	// readersAskAgain is how long they may be kept out without one.
	readersAskAgain = 2 * time.Second
)

// readerOrWriter lets another reader come to a lock that is shared, or a writer elsewhere.
func (w *world) readerOrWriter() {
	i := slices.IndexFunc(w.open, func(c *claim) bool { return c.Shared && c.live() && !c.p.closing })
	if i < 0 {
		return
	}
	p, id := w.open[i].p, w.open[i].ID
	if w.src.Chance(3) {
		w.arrive(w.newClaim(w.anyProcess(), actor.Terms{ID: id, MaxAttempts: 10}))
		return
	}
	w.arrive(w.newClaim(p, actor.Terms{ID: id, Shared: true, Try: w.src.Chance(4), MaxAttempts: 10}))
}

func (w *world) tellWho() {
	if w.src.Chance(4) { // an answer may fail to come
		w.mu.Lock()
		w.questions = w.questions[min(1, len(w.questions)):]
		w.mu.Unlock()
		return
	}
	w.answerQuestion(w.src.Chance(2))
}

// answerQuestion answers a question, by what is so now or what was so when it was asked. It reports whether there was one.
func (w *world) answerQuestion(old bool) bool {
	w.mu.Lock()
	if len(w.questions) == 0 {
		w.mu.Unlock()
		return false
	}
	q := w.questions[0]
	w.questions = w.questions[1:]
	l, t := q.l, actor.Told{Holder: &actor.Holder{PID: 4711, Seen: time.Now()}, Waiters: q.l.waiters(), Asked: q.asked}
	if old {
		t.Waiters = q.waiters
	}
	w.say("%v hears who has %d, and whether somebody waits: %v", l.p, l.id, t.Waiters)
	if l.heldOn != nil && l.busy == nil && l.shared && t.Asked.After(w.tenures[keyOf{l.p, l.id}].began) {
		l.draining = t.Waiters
		w.seen.add(map[bool]string{true: "readers hear of a writer", false: "readers hear of none"}[t.Waiters])
	}
	w.mu.Unlock()
	l.send(t)
	return true
}

// holdersOf are those who believe to hold a key in a process. All is false where others have a claim on it that is not settled.
func (w *world) holdersOf(key keyOf) (holders []*claim, all bool) {
	all = true
	for _, c := range w.open {
		if c.p != key.p || c.ID != key.id {
			continue
		}
		if c.live() {
			holders = append(holders, c)
		} else {
			all = false
		}
	}
	return holders, all
}

// mayShare reports whether nothing is in the way of sharing the lock with those who hold it: nobody waits, here or, as far as the
// keeper has been told, elsewhere.
func (w *world) mayShare(c *claim) bool {
	holders, all := w.holdersOf(keyOf{c.p, c.ID})
	return all && len(holders) > 0 && c.p.fuses[c.ID] == nil && w.fitsIn(c, holders[0])
}

// fitsIn reports whether c may share the lock that another of its process holds, were nobody in its way.
func (w *world) fitsIn(c, holder *claim) bool {
	l := c.p.links[c.ID]
	s := holder.Session.(*session) //nolint:forcetypeassert // it is ours
	return c.Shared && holder.Shared && l.busy == nil && !l.draining && !c.p.closing && !(c.Dedicated && s.shared)
}

// joinedRightly: a lock that is shared was given to another reader without asking the server. A writer elsewhere, who is in the
// server's queue, is not starved by that: the process asks for such every tenth of a second, and once it has heard of one nobody joins.
func (w *world) joinedRightly(c *claim, t *tenure) {
	l := c.p.links[c.ID]
	since := t.began
	if l.asked.After(since) {
		since = l.asked
	}
	switch {
	case l.draining:
		w.violate("a writer elsewhere is not passed", "%v joins, and it was heard that somebody waits", c)
	case time.Since(since) >= readersAsk:
		w.violate("a writer elsewhere is heard of", "%v joins, and for %v it was not asked whether somebody waits", c, time.Since(since))
	}
}

// readersShare: the first who waits is not one that might share the lock. A writer elsewhere keeps it out as long as that waits. And it is
// polled for in its own mode.
func (w *world) readersShare(c *claim) {
	key := keyOf{c.p, c.ID}
	if w.anyWaits(key, c) || c.p.links[c.ID] == nil {
		return
	}
	l := c.p.links[c.ID]
	if o := l.busy; o != nil && o.kind == opPoll && !o.stopping && !o.tainted && o.shared != c.Shared {
		w.violate("readers share", "%v waits for the answer to %v", c, o)
	}
	holders, _ := w.holdersOf(key)
	if len(holders) == 0 || !c.Shared || c.Try {
		return
	}
	if w.fitsIn(c, holders[0]) {
		w.violate("readers share", "%v waits, and %v holds", c, holders[0])
	}
	if l.draining && l.busy == nil {
		w.seen.add("a reader waits behind a writer elsewhere")
	}
}

// drainsEnd: a writer elsewhere that keeps readers out may give up, and is asked for again and again.
func (w *world) drainsEnd() {
	for _, p := range w.all {
		for id, l := range p.links {
			since := time.Since(l.asked)
			if !l.draining || l.busy != nil || since <= readersAskAgain {
				continue
			}
			if holders, _ := w.holdersOf(keyOf{p, id}); len(holders) > 0 {
				w.violate("a writer elsewhere that has gone is forgotten", "%v: readers of %d are kept out, and for %v nobody asked why", p, id, since)
			}
		}
	}
}

// anyWaits reports whether somebody came before a claim and waits, or may have.
func (w *world) anyWaits(key keyOf, c *claim) bool {
	return slices.ContainsFunc(w.open, func(other *claim) bool {
		return other.p == key.p && other.ID == key.id && !other.answered && (other.n < c.n || other.unordered)
	})
}
