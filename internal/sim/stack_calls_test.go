package sim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/manager"
	"github.com/lockkeeper/lockkeeper/pg"
)

// shortBackoff makes the pauses of one acquisition. They differ a little from those of all others, so that no two keepers
// wake at one instant: who of them acts first would be the scheduler's choice, and not the history's.
func (w *stack) shortBackoff() backoff.BackOff {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.backoffs++
	return &ownSteps{step: 10*time.Millisecond + time.Duration(w.backoffs)*7*time.Microsecond}
}

// ownSteps pauses for one step, two steps and so on.
type ownSteps struct {
	step time.Duration
	n    int
}

func (s *ownSteps) NextBackOff() time.Duration { s.n++; return time.Duration(s.n) * s.step }
func (s *ownSteps) Reset()                     { s.n = 0 }

// call is one Acquire, and the hold that came of it.
type call struct {
	w         *stack
	p         *program
	n         int
	key       string
	id        int64
	try       bool
	shared    bool
	detach    bool
	timeout   time.Duration
	began     time.Time
	cancelled time.Time
	ctx       context.Context
	cancel    context.CancelFunc
	done      chan struct{}
	lock      *manager.Lock
	err       error

	hold  context.Context // the lock's, where its holder looks at it
	watch bool
	wire  *wire // that the lock is on, where that is known
	work  *work // of a call of Do

	badBackoff bool // was asked, and fails
	returned   bool // and looked at
	released   int  // how many calls of Release there were,
	underWay   int  // and are,
	ownWay     int  // of those with the context of the Acquire
	releases   chan release
	outcomes   []error
}

func (k *call) String() string {
	return fmt.Sprintf("%s call %d of %v for %s", modeName(k.shared), k.n, k.p, k.key)
}

// holds reports whether the holder believes to hold the lock.
func (k *call) holds() bool {
	return k.work == nil && k.returned && k.err == nil && k.lock.Err() == nil
}

// watches reports whether the holder has a context of the hold's that has not ended.
func (k *call) watches() bool {
	if k.hold == nil {
		return false
	}
	select {
	case <-k.lock.Done():
		return false
	default:
		return true
	}
}

func (w *stack) acquire() {
	i := w.src.Pick(len(w.programs))
	if w.programs[i].isClosed() && !w.src.Chance(4) { // else: too late
		w.restart(i)
	}
	p := w.programs[i]
	key := w.keys[w.src.Pick(len(w.keys))]
	k := w.newCall(p, key)
	k.shared = w.src.Chance(2)
	if w.src.Chance(3) {
		w.share(k)
	}
	if w.src.Chance(4) {
		k.work = &work{finish: make(chan struct{}), stubborn: w.src.Chance(2), ending: workEnding(w.src.Pick(4))}
	}
	k.try = k.work == nil && w.src.Chance(5)
	var opts []manager.AcquireOption
	dedicated := w.src.Chance(6)
	if dedicated {
		opts = append(opts, manager.WithDedicatedSession())
	}
	if k.detach = w.src.Chance(8); k.detach {
		opts = append(opts, manager.WithDetachedHold())
	}
	k.watch = w.src.Chance(2)
	if w.src.Chance(6) {
		k.timeout = []time.Duration{30 * time.Millisecond, 400 * time.Millisecond}[w.src.Pick(2)] + time.Duration(k.n)*3*time.Microsecond
		opts = append(opts, manager.WithWaitTimeout(k.timeout))
	}
	switch w.src.Pick(12) {
	case 10:
		opts = append(opts, manager.WithRetryPolicy(manager.RetryPolicy{Attempts: 2, PollFirst: true, Backoff: w.shortBackoff}))
	case 11:
		opts = append(opts, manager.WithRetryPolicy(manager.RetryPolicy{Attempts: 2, Backoff: w.badBackoff(k)}))
	}
	w.say("%v: try %v, work %v, dedicated %v, detached %v, timeout %v", k, k.try, k.work != nil, dedicated, k.detach, k.timeout)
	k.start(opts...)
}

func (w *stack) newCall(p *program, key string) *call {
	k := &call{w: w, p: p, n: len(w.calls) + 1, key: key, id: p.m.Key(key).ID(), done: make(chan struct{}),
		releases: make(chan release, 8)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	if k.n%2 == 0 {
		k.ctx = &userContext{Context: k.ctx}
	}
	return k
}

// share gives the call the context of an earlier one, whose end is then that of both.
func (w *stack) share(k *call) {
	var alive []*call
	for _, other := range w.calls {
		if other.ctx.Err() == nil {
			alive = append(alive, other)
		}
	}
	if len(alive) > 0 {
		other := alive[len(alive)-1-w.src.Pick(min(len(alive), 20))]
		w.seen.add("context shared")
		w.say("%v comes with the context of %v", k, other)
		k.cancel()
		k.ctx, k.cancel = other.ctx, other.cancel
	}
}

func (k *call) start(opts ...manager.AcquireOption) {
	k.w.mu.Lock()
	k.w.calls = append(k.w.calls, k)
	k.w.mu.Unlock()
	k.began = time.Now()
	go func() {
		defer close(k.done)
		switch {
		case k.work != nil:
			k.do(opts)
		case k.try && k.shared:
			k.lock, k.err = k.p.m.TryAcquireShared(k.ctx, k.key, opts...)
		case k.try:
			k.lock, k.err = k.p.m.TryAcquire(k.ctx, k.key, opts...)
		case k.shared:
			k.lock, k.err = k.p.m.AcquireShared(k.ctx, k.key, opts...)
		default:
			k.lock, k.err = k.p.m.Acquire(k.ctx, k.key, opts...)
		}
		if k.lock != nil {
			k.w.mu.Lock()
			defer k.w.mu.Unlock()
			k.locate()
		}
	}()
}

func (w *stack) cancelSome() {
	var alive []*call
	for _, k := range w.calls {
		if k.ctx.Err() == nil && (!k.returned || k.err == nil && k.work == nil && k.released == 0 || k.ownWay > 0) {
			alive = append(alive, k)
		}
	}
	if len(alive) > 0 {
		k := alive[len(alive)-1-w.src.Pick(min(len(alive), 200))]
		w.say("cancel %v", k)
		for _, other := range w.calls {
			if other.ctx == k.ctx {
				other.cancelled = time.Now()
			}
		}
		k.cancel()
	}
}

// look checks the rules after each step. With mu.
func (w *stack) look() {
	for _, k := range w.calls {
		if !k.returned {
			select {
			case <-k.done:
				k.returned = true
				k.returnedRightly()
			default:
				k.waitsRightly()
			}
		}
		k.worksRightly()
		k.outcomesOf()
		if k.ownWay > 0 && k.ctx.Err() != nil && time.Since(k.cancelled) > stackSlack {
			w.violate("every call returns", "%v is being released, with a context that has ended", k)
		}
	}
	for _, rule := range w.rules {
		rule()
	}
	w.onlyOneHolds()
	w.registeredRightly()
	w.noMoreThanAllowed()
	for _, p := range w.all {
		for id, c := range p.excused {
			if c.told() { // whoever held by it has heard by now
				delete(p.excused, id)
			}
		}
	}
}

func (w *stack) noMoreThanAllowed() {
	for _, p := range w.all {
		open := 0
		for _, c := range w.wires {
			if c.p == p && !c.closed && !c.goodbye { // one that is ending makes room
				open++
			}
		}
		if open > stackSessions {
			w.violate("no more connections than allowed", "%v has %d", p, open)
		}
	}
}

func (w *stack) onlyOneHolds() {
	holders := map[string]*call{}
	for _, k := range w.calls {
		k.hearsRightly()
		works := k.works() && !k.sessionGone()
		if !k.holds() && !works {
			continue
		}
		switch {
		case k.released > 0:
			w.violate("a release ends the hold", "%v", k)
		case k.ctx.Err() != nil && !k.detach && !works:
			w.violate("every call returns", "%v holds on although its context has ended", k)
		case k.p.closing && !works:
			w.violate("Close ends every hold", "%v", k)
		}
		if k.wire != nil && !k.wire.trusted() {
			w.violate("no silent loss", "%v holds on, and nothing was heard of %v for longer than that is trusted", k, k.wire)
		}
		where := fmt.Sprint(k.p.n, k.key)
		if other := holders[where]; other != nil && !(other.shared && k.shared) {
			w.violate("exclusion", "%v and %v hold at one time", other, k)
		}
		holders[where] = k
		l := w.lock(k.id)
		if c := k.p.excused[k.id]; (l.of(k.p) == nil || l.shared != k.shared) && (c == nil || c.told()) {
			w.violate("exclusion", "%v holds, and the server does not have its lock", k)
		}
	}
}

// hearsRightly: the context of a hold ends with it, and says why.
func (k *call) hearsRightly() {
	if k.wire != nil && k.wire.told() && k.watches() {
		k.w.violate("a holder hears", "%v was not told that %v is gone", k, k.wire)
	}
	if k.hold == nil || k.watches() {
		return
	}
	err, cause := k.lock.Err(), context.Cause(k.hold)
	k.w.seen.add("told: " + outcome(cause))
	switch {
	case err == nil:
		k.w.violate("a holder hears", "%v: the context of its hold has ended for %v, and it holds", k, cause)
	case errors.Is(cause, manager.ErrReleased) && k.released == 0, errors.Is(cause, manager.ErrClosed) && !k.p.closing,
		errors.Is(cause, manager.ErrKeeperFailed) && !k.keeperFailed():
		k.w.violate("errors tell the truth", "the hold of %v has ended for %v", k, cause)
	}
	k.hold = nil
}

func (k *call) waitsRightly() {
	late := func(since time.Time) bool { return time.Now().After(since.Add(stackSlack)) }
	switch {
	case k.work != nil && k.work.begun:
		// Its function decides when it returns; then the release is bounded.
	case k.ctx.Err() != nil && late(k.cancelled):
		k.w.violate("every call returns", "%v has not, and its context has ended", k)
	case k.timeout > 0 && late(k.began.Add(k.timeout)):
		k.w.violate("every call returns", "%v has not, and its time is over", k)
	case k.badBackoff:
		k.w.violate("every call returns", "%v has not, and its backoff has failed", k)
	case k.p.closing && late(k.p.closingAt):
		k.w.violate("every call returns", "%v has not, and its manager is closed", k)
	}
}

func (k *call) returnedRightly() {
	w := k.w
	if k.work != nil && k.work.begun {
		k.worksRightly()
		k.workedRightly()
		return
	}
	if k.err == nil {
		w.say("          %v is granted", k)
		k.grantedRightly()
		if k.watch {
			k.hold = k.lock.Context()
		}
		return
	}
	k.refusedRightly()
}

// locate notes on which connection the lock is that was granted just now. With mu.
func (k *call) locate() {
	k.wire = k.w.lock(k.id).of(k.p).orLater(k.id, k.p.excused[k.id]) // whose session ended while the answer was on its way
}

func (k *call) grantedRightly() {
	w := k.w
	w.seen.add("granted, " + modeName(k.shared))
	for _, before := range w.calls {
		if before == k {
			break
		}
		if before.p == k.p && before.key == k.key && !before.returned && before.waits() && (before.work == nil || !before.work.begun) {
			w.violate("first come, first served", "%v was granted before %v", k, before)
		}
	}
}

func (k *call) refusedRightly() {
	w := k.w
	w.seen.add("refused: " + outcome(k.err))
	w.say("          %v: %v", k, k.err)
	var right bool
	var e *manager.AcquireError
	if !errors.As(k.err, &e) {
		w.violate("errors tell the truth", "%v: %v", k, k.err)
		return
	}
	switch {
	case strings.Contains(fmt.Sprintf("%v %+v %#v", k.err, k.err, e.Failures), stackSecret):
	case errors.Is(k.err, context.Canceled) && k.ctx.Err() != nil:
		right = true
	case errors.Is(k.err, manager.ErrWaitTimeout):
		right = k.timeout > 0 && !time.Now().Before(k.began.Add(k.timeout))
	case errors.Is(k.err, manager.ErrNotAcquired):
		right = k.try && !slices.ContainsFunc(e.Failures, func(err error) bool { return !pg.Ended(err) }) // else it was not asked again
	case errors.Is(k.err, manager.ErrClosed):
		right = k.p.closing
	case errors.Is(k.err, manager.ErrKeeperFailed):
		right = k.keeperFailed()
	case errors.Is(k.err, manager.ErrAttempts):
		right = len(e.Failures) > 0
	case strings.Contains(k.err.Error(), "RetryPolicy.Backoff"):
		right = k.badBackoff
		w.seen.add("refused: bad backoff")
	}
	if !right {
		w.violate("errors tell the truth", "%v: %v", k, k.err)
	}
	if slices.ContainsFunc(e.Failures, func(err error) bool { return strings.Contains(err.Error(), noLanguage) && !pg.Ended(err) }) {
		w.violate("a server without PL/pgSQL will do", "%v: %v", k, k.err)
	}
}

func (k *call) waits() bool {
	select {
	case <-k.done:
		return false
	default:
		return k.ctx.Err() == nil
	}
}

// outcomesOf takes what calls of Release have returned.
