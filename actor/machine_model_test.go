package actor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// historySteps counts the steps of all histories.
var historySteps atomic.Int64

// Random histories of one key. Whatever callers, server and clock do, the machine keeps to the rules that model checks
// after each step; then, in half of the histories, all goes well and everybody gets the lock; and at the end the manager
// closes and nothing is left. A failing history is made as short as can be, and its seed is printed.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"acquire": w.acquire, "cancel": w.cancel, "end": w.end, "endFirst": w.endFirst, "answer": w.answerAny,
			"answerOK": w.answerOK, "reserved": w.reservedAny, "lost": w.lost, "told": w.hearsay, "timer": w.timerAny,
			"timerDue": w.timerDue, "time": w.timePasses, "trust": w.trustChanges, "stop": w.maybeStop,
		})
		if rapid.Bool().Draw(t, "all goes well") && !w.stopped {
			w.goesWell()
			for _, c := range w.claims {
				if !c.answered || c.Err == nil && !c.isSettled() {
					w.fail("all went well, and a claim was not answered or not settled")
				}
			}
		}
		if !w.stopped {
			w.step(event{kind: evStop})
		}
		w.goesWell()
		if !w.exited {
			w.fail("closed, and no exit")
		}
		for _, c := range w.claims {
			if !c.answered || c.Err == nil && !c.isSettled() {
				w.fail("closed, and a claim was not answered or not settled")
			}
		}
	})
	t.Logf("%d steps", historySteps.Load())
}

func newModel(t *rapid.T) *model {
	now := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	w := &model{t: t, now: now, trust: now.Add(time.Hour), told: map[*Claim]bool{}, failed: map[*Claim]int{}}
	w.m.limits = &Limits{
		MaxWaiters:    rapid.IntRange(1, 4).Draw(t, "max waiters"),
		QuantumGrants: rapid.IntRange(1, 3).Draw(t, "quantum"),
		QuantumTime:   20 * time.Millisecond,
	}
	if rapid.Bool().Draw(t, "after a restart") {
		w.inherited, w.busy = true, true
		w.m.state = stSettling
		w.kind = rapid.SampledFrom([]effectKind{fxTry, fxWait, fxPoll, fxUnlock}).Draw(t, "under way")
		w.m.settling, w.held = w.kind != fxUnlock, w.kind == fxUnlock
		if w.kind == fxWait {
			w.reserved, w.onOwn = resHave, true
		} else {
			w.reserved = rapid.SampledFrom([]reserving{resNone, resAsked, resDropped, resHave}).Draw(t, "reserved")
		}
		w.m.reserved, w.m.onReserved = w.reserved, w.onOwn
	}
	return w
}

func (w *model) acquire(t *rapid.T) {
	c := &Claim{}
	c.Terms = Terms{
		Try:         rapid.Bool().Draw(t, "try"),
		Dedicated:   rapid.IntRange(0, 3).Draw(t, "dedicated") == 0,
		PollFirst:   rapid.Bool().Draw(t, "poll first"),
		MaxAttempts: rapid.IntRange(1, 3).Draw(t, "attempts"),
		NewBackoff:  linear,
	}
	c.Init(nil)
	if rapid.IntRange(0, 9).Draw(t, "cancelled before") == 0 {
		c.ending.Store(&endCause{context.Canceled})
	}
	w.step(event{kind: evAcquire, claim: c})
}

// alive draws one of those who wait or hold.
func (w *model) alive(t *rapid.T) *Claim {
	var alive []*Claim
	if w.holder != nil {
		alive = append(alive, w.holder)
	}
	alive = append(alive, w.line...)
	if len(alive) == 0 {
		t.Skip("nobody is there")
	}
	return alive[rapid.IntRange(0, len(alive)-1).Draw(t, "who")]
}

// cancel ends a claim, and the message has yet to come.
func (w *model) cancel(t *rapid.T) {
	w.alive(t).ending.CompareAndSwap(nil, &endCause{errGaveUp})
}

func (w *model) end(t *rapid.T) { w.endOf(w.alive(t)) }

func (w *model) endFirst(t *rapid.T) {
	switch {
	case w.holder != nil:
		w.endOf(w.holder)
	case len(w.line) > 0:
		w.endOf(w.line[0])
	default:
		t.Skip("nobody is there")
	}
}

func (w *model) endOf(c *Claim) {
	c.ending.CompareAndSwap(nil, &endCause{errGaveUp})
	if !w.told[c] {
		w.told[c] = true
		w.step(event{kind: evEnd, claim: c})
	}
}

func (w *model) answerAny(t *rapid.T) {
	if !w.busy {
		t.Skip("nothing is under way")
	}
	w.step(event{kind: evAnswered, answer: rapid.SampledFrom([]Answer{
		{OK: true}, {}, {Err: errBroken, Transient: true}, {Err: errBroken},
	}).Draw(t, "answer")})
}

func (w *model) answerOK(t *rapid.T) {
	if !w.busy {
		t.Skip("nothing is under way")
	}
	w.step(event{kind: evAnswered, answer: Answer{OK: true}})
}

func (w *model) reservedAny(t *rapid.T) {
	if w.reserved != resAsked && w.reserved != resDropped {
		t.Skip("nothing is reserved")
	}
	answers := []Answer{{OK: true}, {Err: errBroken, Transient: true}, {Err: errBroken}}
	if w.reserved == resDropped {
		answers[2] = Answer{Err: errWithdrawn, Transient: true}
	}
	w.step(event{kind: evReserved, answer: rapid.SampledFrom(answers).Draw(t, "answer")})
}

func (w *model) lost(t *rapid.T) {
	e := event{kind: evLost}
	if w.held && !w.busy && rapid.Bool().Draw(t, "it is this session") {
		e.gone = errBroken
	}
	holder := w.holder
	w.step(e)
	if e.gone != nil && holder.Over() == nil {
		w.fail("a lost hold is not over")
	}
	if e.gone == nil && w.holder != holder {
		w.fail("another session was lost, and the hold ended")
	}
}

func (w *model) hearsay(*rapid.T) { w.step(event{kind: evTold, holder: &Holder{PID: 1}}) }

func (w *model) timerAny(*rapid.T) { w.step(event{kind: evTimer}) }

func (w *model) timerDue(t *rapid.T) {
	if w.timer.IsZero() {
		t.Skip("no timer")
	}
	if w.timer.After(w.now) {
		w.now = w.timer
	}
	w.step(event{kind: evTimer})
}

func (w *model) timePasses(t *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "ms")) * time.Millisecond)
}

func (w *model) trustChanges(t *rapid.T) {
	if rapid.Bool().Draw(t, "trusted") {
		w.trust = w.now.Add(time.Hour)
	} else {
		w.trust = w.now
	}
}

// maybeStop is not as likely as the rest: histories after it are dull.
func (w *model) maybeStop(t *rapid.T) {
	if w.stopped || rapid.IntRange(0, 19).Draw(t, "stop") != 0 {
		t.Skip("not yet")
	}
	w.step(event{kind: evStop})
}

// goesWell answers everything in the best way until nothing is under way.
func (w *model) goesWell() {
	w.trust = w.now.Add(time.Hour)
	for range 500 {
		switch {
		case w.busy:
			w.step(event{kind: evAnswered, answer: Answer{OK: true}})
		case w.holder != nil:
			w.endOf(w.holder)
			if w.holder != nil && w.told[w.holder] && !w.busy {
				w.fail("a holder was told to end and holds on")
			}
		case w.reserved == resAsked || w.reserved == resDropped:
			w.step(event{kind: evReserved, answer: Answer{OK: true}})
		case !w.timer.IsZero() && len(w.line) > 0:
			w.now = w.timer
			w.step(event{kind: evTimer})
		case len(w.line) == 0:
			return
		default:
			w.fail("%d wait, and nothing is under way", len(w.line))
		}
	}
	w.fail("it never ends")
}
