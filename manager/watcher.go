package manager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// watcher finds circles of holders that wait for each other over processes. A wait inside of holds that lasts for longer than longWait comes to it.
// It shows other processes what the wait is for, by a shared lock at the server for each hold (see edge), and looks whether their edges and its
// own make a circle. It is an owner: run.
type watcher struct {
	m *Manager

	// Sent by the timer of a wait; received by run; never closed; unbuffered: run always receives, or has closed done.
	begins chan *insideWait
	// Sent by the caller who waited, after begins was received; received by run; never closed; unbuffered: likewise.
	ends chan *insideWait
	// Sent by a round as its last act; received by run; never closed; capacity 1: one is under way.
	rounds chan *round
	// Closed by stop; received by run; nothing is sent.
	quit chan struct{}
	// Closed by run at its end; received by senders and stop; nothing is sent.
	done chan struct{}

	// run's.
	own       map[edge]*ownEdge
	shown     int                // of own: those that have a claim
	timer     *time.Timer        // of the next round
	cancel    context.CancelFunc // ends the round under way; nil if none is
	questions *pg.Questions      // the rounds'
	connected bool               // questions has a connection
	again     bool               // a wait has come since the round under way began
	latest    time.Time          // when the last wait came
	finished  time.Time          // when the last round ended
	pause     time.Duration      // after it
	soon      time.Duration      // the pause where there may be a circle, or a wait has come
	last      *view              // what the last round saw, if it did not fail
	failing   bool               // the last round failed
}

const (
	// longWait is how long a wait inside of holds lasts before other processes are told: most are shorter, and cost nothing.
	longWait = 500 * time.Millisecond
	// lookSoon is the pause between two looks while there may be a circle, and before the next where a wait has come. lookOften is the pause
	// after a wait has come, for lookOftenFor, since whoever closes a circle may leave it to this process to give up; then lookRarely.
	lookSoon     = 250 * time.Millisecond
	lookOften    = 500 * time.Millisecond
	lookOftenFor = 30 * time.Second
	lookRarely   = 5 * time.Second
	// looksEach is how many looks each member of a circle leaves to those before it, by rank, to give up.
	looksEach = 3
	// maxShown bounds the locks that a manager takes to show its edges, and maxHolds those of one wait: the table of locks is everybody's.
	maxShown = 1000
	maxHolds = 100
)

// ownEdge is an edge of this process's.
type ownEdge struct {
	name  string
	waits map[*insideWait]*actor.Claim // the waits, and the hold that each is inside of
	claim *actor.Claim                 // of the lock that shows it; nil if it is not shown
	asked bool                         // the round under way asks for the claim
	seen  int                          // in how many looks, one after the other, it was part of a circle
}

// HoldEnds implements [actor.Owner] for the lock that shows the edge. If it is lost, the next round takes it again.
func (*ownEdge) HoldEnds(error, time.Time) {}

func newWatcher(m *Manager) *watcher {
	return &watcher{m: m, begins: make(chan *insideWait), ends: make(chan *insideWait), rounds: make(chan *round, 1),
		quit: make(chan struct{}), done: make(chan struct{}), own: make(map[edge]*ownEdge), timer: time.NewTimer(lookOften),
		questions: m.pool.Questions()}
}

// start starts the goroutine. Joined by stop, through done.
func (w *watcher) start() { go w.run() }

// stop ends the goroutine. What is shown is taken back.
func (w *watcher) stop() {
	close(w.quit)
	<-w.done
}

// run is the watcher's goroutine: it waits here and nowhere else, but to hand a request to a keeper.
func (w *watcher) run() {
	defer close(w.done)
	for quit := w.quit; quit != nil || w.cancel != nil; w.setTimer(quit == nil) {
		select {
		case i := <-w.begins:
			w.begin(i)
		case i := <-w.ends:
			w.end(i)
		case r := <-w.rounds:
			w.cancel()
			w.cancel = nil
			w.judge(r)
		case <-w.timer.C:
			w.startRound()
		case <-quit:
			quit = nil
			if w.cancel != nil {
				w.cancel()
			}
		}
	}
	for _, e := range w.own {
		w.hide(e)
	}
}

// begin takes a wait that lasts.
func (w *watcher) begin(i *insideWait) {
	w.latest, w.again = time.Now(), true
	for _, hold := range i.holds[:min(len(i.holds), maxHolds)] {
		at := edge{fold(hold.ID), fold(i.wanted.ID)}
		if at.from == at.to {
			continue // by chance: it would be a circle by itself
		}
		e := w.own[at]
		if e == nil {
			e = &ownEdge{name: fmt.Sprintf("inside %s, waiting for %s", quoteKey(hold.Name), quoteKey(i.claim.Name)),
				waits: make(map[*insideWait]*actor.Claim)}
			w.own[at] = e
		}
		e.waits[i] = hold
	}
}

// end removes a wait that is over.
func (w *watcher) end(i *insideWait) {
	for _, hold := range i.holds[:min(len(i.holds), maxHolds)] {
		at := edge{fold(hold.ID), fold(i.wanted.ID)}
		if e := w.own[at]; e != nil {
			delete(e.waits, i)
			w.deleteUnused(at, e)
		}
	}
}

// deleteUnused deletes an edge for which nobody waits. One that is being asked for is looked at again when that is answered.
func (w *watcher) deleteUnused(at edge, e *ownEdge) {
	if len(e.waits) == 0 && !e.asked {
		w.hide(e)
		delete(w.own, at)
	}
}

// endHolds removes the waits inside of holds that are over: they go on, and keep nobody from anything.
func (w *watcher) endHolds() {
	for at, e := range w.own {
		maps.DeleteFunc(e.waits, func(_ *insideWait, hold *actor.Claim) bool { return hold.Over() != nil })
		w.deleteUnused(at, e)
	}
}

// hide takes back the lock that shows an edge.
func (w *watcher) hide(e *ownEdge) {
	if e.claim != nil {
		e.claim.ReleaseLater()
		e.claim = nil
		w.shown--
	}
}

// setTimer sets when the next round begins. The last one closes the connection, where nobody waits any more.
func (w *watcher) setTimer(closing bool) {
	switch {
	case w.cancel == nil && w.connected && closing:
		w.startOne(&round{questions: w.questions, last: true})
	case w.cancel != nil || closing || len(w.own) == 0 && !w.connected:
		w.timer.Stop()
	case len(w.own) == 0:
		w.timer.Reset(time.Until(w.finished.Add(lookRarely)))
	case w.again:
		w.timer.Reset(time.Until(w.finished.Add(w.soon)))
	default:
		w.timer.Reset(time.Until(w.finished.Add(w.pause)))
	}
}

// startRound starts the next round.
func (w *watcher) startRound() {
	w.again = false
	r := &round{questions: w.questions}
	w.endHolds()
	for at, e := range w.own {
		if e.claim != nil && e.claim.Over() != nil {
			e.claim = nil // with its session
			w.shown--
		}
		if e.claim == nil && w.shown < maxShown {
			e.claim = &actor.Claim{Terms: actor.Terms{Name: e.name, ID: at.id(), Try: true, Shared: true, Hold: actor.HoldDetached, MaxAttempts: 1, Owner: e}}
			e.asked = true
			w.shown++
			r.publish = append(r.publish, e.claim)
		}
	}
	r.last = len(w.own) == 0
	w.startOne(r)
}

// startOne starts a round. Joined by run, through rounds.
func (w *watcher) startOne(r *round) {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // run ends it
	w.cancel = cancel
	go func() { w.rounds <- r.run(ctx, w.m) }()
}

// judge takes the result of a round: who waits in a circle gives up, if it is its turn.
func (w *watcher) judge(r *round) {
	w.finished, w.soon = time.Now(), min(max(lookSoon, r.took), lookOften)
	for _, e := range w.own {
		if e.asked && e.claim.Err != nil {
			e.claim = nil
			w.shown--
		}
		e.asked = false
	}
	w.endHolds()
	if w.connected = r.connected; r.last {
		w.last = nil
		return
	}
	if r.err != nil {
		if !w.failing && !errors.Is(r.err, context.Canceled) {
			w.m.log.watch(r.err)
		}
		w.last, w.pause, w.failing = nil, lookOften, true
		return
	}
	earlier := w.last
	w.last, w.failing = r.view, false
	w.pause = lookRarely
	if w.finished.Sub(w.latest) < lookOftenFor {
		w.pause = max(lookOften, min(4*r.took, lookRarely/5))
	}
	inSight, steady := r.view.graph(nil, w.own).circles(), graph{}
	if len(inSight) > 0 && earlier != nil {
		steady = r.view.graph(earlier, w.own).circles()
	}
	for at, e := range w.own {
		if inSight.has(at) {
			w.pause = w.soon
		}
		if !steady.has(at) {
			e.seen = 0
			continue
		}
		path, rank := steady.circleOf(at)
		if path == nil { // it leads to a circle
			e.seen = 0
		} else if e.seen++; e.seen > looksEach*rank {
			w.refuse(e, path, r.view)
		}
	}
}

// refuse ends the waits of an edge. The edge goes when their callers have returned.
func (w *watcher) refuse(e *ownEdge, path []edge, v *view) {
	err := fmt.Errorf("%w: %s", ErrDeadlock, w.story(path, v))
	for i := range e.waits {
		i.claim.Withdraw(err)
	}
}

// story names the keys of a circle, as far as this process knows them, and the processes whose work waits.
func (w *watcher) story(path []edge, v *view) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the caller holds %s and waits for %s", w.keyOf(path[0].from, v), w.keyOf(path[0].to, v))
	for _, e := range path[1:] {
		fmt.Fprintf(&b, ", whose holder%s waits for %s", w.holderOf(e, v), w.keyOf(e.to, v))
	}
	return b.String()
}

// keyOf is the name of a key where it is in use in this process, else its id, if the server showed that.
func (w *watcher) keyOf(folded uint32, v *view) string {
	for at, e := range w.own {
		for i, hold := range e.waits {
			switch folded {
			case at.from:
				return quoteKey(hold.Name)
			case at.to:
				return quoteKey(i.claim.Name)
			}
		}
	}
	for _, id := range v.keys[folded] {
		if name := w.m.supervisor.NameOf(id); name != "" {
			return quoteKey(name)
		}
	}
	if ids := v.keys[folded]; len(ids) > 0 {
		return fmt.Sprintf("the key with id %d", ids[0])
	}
	return "a key that is not known here"
}

// holderOf says in which process work waits, of those that hold a key.
func (w *watcher) holderOf(e edge, v *view) string {
	if w.own[e] != nil {
		return " in this process"
	}
	for m := range v.marks {
		if m.edge == e {
			return fmt.Sprintf(" (server pid %d, application %q)", m.pid, v.applications[m.pid])
		}
	}
	return ""
}
