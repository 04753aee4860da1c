package actor

import (
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// model is what may be known of a machine without looking into it: what it was told, what it asked for, and what the
// server has said. It carries effects out and checks each of them against that.
type model struct {
	t     *rapid.T
	m     machine
	now   time.Time
	trust time.Time

	// The server's side.
	busy      bool       // an operation is under way,
	kind      effectKind // of this kind,
	inherited bool       // begun by an earlier incarnation,
	abandoned bool
	onOwn     bool // on the reserved session, as is then the lock
	held      bool // the server has said that the lock is ours, and not been told to release it
	reserved  reserving
	timer     time.Time

	// The callers' side.
	line      []*Claim // in the order in which they came
	claims    []*Claim // all
	told      map[*Claim]bool
	failed    map[*Claim]int // attempts that failed since it came
	holder    *Claim
	unsettled *Claim // whose hold is over

	tenure  time.Time // when the server granted the lock
	grants  int       // since then
	stopped bool
	exited  bool

	// Of the step under way.
	event      event
	granted    bool   // a claim was granted in it
	confirmed  bool   // it brought the server's word for a release
	settledOK  *Claim // whose release was called a success
	failures   int    // 1 where it brought a failure that counts
	permanent  bool
	waitingOld []*Claim // the line before it
}

func (w *model) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format, args...)
}

// step feeds an event to the machine, carries out what it wants, and looks at where that has led.
func (w *model) step(e event) {
	if w.exited {
		return // the keeper is gone, and the directory sends it nothing any more
	}
	historySteps.Add(1)
	e.now = w.now
	w.event, w.granted, w.confirmed, w.settledOK, w.failures, w.permanent = e, false, false, nil, 0, false
	w.waitingOld = slices.Clone(w.line)
	switch e.kind {
	case evAcquire:
		w.claims, w.line = append(w.claims, e.claim), append(w.line, e.claim)
	case evAnswered:
		w.answered(e.answer)
	case evReserved:
		w.seated(e.answer)
	case evLost:
		if e.gone != nil {
			w.held = false
		}
	case evTimer:
		if !w.timer.IsZero() && !w.now.Before(w.timer) {
			w.timer = time.Time{}
		}
	case evStop:
		w.stopped = true
	default:
	}
	if w.held && !w.busy {
		e.trust = w.trust
	}
	for _, fx := range w.m.step(&e) {
		w.carryOut(fx)
	}
	w.look()
}

func (w *model) answered(a Answer) {
	w.busy = false
	if w.kind == fxUnlock {
		w.held, w.confirmed = false, a.OK
		return
	}
	w.held = a.OK
	if a.OK {
		w.tenure, w.grants = w.now, 0
	}
	if a.Err != nil && !w.inherited {
		w.failures, w.permanent = 1, !a.Transient
	}
}

func (w *model) seated(a Answer) {
	if w.reserved == resAsked && a.Err != nil && !w.busy && w.holder == nil {
		w.failures, w.permanent = 1, !a.Transient // somebody was waiting for nothing but this
	}
	switch {
	case a.OK:
		w.reserved = resHave
	default:
		w.reserved = resNone
	}
}

func (w *model) carryOut(fx effect) {
	if w.exited {
		w.fail("%v after exit", fx.kind)
	}
	switch fx.kind {
	case fxTry, fxTryReserved, fxWait, fxPoll, fxUnlock:
		w.operate(fx.kind)
	case fxAbandon:
		if !w.busy || w.kind != fxWait && w.kind != fxPoll || w.abandoned {
			w.fail("abandon, and nothing is there to be abandoned")
		}
		w.abandoned = true
	case fxReserve, fxReserveDedicated:
		if w.reserved != resNone {
			w.fail("a second reservation")
		}
		w.reserved = resAsked
	case fxWithdraw:
		if w.reserved != resAsked {
			w.fail("withdraw, and no reservation is under way")
		}
		w.reserved = resDropped
	case fxGiveBack:
		if w.reserved != resHave || w.onOwn && (w.busy || w.held) {
			w.fail("give back with reserved %d busy %v held %v", w.reserved, w.busy, w.held)
		}
		w.reserved = resNone
	case fxTimer:
		w.timer = w.m.due()
	case fxGrant:
		w.grant(fx.claim)
	case fxRefuse:
		w.refuse(fx.claim, fx.err)
	case fxOver:
		if fx.claim != w.holder || w.unsettled != nil {
			w.fail("the hold that ended was not the holder's")
		}
		w.holder, w.unsettled = nil, fx.claim
		fx.claim.finishHold(fx.err)
	case fxSettle:
		w.settle(fx.claim, fx.err)
	case fxExit:
		if !w.stopped || w.busy || w.held || w.reserved != resNone || w.holder != nil || len(w.line) > 0 {
			w.fail("exit too early")
		}
		w.exited = true
	case fxAsk:
	}
}

func (w *model) operate(kind effectKind) {
	if w.busy {
		w.fail("%v while %v is under way", kind, w.kind)
	}
	if w.holder != nil {
		w.fail("%v while the lock is somebody's", kind)
	}
	if w.held != (kind == fxUnlock) {
		w.fail("%v with the lock held %v", kind, w.held)
	}
	w.busy, w.kind, w.abandoned, w.inherited = true, kind, false, false
	switch kind {
	case fxTryReserved, fxWait:
		if w.reserved != resHave {
			w.fail("%v without a session", kind)
		}
		w.onOwn = true
	case fxTry, fxPoll:
		w.onOwn = false
		if c := w.line[0]; c.Dedicated {
			w.fail("a try on a session with other locks for one who wants none")
		}
	}
	if (kind == fxWait || kind == fxPoll) && w.line[0].Try {
		w.fail("a try waits")
	}
}

func (w *model) grant(c *Claim) {
	switch {
	case w.holder != nil:
		w.fail("granted twice")
	case !w.held || w.busy:
		w.fail("granted without the server's word")
	case w.stopped:
		w.fail("granted after stop")
	case !w.now.Before(w.trust):
		w.fail("granted on a session that is trusted no longer")
	case c.Dedicated && !w.onOwn:
		w.fail("granted on a session with other locks to one who wants none")
	case len(w.line) == 0 || w.line[0] != c:
		w.fail("granted out of turn")
	case c.Local == (w.event.kind == evAnswered):
		w.fail("Local is %v", c.Local)
	case c.ending.Load() != nil:
		w.fail("granted to one who has given up")
	case w.unsettled != nil:
		w.fail("granted before the last hold was settled")
	}
	if w.grants++; c.Local && (w.grants > w.m.limits.QuantumGrants || w.now.Sub(w.tenure) >= w.m.limits.QuantumTime) {
		w.fail("grant %d, %v after the server's, is beyond the quantum", w.grants, w.now.Sub(w.tenure))
	}
	w.line = w.line[1:]
	w.holder, w.granted = c, true
	w.answer(c, nil)
}

func (w *model) answer(c *Claim, err error) {
	if c.answered {
		w.fail("a claim was answered twice")
	}
	c.answer(err)
}

func (w *model) refuse(c *Claim, err error) {
	i := slices.Index(w.line, c)
	if i < 0 {
		w.fail("refused and not in line")
	}
	arrives := w.event.kind == evAcquire && w.event.claim == c
	ending := c.ending.Load()
	var right bool
	switch {
	case errors.Is(err, ErrNotAcquired):
		right = c.Try
	case errors.Is(err, ErrTooManyWaiters):
		right = arrives && len(w.waitingOld) >= w.m.limits.MaxWaiters
	case errors.Is(err, ErrClosed):
		right = w.stopped
	case errors.Is(err, ErrAttempts):
		right = w.failures > 0 && w.mustFail(c, w.failed[c]+1) && len(c.Failures) > 0
	default:
		right = ending != nil && errors.Is(err, ending.err)
	}
	if !right {
		w.fail("refused for a reason that is none: %v", err)
	}
	w.line = slices.Delete(slices.Clone(w.line), i, i+1)
	w.answer(c, err)
}

func (w *model) mustFail(c *Claim, failures int) bool {
	return w.permanent || c.Try || failures >= c.MaxAttempts
}

func (w *model) settle(c *Claim, err error) {
	if c != w.unsettled {
		w.fail("settled a hold that is not over, or twice")
	}
	w.unsettled = nil
	if err == nil {
		w.settledOK = c
	} else if !errors.Is(err, ErrLost) && !errors.Is(err, ErrReleaseUnknown) {
		w.fail("settled with %v", err)
	}
	c.settle(err)
}

// look checks what must be so after each step.
func (w *model) look() {
	if w.settledOK != nil && !w.granted && !w.confirmed {
		w.fail("a release was called a success, and neither the server nor the next holder has the lock")
	}
	if w.failures > 0 {
		for _, c := range w.waitingOld {
			if w.failed[c]++; w.mustFail(c, w.failed[c]) != errors.Is(c.Err, ErrAttempts) {
				w.fail("after %d failed attempts of %d a claim was answered with %v", w.failed[c], c.MaxAttempts, c.Err)
			}
		}
	}
	if n := len(w.line); n != w.m.line.n || n > w.m.limits.MaxWaiters {
		w.fail("%d wait, and the machine knows of %d", n, w.m.line.n)
	}
	idle := !w.busy && w.holder == nil
	if idle && w.held {
		w.fail("the lock is held, and nobody's")
	}
	if idle && w.reserved == resHave {
		// The state between two attempts on it is the only reason to keep one.
		if len(w.line) == 0 || w.timer.IsZero() {
			w.fail("a session lies about")
		}
	}
	if idle && len(w.line) > 0 && w.timer.IsZero() && w.reserved != resAsked && w.reserved != resDropped {
		w.fail("somebody waits, and nothing is under way")
	}
	if idle && w.stopped && w.reserved == resNone && !w.exited {
		w.fail("nothing is left to do, and no exit")
	}
	for i, c := range w.line {
		if c.Try && (i > 0 || w.holder != nil) {
			w.fail("a try was left in line")
		}
		if c.Try && idle && !c.Dedicated {
			w.fail("a try waits for something else than the server")
		}
	}
	if w.stopped && len(w.line) > 0 {
		w.fail("somebody waits after stop")
	}
}
