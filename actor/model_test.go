package actor

import (
	"errors"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// model is what may be known of a machine without looking into it: what it was told, what it asked for, and what the server
// has said. It carries effects out and checks each of them against that.
type model struct {
	t     *rapid.T
	m     machine
	known server // as the keeper keeps it
	now   time.Time
	trust time.Time

	// The server's side.
	busy      bool      // an operation is under way,
	op        operation // of this kind,
	inherited bool      // begun by an earlier incarnation,
	stopped   bool      // a poll, asked to stop
	onOwn     bool      // on the reserved session, as is then the lock
	shared    bool      // the mode of the operation, as is then the lock's
	held      bool      // the server has said that the lock is ours, and not been told to release it
	own       ownSession
	session   *driverSession // of the last grant

	// The callers' side.
	queue     []*Claim // in the order in which they came
	claims    []*Claim // all
	came      map[*Claim]time.Time
	failed    map[*Claim]int  // attempts that failed since it came
	pausing   map[*Claim]bool // asked for a pause, without an answer yet
	notified  map[*Claim]bool // that the hold is to end
	holders   []*Claim        // one, or such as share the lock
	unsettled *Claim          // whose hold is over
	kept      *Claim          // whose minimum hold goes on after its hold

	others others

	tenure   time.Time // when the server granted the lock
	grants   int       // since then, but for those who joined a holder
	asked    time.Time // when it was last asked, since then, whether somebody elsewhere waits; when it was granted, if never
	draining bool      // such a one is known to wait
	lapsed   bool      // the session was trusted no longer, at some time since then
	closed   bool
	exited   bool

	// Of the step under way.
	message    message
	granted    bool   // a claim was granted in it,
	joined     bool   // to share the lock with others
	mightShare bool   // who comes with it might share the lock
	confirmed  bool   // it brought the server's word for a release
	keeps      *Claim // whose hold it ended before the minimum
	failures   int    // 1 where it brought a failure that counts
	permanent  bool
	repeated   bool     // its session had ended, and the first waiter tried again at once
	waitingOld []*Claim // the queue before it
}

func (w *model) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format, args...)
}

// step feeds a message to the machine, carries out what it wants, and looks at where that has led.
func (w *model) step(e message) {
	if w.exited {
		return // the keeper is gone, and nobody sends it anything any more
	}
	historySteps.Add(1)
	w.message, w.granted, w.joined, w.mightShare, w.confirmed, w.keeps = e, false, false, false, false, nil
	w.failures, w.permanent, w.repeated = 0, false, false
	w.waitingOld = slices.Clone(w.queue)
	switch e := e.(type) {
	case acquire:
		w.mightShare = len(w.queue) == 0 && w.mayShare(e.claim)
		w.claims, w.queue = append(w.claims, e.claim), append(w.queue, e.claim)
		w.came[e.claim] = w.now
	case Answered:
		w.answered(e.Answer)
	case Reserved:
		w.reserved(e.Answer)
	case Lost:
		w.held, w.kept = false, nil
	case paused:
		w.pausing[e.claim] = false
	case Told:
		w.hears(e)
	case closing:
		w.closed = true
	}
	trust := time.Time{}
	if w.held && !w.busy {
		trust = w.trust
	}
	before := w.known
	w.known.receive(e)
	for _, fx := range w.m.step(&before, &w.known, e, w.now, trust) {
		w.known = fx.server
		w.carryOut(fx)
	}
	w.known = w.m.server
	w.look()
}

func (w *model) answered(a *Answer) {
	w.busy = false
	if w.op == opUnlock {
		w.held, w.confirmed = false, a.OK
		return
	}
	w.held = a.OK
	if a.OK {
		w.tenure, w.grants, w.session = w.now, 0, &driverSession{}
		w.asked, w.draining, w.lapsed = w.now, false, false
		w.others.responsible = true
	}
	if a.Err == nil || w.inherited {
		return
	}
	if len(w.queue) > 0 && a.Ended && !w.queue[0].retried {
		w.repeated = true
		return
	}
	w.failures, w.permanent = 1, !a.Transient
}

func (w *model) reserved(a *Answer) {
	if w.own == ownAsked && a.Err != nil && !w.busy && len(w.holders) == 0 {
		w.failures, w.permanent = 1, !a.Transient // somebody was waiting for nothing but this
	}
	w.own = ownNone
	if a.OK {
		w.own = ownHave
	}
}

func (w *model) carryOut(fx effect) {
	if w.exited {
		w.fail("%v after exit", fx.kind)
	}
	w.tells(fx)
	switch fx.kind {
	case fxTry, fxTryOwn, fxWait, fxPoll, fxUnlock:
		w.operate(fx)
	case fxStopPolling:
		if !w.busy || w.op != opPoll || w.stopped {
			w.fail("stop-polling, and no poll is there to be stopped")
		}
		w.stopped = true
	case fxReserve:
		if w.own != ownNone {
			w.fail("a second reservation")
		}
		w.own = ownAsked
	case fxWithdraw:
		if w.own != ownAsked {
			w.fail("withdraw, and no reservation is under way")
		}
		w.own = ownWithdrawn
	case fxReturn:
		if w.own != ownHave || w.onOwn && (w.busy || w.held) {
			w.fail("give back with own %d busy %v held %v", w.own, w.busy, w.held)
		}
		w.own = ownNone
	case fxPace:
		if !w.busy || w.op != opPoll || w.stopped {
			w.fail("pace, and no poll is under way")
		}
	case fxTell:
	case fxAsk:
		w.asked = w.now
	case fxAskPause:
		if w.pausing[fx.claim] || fx.claim != w.first() {
			w.fail("a pause is asked for twice, or of somebody who is not first")
		}
		w.pausing[fx.claim], fx.claim.askedPause = true, true
	case fxGrant:
		w.grant(fx.claim)
	case fxRefuse:
		w.refuse(fx.claim, fx.err)
	case fxNotify:
		if !slices.Contains(w.holders, fx.claim) || fx.claim.Hold != HoldForWork || !w.closed || w.notified[fx.claim] {
			w.fail("the wrong owner is told, or for the second time")
		}
		w.notified[fx.claim] = true
	case fxOver:
		w.over(fx.claim, fx.err)
	case fxSettle:
		w.settle(fx.claim, fx.err)
	case fxExit:
		if !w.closed || w.busy || w.held || w.own != ownNone || len(w.holders)+len(w.queue) > 0 {
			w.fail("exit too early")
		}
		w.exited = true
	}
}

func (w *model) first() *Claim {
	if len(w.queue) == 0 {
		return nil
	}
	return w.queue[0]
}

func (w *model) operate(fx effect) {
	kind := fx.kind
	if w.busy {
		w.fail("%v while %v is under way", kind, w.op)
	}
	if len(w.holders) > 0 {
		w.fail("%v while the lock is somebody's", kind)
	}
	if w.held != (kind == fxUnlock) {
		w.fail("%v with the lock held %v", kind, w.held)
	}
	if w.kept != nil && !w.closed && w.now.Before(w.kept.keptUntil()) {
		w.fail("%v before the minimum hold is over", kind)
	}
	w.kept = nil
	if kind == fxUnlock && fx.server.shared != w.shared || kind != fxUnlock && fx.server.shared != w.queue[0].Shared {
		w.fail("%v in the wrong mode", kind)
	}
	w.busy, w.stopped, w.inherited, w.shared = true, false, false, fx.server.shared
	w.op = map[effectKind]operation{fxTry: opTry, fxTryOwn: opTry, fxWait: opWait, fxPoll: opPoll, fxUnlock: opUnlock}[kind]
	switch kind {
	case fxTryOwn, fxWait:
		if w.own != ownHave {
			w.fail("%v without a session", kind)
		}
		w.onOwn = true
	case fxTry, fxPoll:
		w.onOwn = false
		if w.queue[0].Dedicated {
			w.fail("a try on a session with other locks for one who wants none")
		}
	default:
	}
	if (kind == fxWait || kind == fxPoll) && w.queue[0].Try {
		w.fail("a try waits")
	}
}

// look checks what must be so after each step.
func (w *model) look() {
	if len(w.holders) > 0 && w.unsettled != nil {
		w.fail("the lock went on, and the last hold was not settled")
	}
	if w.keeps != nil && (w.kept != w.keeps || w.granted || w.busy) {
		w.fail("a hold ended before its minimum, and the lock was not kept")
	}
	for _, c := range w.waitingOld {
		if w.failures == 0 {
			break
		}
		if w.failed[c]++; w.mustFail(c, w.failed[c]) != errors.Is(c.Err, ErrAttempts) {
			w.fail("after %d failed attempts of %d a claim was answered with %v", w.failed[c], c.MaxAttempts, c.Err)
		}
	}
	if w.repeated && !w.busy && w.own == ownNone {
		w.fail("an attempt whose session had ended was not repeated")
	}
	if n := len(w.queue); n != w.m.queue.n || n > w.m.limits.MaxWaiters {
		w.fail("%d wait, and the machine knows of %d", n, w.m.queue.n)
	}
	w.lookAtServer()
	w.lookAtOthers()
	w.lookAtReaders()
	for i, c := range w.queue {
		if c.Try && (i > 0 || len(w.holders) > 0 || w.kept != nil) {
			w.fail("a try was left in the queue")
		}
		if c.Try && w.idle() && !c.Dedicated {
			w.fail("a try waits for something else than the server")
		}
	}
	if w.closed && len(w.queue) > 0 {
		w.fail("somebody waits after close")
	}
	for _, c := range w.holders {
		if w.closed && !w.notified[c] {
			w.fail("somebody holds on after close")
		}
	}
}

func (w *model) idle() bool { return !w.busy && len(w.holders) == 0 && w.kept == nil }

func (w *model) lookAtServer() {
	alarm := w.m.nextDue()
	if s := w.known; s.op != opNone != w.busy || s.op != w.op && w.busy || s.held != (w.held && !w.busy || w.held && w.op == opUnlock) ||
		s.own != w.own || s.shared != w.shared && (w.busy || w.held) {
		w.fail("the keeper knows %+v of the server, and it is busy %v %v held %v shared %v own %d", s, w.busy, w.op, w.held, w.shared, w.own)
	}
	switch {
	case w.kept != nil:
		if w.busy || !w.held || alarm.IsZero() || alarm.After(w.kept.Granted.Add(w.kept.MinHold)) || w.own == ownHave && !w.onOwn {
			w.fail("a minimum hold: busy %v held %v own %d, and the alarm is at %v", w.busy, w.held, w.own, alarm)
		}
	case w.draining && !w.busy && len(w.holders) > 0:
		if alarm.IsZero() || alarm.After(w.asked.Add(askAgain)) {
			w.fail("somebody elsewhere is known to wait, and the alarm is at %v", alarm)
		}
	case !w.idle():
		if !alarm.IsZero() && !(w.held && !w.busy && w.m.limits.Hints) && !(w.busy && (w.op == opWait || w.op == opPoll)) {
			w.fail("the alarm is set, and nothing can be due")
		}
	case w.held:
		w.fail("the lock is held, and nobody's")
	case w.own == ownHave && (len(w.queue) == 0 || alarm.IsZero()):
		// The pause between two attempts on it is the only reason to keep one.
		w.fail("a session lies about")
	case len(w.queue) > 0 && alarm.IsZero() && w.own != ownAsked && w.own != ownWithdrawn:
		w.fail("somebody waits, and nothing is under way")
	case w.closed && w.own == ownNone && !w.exited:
		w.fail("nothing is left to do, and no exit")
	}
}
