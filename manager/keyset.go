package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// KeySet is a set of keys whose ids have been computed. It is valid as long as its manager.
type KeySet struct {
	m   *Manager
	all []Key // by id; one for each, so that a name with two ids is there twice
}

// Keys makes a set of keys. A name that comes twice is one, and so are two names with one id: their locks are one at the server.
func (m *Manager) Keys(names ...string) KeySet {
	set := KeySet{m: m, all: make([]Key, 0, len(names))}
	for _, name := range names {
		set.all = m.Key(name).single(set.all)
	}
	slices.SortStableFunc(set.all, func(a, b Key) int { return cmp.Compare(a.id, b.id) })
	set.all = slices.CompactFunc(set.all, func(a, b Key) bool { return a.id == b.id })
	return set
}

// Names are the names of the keys, in the order of their ids, without those that were folded.
func (s KeySet) Names() []string {
	names, seen := make([]string, 0, len(s.all)), make(map[string]bool, len(s.all))
	for _, k := range s.all {
		if !seen[k.name] {
			seen[k.name], names = true, append(names, k.name)
		}
	}
	return names
}

// AcquireAll takes the locks of all keys, or of none: see [KeySet.Acquire].
func (m *Manager) AcquireAll(ctx context.Context, keys ...string) (*LockSet, error) {
	return m.Keys(keys...).Acquire(ctx)
}

// Acquire takes the locks of all keys of the set, waiting for as long as somebody else holds one of them. ctx bounds the wait and the
// hold. Where all are free it takes about one round trip. Else what was taken is given back while the first that is held is waited
// for. A caller who still meets others after that takes the locks in the order of their ids, waiting for each: so that it is served at
// last, and callers of AcquireAll never wait for each other in a circle. Those who hold one lock while they wait for another by Acquire may:
// one of the circle gets [ErrDeadlock].
//
// The options are those of Acquire but [WithDedicatedSession]. The error is an [*AcquireError] of the key that could not be had.
func (s KeySet) Acquire(ctx context.Context, opts ...AcquireOption) (*LockSet, error) {
	return s.acquire(ctx, false, opts)
}

// TryAcquire takes the locks of all keys if all are free, else [ErrNotAcquired] says that one was not.
func (s KeySet) TryAcquire(ctx context.Context, opts ...AcquireOption) (*LockSet, error) {
	return s.acquire(ctx, true, opts)
}

// otherHold is how locks other than the lead are held: nothing but the set releases them, after the lead's hold has ended. Close ends
// that hold, and the set releases the others then.
const otherHold = actor.HoldForWork

// gathering is one acquisition of a set. All of it runs on the caller's goroutine.
type gathering struct {
	keys    KeySet
	set     *LockSet
	ctx     context.Context //nolint:containedctx // of an acquisition, as in Lock
	opts    []AcquireOption
	terms   actor.Terms // of the lead, and of the others but for their hold
	round   int         // of the attempts to take all: see run
	minHold time.Duration
	by      time.Time     // when WithWaitTimeout is over; zero if never
	over    chan struct{} // closed by a timer when that is; received by the caller; nothing is sent
	begun   time.Time
	lead    *Lock
	others  []*actor.Claim // that were granted
	asked   []*actor.Claim // that have not been decided, or whose decision was not received
}

func (s KeySet) acquire(ctx context.Context, try bool, opts []AcquireOption) (*LockSet, error) {
	o := collect(opts)
	if err := s.check(ctx, &o); err != nil {
		return nil, err
	}
	g := &gathering{keys: s, ctx: ctx, opts: opts, terms: actor.Terms{Try: try || o.bounded && o.waitTimeout == 0}}
	observed := s.m.observing.begin(ctx, Acquisition{Key: s.all[0].name, ID: s.all[0].id, Keys: len(s.all)})
	set, err := g.start(&o)
	if err != nil {
		s.m.observing.finish(observed, nil, err)
		return nil, err
	}
	s.m.observing.finish(observed, set.lead.Load(), nil)
	return set, nil
}

// start takes all locks, or none.
func (g *gathering) start(o *acquireOptions) (*LockSet, error) {
	g.minHold, g.begun = o.minHold, time.Now()
	if o.waitTimeout > 0 {
		g.by, g.over = g.begun.Add(o.waitTimeout), make(chan struct{})
		defer time.AfterFunc(o.waitTimeout, func() { close(g.over) }).Stop()
	}
	returned := false
	defer func() {
		if !returned { // a method of the context panicked, or ended the goroutine
			g.abandon()
		}
	}()
	set, err := g.run(o)
	returned = true
	return set, err
}

// lastRound and all after it take the locks in order.
const lastRound = 2

// run tries all first; then, while it holds the one that it waited for, all the others; then it takes each in order.
func (g *gathering) run(o *acquireOptions) (*LockSet, error) {
	s, try := g.keys, g.terms.Try
	for first := 0; ; g.round++ {
		g.set = &LockSet{keys: s}
		var err error
		refused := -1
		switch g.round {
		case 0:
			refused, err = g.gather(0, true)
		case 1:
			refused, err = g.gather(first, false)
		default:
			err = g.wholeStory(g.inOrder())
		}
		if err == nil && refused < 0 {
			if err = g.complete(); err == nil {
				err = g.draw(o)
			}
			if err == nil {
				return g.set, nil
			}
		}
		g.releaseAll()
		switch {
		case reasonOf(err) == errLostMeanwhile && !try: //nolint:errorlint // that very value: the cause of the context may be another's
		case refused < 0:
			return nil, err
		case try:
			if o.bounded && o.waitTimeout == 0 {
				err = s.all[refused].refused(ErrWaitTimeout, time.Since(g.begun))
			}
			return nil, err
		default:
			first = refused
		}
	}
}

func (s KeySet) check(ctx context.Context, o *acquireOptions) error {
	switch {
	case ctx == nil:
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	case len(s.all) == 0:
		return errors.New("lockkeeper: the set of keys is empty")
	case o.dedicated:
		return errors.New("lockkeeper: WithDedicatedSession is not for a set of keys")
	}
	outer, _ := ctx.Value(heldKey{}).(*Lock)
	for _, k := range s.all {
		switch {
		case k.name == "":
			return k.refused(ErrEmptyKey, 0)
		case outer.holds(k):
			return k.refused(ErrHeld, 0)
		}
	}
	return nil
}

// gather takes the lock of one key, which is to be the lead, trying or waiting, and tries all others. refused is the first key that
// somebody else holds, -1 if none, or if err says that there is no sense in waiting.
func (g *gathering) gather(lead int, try bool) (refused int, err error) {
	all := g.keys.all
	if g.ctx.Err() != nil { // nothing is asked of the server then
		return -1, all[lead].refused(contextReason(g.ctx), time.Since(g.begun))
	}
	if !try { // the others are tried when it is held
		if err = g.takeLead(all[lead], false); err != nil {
			return -1, err
		}
	}
	claims, unsent := make([]*actor.Claim, len(all)), make([]error, len(all))
	for i := range all {
		if i != lead {
			if claims[i], unsent[i] = g.submit(all[i]); unsent[i] == nil {
				g.asked = append(g.asked, claims[i])
			}
		}
	}
	if try {
		err = g.takeLead(all[lead], true)
	}
	refused = -1
	if err != nil && passing(err) {
		refused = lead
	}
	for i, c := range claims {
		if c == nil {
			continue
		}
		failed := unsent[i]
		if failed == nil {
			failed = g.decided(c)
		}
		if failed == nil {
			continue
		}
		worse := err == nil || refused >= 0 && (!passing(failed) || i < refused)
		if !worse {
			continue
		}
		err = g.keys.m.failure(all[i], c, failed, time.Since(g.begun))
		if refused = i; !passing(failed) {
			refused = -1
		}
	}
	return refused, err
}

// passing reports whether a try that was refused may be followed by a wait.
func passing(err error) bool {
	return errors.Is(err, ErrNotAcquired) && !errors.Is(err, ErrHeld) || errors.Is(err, ErrAttempts)
}

// inOrder takes all locks in the order of their ids, waiting for each.
func (g *gathering) inOrder() error {
	for i, k := range g.keys.all {
		if i == 0 {
			if err := g.takeLead(k, g.terms.Try); err != nil {
				return err
			}
			continue
		}
		t := g.terms
		t.Owner, t.Hold = (*setOwner)(g.set), otherHold
		before := append([]*actor.Claim{&g.lead.claim}, g.others...)
		lock, err := g.acquire(k, t, func(o *acquireOptions) { o.detach, o.dedicated, o.before = true, false, before })
		if err != nil {
			return err
		}
		g.others = append(g.others, &lock.claim)
	}
	return nil
}

// wholeStory adds to the error of one lock what happened on the way to it.
func (g *gathering) wholeStory(err error) error {
	var e *AcquireError
	if !errors.As(err, &e) {
		return err
	}
	e.Waited = time.Since(g.begun)
	if g.lead != nil {
		for _, c := range append([]*actor.Claim{&g.lead.claim}, g.others...) {
			e.Attempts += c.Attempts
			e.Failures = append(slices.Clip(c.Failures), e.Failures...)
		}
	}
	return err
}

func (g *gathering) takeLead(k Key, try bool) (err error) {
	t := g.terms
	t.Try = try
	g.lead, err = g.acquire(k, t, func(o *acquireOptions) { o.set = g.set })
	return err
}

// acquire takes one lock within what is left of the time.
func (g *gathering) acquire(k Key, t actor.Terms, more AcquireOption) (*Lock, error) {
	opts := append(slices.Clip(g.opts), more)
	if !g.by.IsZero() {
		left := time.Until(g.by)
		if left <= 0 {
			return nil, k.refused(ErrWaitTimeout, time.Since(g.begun))
		}
		opts = append(opts, WithWaitTimeout(left))
	}
	return k.m.acquire(g.ctx, k, t, opts)
}

// submit tries a lock without waiting for the answer, which is for decided.
func (g *gathering) submit(k Key) (*actor.Claim, error) {
	c := &actor.Claim{Terms: actor.Terms{Name: k.name, ID: k.id, Try: true, Hold: otherHold, MinHold: g.minHold, MaxAttempts: 1, Owner: (*setOwner)(g.set)}}
	return c, k.m.supervisor.Submit(c)
}

// decided waits for the keeper's decision, which comes at the latest when the context or the time has ended.
func (g *gathering) decided(c *actor.Claim) error {
	err := decision(g.ctx, g.over, c)
	g.asked = g.asked[1:] // they are received in the order in which they were asked
	if err == nil {
		g.others = append(g.others, c)
	}
	return err
}

// errLostMeanwhile: a lock was lost while others were waited for.
var errLostMeanwhile = fmt.Errorf("%w: one of the set, before all were held", ErrLost)

// complete makes the set of what is held. From then on the loss of one is the loss of all.
func (g *gathering) complete() error {
	slices.SortFunc(g.others, func(a, b *actor.Claim) int { return cmp.Compare(a.ID, b.ID) })
	g.set.others = g.others
	g.set.lead.Store(g.lead)
	switch {
	case g.ctx.Err() != nil:
		return g.keys.all[0].refused(contextReason(g.ctx), time.Since(g.begun))
	case g.set.loss.Load() != nil || g.lead.Err() != nil:
		return g.keys.all[0].refused(errLostMeanwhile, time.Since(g.begun))
	}
	return nil
}

// draw draws the token of the set, where it has one.
func (g *gathering) draw(o *acquireOptions) error {
	if !g.keys.m.fences(o) {
		return nil
	}
	f := &fence{}
	for _, k := range g.keys.all {
		f.ids = append(f.ids, k.id)
	}
	once := o.bounded && o.waitTimeout == 0
	if err := g.lead.draw(g.ctx, f, g.by, g.terms.Try || once); err != nil {
		if once && errors.Is(err, ErrNotAcquired) {
			err = fmt.Errorf("%w: %w", ErrWaitTimeout, errGuarded)
		}
		return g.keys.all[0].refused(err, time.Since(g.begun))
	}
	g.set.fence.Store(f)
	if g.lead.endedCleanly() && g.set.loss.Load() == nil { // before holdEnds could see that there is a token
		g.lead.markEnded()
	}
	return nil
}

// abandon gives up what was asked for, and releases what is held: nobody would do so later.
func (g *gathering) abandon() {
	for _, c := range g.asked {
		c.Abandon(context.Canceled)
	}
	g.releaseAll()
}

// releaseAll releases all that is held, without waiting for the outcome. The lead is last: a method of its context may panic.
func (g *gathering) releaseAll() {
	for _, c := range g.others {
		c.ReleaseUnused()
	}
	lead := g.lead
	g.lead, g.others = nil, nil
	if lead != nil {
		lead.releaseLater()
	}
}
