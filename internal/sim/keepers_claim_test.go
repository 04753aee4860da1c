package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

var errGaveUp = errors.New("the caller gave up")

// claim is one caller, and what it was told. The history's goroutine is its caller; some of what a caller waits for is waited
// for on goroutines of the claim's, which say by the fields under mu that it has come.
type claim struct {
	actor.Claim
	w         *world
	p         *process
	n         int
	silent    bool // it does not answer AskPause
	pauses    int  // answered
	answered  bool
	tooLate   bool // it gave up, and the keeper knew that, before it was granted
	releasing bool
	tenure    int // the server's grant that it holds by
	// When it came: how often the server had said no, and had failed; and how many were before it.
	noes, failures, opFailures int
	others                     bool
	shares                     bool // nothing was in the way of sharing the lock with those who held it

	// With mu.
	gaveUp    bool    // by ContextEnded or Withdraw
	ended     []error // by which it must be over, if it holds: the end of its context, and the release
	sent      bool    // Submit has returned
	submitted bool    // the history's goroutine has seen that
	unordered bool    // it was sent while others were on their way
	submitErr error
	told      []error // by HoldEnds
	known     bool    // the outcome
	pending   int     // goroutines that wait for it
}

func (c *claim) String() string {
	return fmt.Sprintf("%s claim %d of %v on %d", modeName(c.Shared), c.n, c.p, c.ID)
}

// live reports whether the claim's holder believes to hold the lock.
func (c *claim) live() bool {
	if !c.answered || c.Err != nil || c.Over() != nil || c.p.dead {
		return false
	}
	return c.Session.Lost() == nil && time.Now().Before(c.Session.TrustedUntil())
}

// HoldEnds implements actor.Owner.
func (c *claim) HoldEnds(cause error, _ time.Time) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.told = append(c.told, cause)
}

// submit sends the claim. It returns when the keeper has it.
func (c *claim) submit() {
	err := c.p.sup.Submit(&c.Claim)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.sent, c.submitErr = true, err
}

// cancel is the end of the claim's context.
func (c *claim) cancel() {
	if c.submitErr == nil {
		c.w.mu.Lock()
		c.givesUp()
		c.w.mu.Unlock()
		c.ContextEnded(errGaveUp)
		c.w.await()
		c.tooLate = c.tooLate || !c.answered && c.undecided()
	}
}

// withdraw gives up waiting.
func (c *claim) withdraw() {
	if c.submitErr == nil {
		c.w.mu.Lock()
		c.gaveUp = true
		c.w.mu.Unlock()
		c.Withdraw(errGaveUp)
		c.w.await()
		c.tooLate = c.tooLate || !c.answered && c.undecided()
	}
}

// givesUp notes the end of the claim's context. With mu.
func (c *claim) givesUp() {
	c.gaveUp = true
	if c.Hold == actor.HoldWithContext {
		c.ended = append(c.ended, errGaveUp)
	}
}

func (c *claim) undecided() bool { return len(c.Replies()) == 0 }

// release ends the hold. A second release only waits for the outcome.
func (c *claim) release(drop bool) {
	c.w.mu.Lock()
	first := !c.releasing
	c.releasing = true
	if first {
		c.ended = append(c.ended, actor.ErrReleased)
	}
	c.w.mu.Unlock()
	if first && drop {
		c.ReleaseLater()
		c.w.await()
		return
	}
	c.wait(func() bool {
		if first {
			return c.Release(nil)
		}
		return c.Await(nil)
	})
	c.w.await()
}

// wait waits for the outcome on a goroutine of its own.
func (c *claim) wait(known func() bool) {
	c.w.mu.Lock()
	c.pending++
	c.w.mu.Unlock()
	go func() {
		ok := known()
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		c.pending--
		c.known = true
		if !ok {
			c.w.violate("every call returns", "%v: without an outcome", c)
		}
	}()
}

// receive takes the keeper's replies, and reports whether there were any: then the claim has sent something, too.
func (w *world) receive(c *claim) (received bool) {
	w.mu.Lock()
	c.submitted = c.sent
	submitted, err := c.submitted, c.submitErr
	w.mu.Unlock()
	if !submitted || c.answered {
		return false
	}
	if err != nil {
		c.Err = err
		w.answered(c)
		return true
	}
	for {
		select {
		case reply := <-c.Replies():
			received = true
			if reply == actor.Decided {
				w.answered(c)
				return received
			}
			w.seen.add("asked for a pause")
			if !c.silent {
				c.pauses++
				c.Pause(time.Duration(c.pauses) * 10 * time.Millisecond)
				w.await()
			}
		default:
			return received
		}
	}
}

// look checks the rules after each step.
func (w *world) look() {
	for _, c := range slices.Clone(w.open) {
		w.poll(c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.releasedMeansFree()
	w.exclusion()
	w.nothingLeaks()
	w.drainsEnd()
	for _, c := range w.open {
		w.waitsRightly(c)
	}
	w.checked = time.Now()
}

// poll looks whether a claim is over.
func (w *world) poll(c *claim) {
	w.mu.Lock()
	settled := c.known && c.pending == 0
	w.mu.Unlock()
	if settled {
		w.settled(c)
	}
	if settled || c.answered && c.Err != nil {
		w.open = slices.DeleteFunc(w.open, func(other *claim) bool { return other == c })
		w.past = append(w.past, c)
	}
}

func (w *world) answered(c *claim) {
	c.answered = true
	if c.Err != nil {
		w.seen.add("refused: " + outcome(c.Err))
		w.say("          %v is refused: %v", c, c.Err)
		w.refusedRightly(c)
		return
	}
	w.say("          %v is granted, by hand: %v", c, c.Local)
	w.seen.add(modeName(c.Shared) + ", granted by " + [...]string{"the server", "hand"}[map[bool]int{true: 1}[c.Local]])
	c.wait(func() bool { return c.Await(nil) })
	w.await()
	w.mu.Lock()
	defer w.mu.Unlock()
	lock := w.server.lock(c.ID)
	if c.tenure = lock.of(c.Session.(*session)); c.tenure == 0 { //nolint:forcetypeassert // it is ours
		c.tenure = lock.grants // the session has ended while the answer was on its way
	}
	for _, before := range w.open {
		if before == c {
			break
		}
		if before.p == c.p && before.ID == c.ID && !before.answered && !before.gaveUp && !before.unordered && !c.unordered {
			w.violate("first come, first served", "%v was granted before %v", c, before)
		}
	}
	if c.tooLate {
		w.violate("no grant to one who gave up", "%v", c)
	}
	s := c.Session.(*session) //nolint:forcetypeassert // it is ours
	if silent := s.silent.Load(); silent != 0 && !c.Granted.Before(w.start.Add(time.Duration(silent)+keeperTrust)) {
		w.violate("no silent loss", "%v was granted on %v, which is trusted no longer", c, s)
	}
	if c.Over() != nil {
		return // whatever it was, it is over
	}
	t := w.tenures[keyOf{c.p, c.ID}]
	if t == nil {
		w.violate("exclusion", "%v was granted, and the server never said so", c)
		return
	}
	limits := w.config.Limits
	if t.grants++; c.Local && !c.Shared && (t.grants > limits.HandOffGrants || c.Granted.Sub(t.began) >= limits.HandOffTime) {
		w.violate("processes take turns", "%v: grant %d, %v after the server's", c, t.grants, c.Granted.Sub(t.began))
	}
	if c.Local && c.Shared {
		w.joinedRightly(c, t)
	}
	if !c.Local {
		t.first++
	}
	if !c.Local && (t.first != 1 || !c.Shared && t.grants != 1) { // of those who share a lock the others may be heard of first
		w.violate("exclusion", "%v is grant %d of one of the server's", c, t.grants)
	}
	if c.tenure <= c.p.failTenure[c.ID] {
		w.violate("a failed keeper's lock is released first", "%v holds by the grant %d, which the failed keeper had", c, c.tenure)
	}
	if c.Dedicated && s.shared {
		w.violate("a session of its own", "%v is held on %v", c, s)
	}
}

// refusedRightly checks that there was a reason. Without mu.
func (w *world) refusedRightly(c *claim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := keyOf{c.p, c.ID}
	var right bool
	switch {
	case errors.Is(c.Err, actor.ErrNotAcquired):
		noes := w.noes[key]
		if c.Shared { // that it cannot be had alone says nothing
			noes = w.sharedNoes[key]
		}
		right = c.Try && (c.others && !c.shares || c.unordered || noes > c.noes)
	case errors.Is(c.Err, actor.ErrTooManyWaiters):
		right = c.others && !c.shares || c.unordered
	case errors.Is(c.Err, actor.ErrTooManyKeys):
		right = w.config.MaxKeys < w.keys
	case errors.Is(c.Err, actor.ErrClosed):
		right = c.p.closing
	case errors.Is(c.Err, actor.ErrAttempts):
		failed := w.failures[key] - c.failures
		right = failed > 0 && len(c.Failures) > 0 && (c.Try || w.permanent[key] || failed >= c.MaxAttempts)
	case errors.Is(c.Err, actor.ErrKeeperFailed):
		right = c.p.injected[c.ID]
	default:
		right = c.gaveUp && errors.Is(c.Err, errGaveUp)
	}
	if !right {
		w.violate("errors tell the truth", "%v was refused: %v", c, c.Err)
	}
}

// settled checks that the end of a hold is one story. Without mu.
func (w *world) settled(c *claim) {
	over, settled := c.Over(), c.Outcome()
	w.say("          %v is over: %v; settled: %v", c, over, settled)
	w.seen.add("over: " + outcome(over))
	w.seen.add("settled: " + outcome(settled))
	w.mu.Lock()
	defer w.mu.Unlock()
	told := c.told
	if len(told) == 2 && c.Hold == actor.HoldForWork && c.p.closing && errors.Is(told[0], actor.ErrClosed) {
		told = told[1:]
		w.seen.add("work told of the close")
	}
	switch {
	case over == nil:
		w.violate("one answer each", "%v is settled and not over", c)
		return
	case len(told) != 1 || !errors.Is(told[0], over):
		w.violate("a holder hears", "%v is over for %v, and was told %v", c, over, c.told)
	case errors.Is(over, actor.ErrLost) != errors.Is(settled, actor.ErrLost) && settled != nil && !errors.Is(settled, actor.ErrLost):
		w.violate("errors tell the truth", "%v was over for %v, and settled with %v", c, over, settled)
	case errors.Is(over, actor.ErrLost) && settled == nil:
		w.violate("errors tell the truth", "%v was lost, and settled as if it had been released", c)
	case errors.Is(over, actor.ErrKeeperFailed) && !c.p.injected[c.ID]:
		w.violate("a failed keeper is contained", "%v: %v", c, over)
	case errors.Is(over, actor.ErrClosed) && (!c.p.closing || c.Hold == actor.HoldForWork):
		w.violate("errors tell the truth", "%v: %v", c, over)
	case errors.Is(over, actor.ErrReleased) && !c.releasing:
		w.violate("errors tell the truth", "%v: %v", c, over)
	case errors.Is(over, errGaveUp) && (!c.gaveUp || c.Hold != actor.HoldWithContext):
		w.violate("errors tell the truth", "%v: %v", c, over)
	}
	if c.Shared && errors.Is(over, actor.ErrLost) && w.handedOn(c) {
		w.seen.add("lost by many who share")
	}
	if settled == nil && c.keeps(time.Now()) {
		w.seen.add("kept for a minimum hold")
	}
	if settled == nil {
		w.released = append(w.released, c)
	}
}

// releasedMeansFree: a release that was called a success has freed the lock at the server, or another of the process has
// it, or it is kept for a minimum hold. With mu.
func (w *world) releasedMeansFree() {
	for _, c := range w.released {
		lock, l := w.server.lock(c.ID), c.p.links[c.ID]
		// A keeper that fails as it hands the lock on has said so already, and unlocks.
		unlocks := l.busy != nil && l.busy.kind == opUnlock
		failed := c.p.injected[c.ID] && unlocks
		// It may have ended while the minimum hold went on, which the step has ended.
		kept := c.keeps(time.Now()) || unlocks && c.keeps(w.checked)
		//nolint:forcetypeassert // the session is ours
		if lock.of(c.Session.(*session)) == c.tenure && !failed && !w.handedOn(c) && !kept {
			w.violate("released means free", "%v, and the server has the lock", c)
		}
	}
	w.released = w.released[:0]
}

// handedOn reports whether somebody of the process got the lock after c by the same grant of the server's, or shares it still.
func (w *world) handedOn(c *claim) bool {
	by := func(other *claim) bool {
		return other != c && other.p == c.p && other.ID == c.ID && other.answered && other.Err == nil && other.tenure == c.tenure
	}
	if c.Shared {
		return slices.ContainsFunc(w.open, by)
	}
	return slices.ContainsFunc(slices.Concat(w.open, w.past), func(other *claim) bool { return by(other) && other.Local })
}
