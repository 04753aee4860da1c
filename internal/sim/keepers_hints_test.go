package sim_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// hint is one that was told, in the order in which the server committed them: all processes hear it in that order, each when the
// history says so.
type hint struct {
	id   int64
	kind actor.HintKind
	from int
	to   []int // processes, by their numbers
}

// tell commits a hint of a process. With mu.
func (w *world) tell(p *process, id int64, n *actor.Hint) {
	m := hint{id: id, kind: n.Kind, from: p.n}
	for _, peer := range n.Peers {
		if peer == actor.Here {
			peer = actor.Peer(p.n)
		}
		m.to = append(m.to, int(peer))
	}
	w.hints = append(w.hints, m)
	w.say("          %v tells of %d: %v of %v", p, id, [...]string{"wanted", "offered", "held", "shared"}[m.kind], m.to)
}

// orderHints gives the hints of a step an order: what two keepers told at one time has none. With mu.
func (w *world) orderHints() {
	slices.SortStableFunc(w.hints[w.told:], func(a, b hint) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.id, b.id)) })
	w.told = len(w.hints)
}

// hear gives a process the next hint of another's that it has not heard, and reports whether there was one. Without mu.
func (w *world) hear(p *process) bool {
	w.mu.Lock()
	for p.heard < len(w.hints) && w.hints[p.heard].from == p.n {
		p.heard++
	}
	if p.heard == len(w.hints) || p.dead || !p.hints {
		w.mu.Unlock()
		return false
	}
	m := w.hints[p.heard]
	p.heard++
	n := &actor.Hint{Kind: m.kind}
	for _, number := range m.to {
		peer := actor.Peer(number)
		if number == p.n {
			peer = actor.Here
		}
		n.Peers = append(n.Peers, peer)
	}
	w.say("%v hears of %d: hint %d of %v", p, m.id, m.kind, m.to)
	w.mu.Unlock()
	w.seen.add("hint heard")
	heard := p.sup.Hear(m.id, n)
	w.await()
	if !heard && n.Kind == actor.Offered && n.Peers[0] == actor.Here && len(n.Peers) > 1 { // as package manager does
		w.mu.Lock()
		w.tell(p, m.id, &actor.Hint{Kind: actor.Offered, Peers: n.Peers[1:]})
		w.mu.Unlock()
	}
	return true
}

func (w *world) hearSome() {
	p := w.anyProcess()
	for range 1 + w.src.Pick(4) {
		w.hear(p)
	}
}

// goDeaf loses what a process has yet to hear. It tells of its waiters again, as package pg does then.
func (w *world) goDeaf() {
	p := w.anyProcess()
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.heard == len(w.hints) || !p.hints {
		return
	}
	w.say("%v goes deaf for %d hints", p, len(w.hints)-p.heard)
	p.heard = len(w.hints)
	for _, id := range w.ids() {
		if l := p.links[id]; l != nil && l.busy != nil && l.busy.kind == opPoll {
			w.tell(p, id, &actor.Hint{Kind: actor.Wanted, Peers: []actor.Peer{actor.Here}})
		}
	}
}

// Nobody's wake-up is lost: without any time that passes, so that no poll but the first and no timer helps, everybody who waits is
// served when those before have released, in whatever order the server answers and processes hear.
func TestNoWakeUpIsLost(t *testing.T) {
	seen := newTally("hint heard")
	explore(t, "TestNoWakeUpIsLost", 80, seen, func(_ *testing.T, src *sim.Source) error {
		w := newWorldOf(src, func(w *world) {
			w.hintsOnly, w.config.Limits.HandOffTime = true, time.Hour
			w.config.Limits.MaxWaiters, w.config.MaxKeys = 1000, 100
		})
		w.seen = seen
		return play(&hintWorld{w})
	})
}

// hintWorld is a world without time and faults.
type hintWorld struct{ *world }

var hintActions = []action[*hintWorld]{
	{6, func(w *hintWorld) { w.acquireToWait() }},
	{10, func(w *hintWorld) { w.serve() }},
	{4, func(w *hintWorld) { w.execute() }},
	{6, func(w *hintWorld) { w.reply() }},
	{8, func(w *hintWorld) { w.hearSome() }},
	{5, func(w *hintWorld) { w.endHolder() }},
	{2, func(w *hintWorld) { w.endSome() }},
	{2, func(w *hintWorld) { w.assignSome() }},
}

func (w *hintWorld) step() { choose(w.src, w, hintActions) }

func (w *hintWorld) acquireToWait() {
	p := w.anyProcess()
	c := w.newClaim(p, actor.Terms{ID: int64(1 + w.src.Pick(w.keys)), Try: w.src.Chance(8), MaxAttempts: 10, Hold: actor.HoldDetached})
	w.mu.Lock()
	w.comes(c)
	w.mu.Unlock()
	c.submit()
	w.await()
}

// goesWell: the server does all that it was asked, all is answered, everybody hears everything, and holders release. That is to be all
// that is needed.
func (w *hintWorld) goesWell() {
	for busy := true; busy && w.fine(); {
		busy = false
		for w.fine() {
			w.mu.Lock()
			o := w.pending(func(o *op) bool { return o.reachable() && !o.executed && !(o.kind == opPoll && o.asked && !o.stopping) })
			if o != nil {
				w.server.execute(o)
			}
			answer := w.pending((*op).answerable)
			w.mu.Unlock()
			if answer != nil {
				w.replyTo(answer)
			}
			if o == nil && answer == nil {
				break
			}
			busy = true
			w.settle()
		}
		for _, p := range w.procs {
			for w.hear(p) {
				busy = true
				w.settle()
			}
		}
		for _, c := range slices.Clone(w.open) {
			if !busy && c.answered && c.Err == nil && !c.releasing {
				busy = true
				w.say("release %v", c)
				c.release(false)
				w.settle()
			}
		}
	}
	for _, c := range w.open {
		if !c.answered && c.submitErr == nil {
			w.violate("no wake-up is lost", "%v waits, and the lock is free", c)
		}
	}
	w.world.goesWell()
}
