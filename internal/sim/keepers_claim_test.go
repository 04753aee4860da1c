package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

var errGaveUp = errors.New("the caller gave up")

// claim is one caller, and what it was told.
type claim struct {
	actor.Claim
	w            *world
	p            *process
	n            int
	answered     bool
	ended        []error // what End was called with
	tooLate      bool    // it was ended before the keeper could have made up its mind to grant
	told         []error // by its watch
	unregistered int
	tenure       int // the server's grant that it holds by
	// When it came: how often the server had said no, and had failed; and how many were before it.
	noes, failures, opFailures int
	others                     bool
}

// Unregister is the claim's registration with its caller's context.
func (c *claim) Unregister() bool {
	c.unregistered++
	return true
}

func (c *claim) String() string { return fmt.Sprintf("claim %d of %v on %d", c.n, c.p, c.ID) }

// live reports whether the claim's holder believes to hold the lock.
func (c *claim) live() bool {
	if !c.answered || c.Err != nil || c.Over() != nil || c.p.dead {
		return false
	}
	return c.Session.Lost() == nil && time.Now().Before(c.Session.TrustedUntil())
}

func (c *claim) end(cause error) {
	c.ended = append(c.ended, cause)
	c.End(cause)
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
	for _, c := range w.open {
		w.waitsRightly(c)
	}
}

// poll takes what a claim was told.
func (w *world) poll(c *claim) {
	tokens := len(c.Answered())
	if !c.answered && tokens > 0 {
		<-c.Answered()
		tokens--
		c.answered = true
		w.answered(c)
	}
	settled := c.isSettled()
	switch {
	case settled && !c.answered:
		w.violate("one answer each", "%v was settled before it was answered", c)
	case settled:
		w.settled(c)
	case c.answered && tokens > 0:
		w.violate("one answer each", "%v was answered twice", c)
	}
	if settled || c.answered && c.Err != nil {
		w.open = slices.DeleteFunc(w.open, func(other *claim) bool { return other == c })
		w.past = append(w.past, c)
	}
}

func (c *claim) isSettled() bool {
	select {
	case <-c.Settled():
		return true
	default:
		return false
	}
}

func (w *world) answered(c *claim) {
	if c.Err != nil {
		w.seen.add("refused: " + outcome(c.Err))
		w.say("          %v is refused: %v", c, c.Err)
		w.refusedRightly(c)
		return
	}
	w.say("          %v is granted, by hand: %v", c, c.Local)
	w.seen.add("granted by " + [...]string{"the server", "hand"}[map[bool]int{true: 1}[c.Local]])
	c.Watch(func(cause error) { c.told = append(c.told, cause) })
	w.mu.Lock()
	defer w.mu.Unlock()
	c.tenure = w.server.lock(c.ID).tenure
	for _, before := range w.open {
		if before == c {
			break
		}
		if before.p == c.p && before.ID == c.ID && !before.answered && len(before.ended) == 0 {
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
	if t.grants++; c.Local && (t.grants > w.config.Limits.QuantumGrants || c.Granted.Sub(t.began) >= w.config.Limits.QuantumTime) {
		w.violate("processes take turns", "%v: grant %d, %v after the server's", c, t.grants, c.Granted.Sub(t.began))
	}
	if !c.Local && t.grants != 1 {
		w.violate("exclusion", "%v is grant %d of one of the server's", c, t.grants)
	}
	if c.tenure <= c.p.failTenure[c.ID] {
		w.violate("a failed keeper's lock is released first", "%v holds by the grant %d, which the failed keeper had", c, c.tenure)
	}
	if c.Dedicated && s == c.p.shared {
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
		right = c.Try && (c.others || w.noes[key] > c.noes)
	case errors.Is(c.Err, actor.ErrTooManyWaiters):
		right = c.others
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
		right = len(c.ended) > 0 && errors.Is(c.Err, c.ended[0])
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
	switch {
	case over == nil:
		w.violate("one answer each", "%v is settled and not over", c)
		return
	case len(c.told) != 1 || !errors.Is(c.told[0], over):
		w.violate("a holder hears", "%v is over for %v, and was told %v", c, over, c.told)
	case c.unregistered == 0:
		w.violate("no leak", "%v is over, and registered with its context", c)
	case errors.Is(over, actor.ErrLost) != errors.Is(settled, actor.ErrLost) && settled != nil && !errors.Is(settled, actor.ErrLost):
		w.violate("errors tell the truth", "%v was over for %v, and settled with %v", c, over, settled)
	case errors.Is(over, actor.ErrLost) && settled == nil:
		w.violate("errors tell the truth", "%v was lost, and settled as if it had been released", c)
	case errors.Is(over, actor.ErrKeeperFailed) && !c.p.injected[c.ID]:
		w.violate("a failed keeper is contained", "%v: %v", c, over)
	case errors.Is(over, actor.ErrClosed) && !c.p.closing:
		w.violate("errors tell the truth", "%v: %v", c, over)
	case errors.Is(over, errGaveUp) && len(c.ended) == 0:
		w.violate("errors tell the truth", "%v: %v", c, over)
	}
	if settled == nil {
		w.released = append(w.released, c)
	}
}

// releasedMeansFree: a release that was called a success has freed the lock at the server, or another of the process has
// it. With mu.
func (w *world) releasedMeansFree() {
	for _, c := range w.released {
		lock, l := w.server.lock(c.ID), c.p.links[c.ID]
		// A keeper that fails as it hands the lock on has said so already, and unlocks.
		failed := c.p.injected[c.ID] && l.busy != nil && l.busy.kind == opUnlock
		if lock.owner == c.Session && lock.tenure == c.tenure && !failed && !w.handedOn(c) {
			w.violate("released means free", "%v, and the server has the lock", c)
		}
	}
	w.released = w.released[:0]
}

// handedOn reports whether somebody of the process got the lock after c by the same grant of the server's.
func (w *world) handedOn(c *claim) bool {
	for _, claims := range [][]*claim{w.open, w.past} {
		for _, other := range claims {
			if other != c && other.p == c.p && other.ID == c.ID && other.Local && other.tenure == c.tenure {
				return true
			}
		}
	}
	return false
}
