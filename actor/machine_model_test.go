package actor

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// historySteps counts the steps of all histories.
var historySteps atomic.Int64

// Random histories of one key. Whatever callers, server and clock do, the machine keeps to the rules that model checks after
// each step; then, in half of the histories, all goes well and everybody gets the lock; and at the end the supervisor closes
// and nothing is left. A failing history is made as short as can be, and its seed is printed.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"acquire": w.acquire, "end": w.end, "endFirst": w.endFirst, "answer": w.answerAny, "answerOK": w.answerOK,
			"reserved": w.reservedAny, "lost": w.lost, "told": w.hearsay, "toldNow": w.hearsNow, "due": w.dueAny, "dueNow": w.dueNow, "time": w.timePasses,
			"trust": w.trustChanges, "pause": w.pause, "late": w.late, "hint": w.hearsHint, "hint too": w.hearsHint, "close": w.maybeClose,
		})
		if rapid.Bool().Draw(t, "all goes well") && !w.closed {
			w.goesWell()
			w.allServed("all went well")
		}
		if !w.closed {
			w.step(closing{})
		}
		w.goesWell()
		if !w.exited {
			w.fail("closed, and no exit")
		}
		w.allServed("closed")
	})
	t.Logf("%d steps", historySteps.Load())
}

func (w *model) allServed(when string) {
	for _, c := range w.claims {
		if c.stage != stageOver {
			w.fail("%s, and a claim is in stage %d", when, c.stage)
		}
	}
}

func newModel(t *rapid.T) *model {
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	w := &model{t: t, now: now, trust: now.Add(time.Hour), came: map[*Claim]time.Time{}, failed: map[*Claim]int{}, pausing: map[*Claim]bool{},
		notified: map[*Claim]bool{}}
	w.m.limits = &Limits{
		MaxWaiters:    rapid.IntRange(1, 4).Draw(t, "max waiters"),
		HandOffGrants: rapid.IntRange(1, 3).Draw(t, "hand-offs"),
		HandOffTime:   20 * time.Millisecond,
		Hints:         rapid.Bool().Draw(t, "hints"),
	}
	if rapid.Bool().Draw(t, "after a restart") {
		w.inherited, w.busy, w.m.inherited = true, true, true
		w.op = rapid.SampledFrom([]operation{opTry, opWait, opPoll, opUnlock}).Draw(t, "under way")
		w.held, w.stopped = w.op == opUnlock, w.op == opPoll
		if w.op == opWait {
			w.own, w.onOwn = ownHave, true
		} else {
			w.own = rapid.SampledFrom([]ownSession{ownNone, ownAsked, ownWithdrawn, ownHave}).Draw(t, "own")
		}
		w.shared = rapid.Bool().Draw(t, "shared")
		w.known = server{op: w.op, held: w.held, shared: w.shared, own: w.own, onOwn: w.onOwn, stopping: w.stopped}
	}
	return w
}

func (w *model) acquire(t *rapid.T) {
	c := &Claim{reply: make(chan Reply, replyRoom)}
	c.Owner = quiet{}
	c.Terms.Try = rapid.Bool().Draw(t, "try")
	c.Dedicated = rapid.IntRange(0, 3).Draw(t, "dedicated") == 0
	c.PollFirst = rapid.Bool().Draw(t, "poll first")
	c.MaxAttempts = rapid.IntRange(1, 3).Draw(t, "attempts")
	if c.Shared = rapid.Bool().Draw(t, "shared"); !c.Shared {
		c.MinHold = time.Duration(rapid.SampledFrom([]int{0, 0, 25, 100}).Draw(t, "min hold")) * time.Millisecond
	}
	c.Hold = rapid.SampledFrom([]HoldMode{HoldWithContext, HoldDetached, HoldForWork}).Draw(t, "hold")
	w.step(acquire{c})
}

// alive draws one of those who wait or hold.
func (w *model) alive(t *rapid.T) *Claim {
	alive := slices.Concat(w.holders, w.queue)
	if len(alive) == 0 {
		t.Skip("nobody is there")
	}
	return alive[rapid.IntRange(0, len(alive)-1).Draw(t, "who")]
}

func (w *model) end(t *rapid.T) { w.endOf(w.alive(t), rapid.IntRange(0, 2).Draw(t, "how")) }

func (w *model) endFirst(t *rapid.T) {
	switch {
	case len(w.holders) > 0:
		w.endOf(w.holders[0], 0)
	case len(w.queue) > 0:
		w.endOf(w.queue[0], 1)
	default:
		t.Skip("nobody is there")
	}
}

// endOf ends a claim: a release is for who holds.
func (w *model) endOf(c *Claim, how int) {
	holds := slices.Contains(w.holders, c)
	switch {
	case how == 0 && holds:
		w.step(release{claim: c})
	case how == 1:
		w.step(withdraw{c, errGaveUp})
		if c.Err == nil && !holds {
			w.fail("who gave up waits")
		}
	default:
		w.step(contextEnded{c, errGaveUp})
		if c.Err == nil && (!holds || c.Hold == HoldWithContext) && c.Over() == nil {
			w.fail("the context of a claim has ended, and nothing came of it")
		}
	}
}

// late is a message about a claim that is over: nothing comes of it.
func (w *model) late(t *rapid.T) {
	if len(w.claims) == 0 || w.exited {
		t.Skip("nobody was there")
	}
	c := w.claims[rapid.IntRange(0, len(w.claims)-1).Draw(t, "who")]
	if c.stage != stageOver {
		t.Skip("it is not over")
	}
	if c == w.m.kept {
		t.Skip("it keeps the lock: a release looks whether that is over")
	}
	before := w.known
	w.step(rapid.SampledFrom([]message{release{claim: c}, withdraw{c, errGaveUp}, contextEnded{c, errGaveUp},
		paused{c, time.Second}}).Draw(t, "message"))
	if w.known != before || len(w.m.effects) > 0 {
		w.fail("a message that came late had effects")
	}
}

func (w *model) answerAny(t *rapid.T) {
	if !w.busy {
		t.Skip("nothing is under way")
	}
	answers := []Answer{{OK: true}, {}, {Err: errBroken, Transient: true}, {Err: errBroken}, {Err: errBroken, Transient: true, Ended: true}}
	if w.op == opTry || w.op == opPoll {
		answers = append(answers, Answer{Again: true})
	}
	a := rapid.SampledFrom(answers).Draw(t, "answer")
	w.step(Answered{&a})
}

func (w *model) answerOK(t *rapid.T) {
	if !w.busy {
		t.Skip("nothing is under way")
	}
	w.step(Answered{&Answer{OK: true}})
}

func (w *model) reservedAny(t *rapid.T) {
	if w.own != ownAsked && w.own != ownWithdrawn {
		t.Skip("nothing is reserved")
	}
	a := rapid.SampledFrom([]Answer{{OK: true}, {Err: errBroken, Transient: true}, {Err: errBroken}}).Draw(t, "answer")
	w.step(Reserved{&a})
}

// lost: the keeper passes on only the loss of the session that holds the lock.
func (w *model) lost(t *rapid.T) {
	if !w.held || w.busy {
		t.Skip("nothing is held")
	}
	holders := slices.Clone(w.holders)
	w.step(Lost{w.session})
	for _, c := range holders {
		if c.Over() == nil {
			w.fail("a lost hold is not over")
		}
	}
}

func (w *model) dueAny(*rapid.T) { w.step(due{}) }

func (w *model) dueNow(t *rapid.T) {
	at := w.m.nextDue()
	if at.IsZero() {
		t.Skip("nothing is due")
	}
	if at.After(w.now) {
		w.now = at
	}
	w.step(due{})
	if next := w.m.nextDue(); !next.IsZero() && !next.After(w.now) {
		w.fail("what was due is due again at once")
	}
}

func (w *model) pause(t *rapid.T) {
	for _, c := range w.claims {
		if w.pausing[c] {
			w.step(paused{c, time.Duration(rapid.IntRange(-1, 300).Draw(t, "pause")) * time.Millisecond})
			return
		}
	}
	t.Skip("nobody was asked")
}

func (w *model) timePasses(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "ms")) * time.Millisecond)
}

func (w *model) trustChanges(t *rapid.T) {
	w.trust = w.now
	if rapid.Bool().Draw(t, "trusted") {
		w.trust = w.now.Add(time.Hour)
	}
}

// maybeClose is not as likely as the rest: histories after it are dull.
func (w *model) maybeClose(t *rapid.T) {
	if w.closed || rapid.IntRange(0, 19).Draw(t, "close") != 0 {
		t.Skip("not yet")
	}
	w.step(closing{})
}

// goesWell answers everything in the best way until nothing is under way.
func (w *model) goesWell() {
	for range 500 {
		w.trust = w.now.Add(time.Hour)
		at := w.m.nextDue()
		switch {
		case w.busy:
			w.step(Answered{&Answer{OK: true}})
		case w.draining && len(w.holders) > 0 && len(w.queue)%2 == 0: // the other gives up; else it waits for all who hold
			w.now = w.now.Add(1)
			w.step(Told{Asked: w.now})
		case len(w.holders) > 0:
			w.step(release{claim: w.holders[0]})
		case w.own == ownAsked || w.own == ownWithdrawn:
			w.step(Reserved{&Answer{OK: true}})
		case !at.IsZero() && (len(w.queue) > 0 || w.kept != nil):
			w.now = at
			w.step(due{})
		case len(w.queue) == 0:
			return
		default:
			w.fail("%d wait, and nothing is under way", len(w.queue))
		}
	}
	w.fail("it never ends")
}
