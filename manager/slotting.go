package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// slotting is one acquisition of a slot. All of it runs on the caller's goroutine.
//
// A holder of one of n > 1 slots holds these locks, of which all but the last are shared, so that they are one at the server for all
// holders of a process: the key's own, by which n = 1 excludes; one that says that the key has slots; one that says how many; and the slot's.
// They are taken while holding the gate, an exclusive lock: so callers have an order, and one at a time compares its n with the others'. Where
// somebody has the lock that says that there are slots, somebody must have the one for this n. This holds for the next, too,
// since whoever was let in before had the same n.
type slotting struct {
	m       *Manager
	key     Key
	n       int
	ctx     context.Context //nolint:containedctx // of an acquisition, as in Lock
	terms   actor.Terms
	opts    []AcquireOption
	options acquireOptions
	begun   time.Time
	by      time.Time     // when WithWaitTimeout is over; zero if never
	once    bool          // it is 0, and the call is not a try by itself
	over    chan struct{} // closed by a timer when that is; received by the caller; nothing is sent

	attempts int     // of all rounds so far
	failures []error // likewise
	retried  bool    // what the round waits for retries by itself: its failure is final

	set    *LockSet
	gate   *Lock
	lead   *Lock
	others []*actor.Claim // that were granted
	asked  []*actor.Claim // that have not been decided, or whose decision was not received
}

const (
	// gatePatience is how long a try waits for those who are about to take a slot before it.
	gatePatience = 100 * time.Millisecond
	// What would be an error is looked at again after pauses that double, a third of a second in all.
	confirmSoonest = 5 * time.Millisecond
	confirmLatest  = 160 * time.Millisecond
)

// acquireAll acquires all the locks, and returns the number of the slot.
func (s *slotting) acquireAll() (number int, err error) {
	if s.n == 1 {
		return 0, s.takeOnly()
	}
	if err := s.passGate(); err != nil {
		return 0, err
	}
	if err := s.compare(); err != nil {
		return 0, err
	}
	number, found, err := s.tryAny()
	if err == nil && !found {
		if s.terms.Try {
			return 0, ErrNotAcquired
		}
		number, err = s.await()
	}
	return number, err
}

// takeOnly takes the key's exclusive lock, unless it is held by those who have slots of it.
func (s *slotting) takeOnly() (err error) {
	t := s.terms
	t.Try = true
	if err = s.takeLead(t, s.rest()...); !errors.Is(err, ErrNotAcquired) {
		return err
	}
	switch several, failed := s.confirmed(func() (bool, error) { return s.isHeld(s.anyKey()) }); {
	case failed != nil:
		return failed
	case several:
		return fmt.Errorf("%w: somebody holds one of several slots", ErrSlots)
	case s.terms.Try:
		return err
	}
	s.retried = true
	return s.takeLead(s.terms, s.rest()...)
}

// takeLead takes the lock of the key. Of two ids the first is the lead.
func (s *slotting) takeLead(t actor.Terms, more ...AcquireOption) (err error) {
	ids := s.key.single(nil)
	opts := append(more, func(o *acquireOptions) { o.set, o.detach, o.retry = s.set, s.options.detach, s.options.retry })
	if s.lead, err = s.m.acquire(s.ctx, ids[0], t, opts); err != nil || len(ids) == 1 {
		return err
	}
	t.Owner, t.Hold = (*setOwner)(s.set), otherHold
	opts = append(append(opts, func(o *acquireOptions) { o.set, o.detach = nil, true }), s.rest()...)
	second, err := s.m.acquire(s.ctx, ids[1], t, opts)
	if err != nil {
		s.lead.releaseLater()
		s.lead = nil
		return err
	}
	s.others = append(s.others, &second.claim)
	return nil
}

// rest is the option that bounds a wait by what is left of the time.
func (s *slotting) rest() []AcquireOption {
	if s.by.IsZero() {
		return nil
	}
	return []AcquireOption{WithWaitTimeout(max(time.Until(s.by), 1))}
}

// passGate acquires the gate. A try asks once, for as long as the server takes to answer, before it waits.
func (s *slotting) passGate() (err error) {
	bound := s.rest()
	retry := func(o *acquireOptions) { o.retry = s.options.retry }
	if s.terms.Try {
		if s.gate, err = s.m.acquire(s.ctx, s.gateKey(), s.terms, []AcquireOption{retry}); reasonOf(err) != ErrNotAcquired { //nolint:errorlint // that very value
			return err
		}
		bound = []AcquireOption{WithWaitTimeout(gatePatience)}
	}
	s.gate, err = s.m.acquire(s.ctx, s.gateKey(), actor.Terms{}, append(bound, retry))
	if s.terms.Try && reasonOf(err) == ErrWaitTimeout { //nolint:errorlint // that very value: the cause of the context may be another's
		return ErrNotAcquired
	}
	s.retried = err != nil
	return err
}

// compare looks whether others have the same number of slots, and takes the shared locks.
func (s *slotting) compare() error {
	differs, err := s.confirmed(func() (bool, error) {
		several, err := s.isHeld(s.anyKey())
		if err != nil || !several {
			return false, err
		}
		same, err := s.isHeld(s.countKey())
		return !same, err
	})
	switch {
	case err != nil:
		return err
	case differs:
		return fmt.Errorf("%w: somebody uses another number than %d", ErrSlots, s.n)
	}
	shared := s.terms
	shared.Shared, shared.Try = true, true
	if err = s.takeLead(shared, s.rest()...); errors.Is(err, ErrNotAcquired) {
		return fmt.Errorf("%w: somebody holds the key exclusively, as its only slot, or waits for that", ErrSlots)
	}
	if err != nil {
		return err
	}
	several, err := s.submit(s.anyKey(), shared)
	if err != nil {
		return err
	}
	count, err := s.submit(s.countKey(), shared)
	if err != nil {
		return err
	}
	granted, err := s.allDecided(append(several, count...))
	if errors.Is(err, ErrNotAcquired) { // somebody who comes for the only slot has looked at this moment
		return errLostMeanwhile
	}
	s.others = append(s.others, granted...)
	return err
}

// confirmed asks until the answer is no, or has been yes for long enough: who is about to release, or only looks as this does, has done so by
// then, and nobody else is let in meanwhile.
func (s *slotting) confirmed(ask func() (bool, error)) (bool, error) {
	for pause := confirmSoonest; ; pause *= 2 {
		yes, err := ask()
		if err != nil || !yes || pause > confirmLatest {
			return yes, err
		}
		if err = s.pause(pause); err != nil {
			return false, err
		}
	}
}

// pause waits for d, unless the time or the context ends.
func (s *slotting) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.over:
		return ErrWaitTimeout
	case <-s.ctx.Done():
		return contextReason(s.ctx)
	}
}

// isHeld reports whether somebody holds the lock of a key, here or elsewhere: it takes it for a moment where nobody does.
func (s *slotting) isHeld(k Key) (bool, error) {
	lock, err := s.m.acquire(s.ctx, k, actor.Terms{Try: true}, s.rest())
	if errors.Is(err, ErrNotAcquired) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	returned := false
	defer func() {
		if !returned { // a method of the context panicked, or ended the goroutine
			lock.beginRelease()
		}
	}()
	err = lock.releaseWithin(s.ctx, s.over) // where it fails the server releases the lock later
	switch {
	case err == nil:
	case s.ctx.Err() != nil:
		err = contextReason(s.ctx)
	case isClosed(s.over):
		err = ErrWaitTimeout
	default:
		c := &actor.Claim{Attempts: lock.claim.Attempts, Failures: append(slices.Clip(lock.claim.Failures), err)}
		err = s.m.failure(k, c, ErrAttempts, 0)
	}
	returned = true
	return false, err
}

// submit asks for one of the other locks, for each of its ids. The decision is for allDecided, or for await.
func (s *slotting) submit(k Key, t actor.Terms) (claims []*actor.Claim, err error) {
	t.Name, t.Owner, t.MaxAttempts, t.Hold = k.name, (*setOwner)(s.set), 1, otherHold
	for _, one := range k.single(nil) {
		t.ID = one.id
		c := &actor.Claim{Terms: t}
		if err = s.m.supervisor.Submit(c); err != nil {
			s.withdraw(claims...)
			return nil, err
		}
		s.asked, claims = append(s.asked, c), append(claims, c)
	}
	return claims, nil
}

// allDecided waits for the decisions of tries: all are granted, or what was granted of them is released.
func (s *slotting) allDecided(claims []*actor.Claim) (granted []*actor.Claim, err error) {
	for _, c := range claims {
		if failed := s.decided(c); failed != nil && (err == nil || !errors.Is(failed, ErrNotAcquired)) {
			err = failed
		}
	}
	s.removeAsked(claims...)
	if err == nil {
		return claims, nil
	}
	for _, c := range claims {
		if c.Err == nil {
			c.ReleaseLater()
		}
	}
	return nil, err
}

// decided waits for the decision of a try, which comes at the latest when the context or the time has ended.
func (s *slotting) decided(c *actor.Claim) error {
	_ = decision(s.ctx, s.over, c)
	return s.refusal(c)
}

// refusal is why a claim was refused; nil if it was granted.
func (s *slotting) refusal(c *actor.Claim) error {
	if c.Err == nil || c.Err == ErrNotAcquired { //nolint:errorlint // that very value; others have more to say
		return c.Err
	}
	return s.m.failure(s.key, c, c.Err, time.Since(s.begun))
}

// removeAsked takes claims off those that were asked for: they are refused, or their locks are somebody's to release.
func (s *slotting) removeAsked(claims ...*actor.Claim) {
	s.asked = slices.DeleteFunc(s.asked, func(c *actor.Claim) bool { return slices.Contains(claims, c) })
}

// withdraw gives claims up. What they were granted all the same is released.
func (s *slotting) withdraw(claims ...*actor.Claim) {
	for _, c := range claims {
		c.Abandon(errTaken)
	}
	s.removeAsked(claims...)
}

// errTaken is why claims are withdrawn when another has been granted.
var errTaken = errors.New("another slot was free")

// complete makes the hold of what is held. From then on the loss of one is the loss of all.
func (s *slotting) complete() error {
	s.set.others = s.others
	s.set.lead.Store(s.lead)
	switch {
	case s.ctx.Err() != nil:
		return contextReason(s.ctx)
	case s.set.loss.Load() != nil, s.lead.Err() != nil, s.gate != nil && s.gate.Err() != nil:
		return errLostMeanwhile
	}
	return nil
}

// leaveGate releases the gate, without waiting for the outcome.
func (s *slotting) leaveGate() {
	if s.gate != nil {
		s.gate.releaseLater()
	}
	s.gate = nil
}

// releaseAll gives up what was asked for, and releases all that is held, without waiting for the outcome. What touches the context comes last: its
// methods may panic.
func (s *slotting) releaseAll() {
	s.withdraw(slices.Clone(s.asked)...)
	for _, c := range s.others {
		c.ReleaseLater()
	}
	held := slices.DeleteFunc([]*Lock{s.lead, s.gate}, func(l *Lock) bool { return l == nil })
	s.lead, s.gate, s.others = nil, nil, nil
	for _, l := range held {
		l.beginRelease()
	}
	for _, l := range held {
		l.unregister()
	}
}
