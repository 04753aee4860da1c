package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// lookEvery is how often a holder looks whether it still holds.
	lookEvery = 5 * time.Millisecond
	// recordLooks is how often one of these looks is recorded, in nanoseconds.
	recordLooks = int64(20 * time.Millisecond)
	// afterFailure keeps a failing load from spinning.
	afterFailure = 20 * time.Millisecond
	// releaseBound is far more than a release needs.
	releaseBound = 30 * time.Second
	// longHold is the longest hold of one holder in longOnes, so that every fault meets holders.
	longHold, longOnes = 1500 * time.Millisecond, 25
)

// wait is one acquisition that can be cancelled while it waits.
type wait struct {
	e      *entry
	since  time.Time
	cancel context.CancelFunc
	hit    atomic.Bool
}

// arm returns the context of an acquisition that storm can cancel.
func (p *player) arm(parent context.Context, e *entry) (context.Context, *wait) {
	ctx, cancel := context.WithCancel(parent)
	w := &wait{e: e, since: time.Now(), cancel: cancel}
	p.rearm(w)
	return ctx, w
}

func (p *player) rearm(w *wait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[w] = struct{}{}
}

// disarm reports whether the wait was not cancelled. From now on storm does not cancel it.
func (p *player) disarm(w *wait) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, w)
	return !w.hit.Load()
}

// storm cancels all waits.
func (p *player) storm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiting {
		w.hit.Store(true)
		w.cancel()
	}
}

// user is one goroutine of the load. What it does follows from the seed.
type user struct {
	*player
	*rand.Rand
}

// play takes locks until stopping ends, and returns when all goroutines have.
func (p *player) play(stopping context.Context) {
	var all sync.WaitGroup
	for i := range p.job.Workers {
		u := user{p, rand.New(rand.NewPCG(p.job.Seed, history.NewHandle(p.job.Process, p.job.Generation, uint64(i))))}
		all.Go(func() {
			for stopping.Err() == nil {
				if !u.turn() {
					_ = interrupt.Sleep(stopping, afterFailure)
				}
			}
		})
	}
	all.Wait()
}

// turn takes a lock of a kind chosen at random, from the request to the end of the hold. It is false where that failed. Another
// kind of lock is another case here, and another line in plan.Uses.
func (u user) turn() bool {
	uses := u.job.Uses
	use := uses[u.IntN(len(uses))]
	if uses[0] == plan.Exclusive && u.IntN(2) == 0 {
		use = plan.Exclusive
	}
	e := &entry{r: u.history, use: use, keys: []int{u.IntN(u.job.Keys)}, room: 1}
	switch use {
	case plan.Sets:
		return u.takeSet(e)
	case plan.Once:
		return u.runOnce(e)
	case plan.Elect:
		return u.campaign(e)
	case plan.Tx, plan.SharedTx:
		return u.transact(e)
	case plan.Slots:
		return u.takeSlot(e)
	case plan.Shared:
		e.room = history.Everyone
	case plan.Nested:
		e.keys[0] = u.IntN(nestedKeys(u.job.Keys))
		e.inside = 1 + u.IntN(2)
	case plan.MinHold:
		e.minHold = time.Duration(1+u.IntN(50)) * time.Millisecond
	case plan.Exclusive:
	}
	return u.takeKey(context.Background(), e)
}

// held is a hold as a user of the library sees it.
type held interface {
	Context() context.Context
	Err() error
	Release(ctx context.Context) error
}

// takeKey makes an acquisition of one key.
func (u user) takeKey(parent context.Context, e *entry) bool {
	var opts []manager.AcquireOption
	call, try, do := u.locks.Acquire, u.locks.TryAcquire, u.locks.Do
	if e.room > 1 {
		call, try, do = u.locks.AcquireShared, u.locks.TryAcquireShared, u.locks.DoShared
	}
	switch {
	case u.IntN(8) == 0:
		e.flags = history.Try
		call = try
	case e.outer != nil: // holders in two processes may wait for each other
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(300))*time.Millisecond))
	case u.IntN(10) == 0:
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(50))*time.Millisecond))
	}
	if u.IntN(20) == 0 {
		opts = append(opts, manager.WithDedicatedSession())
	}
	if e.minHold > 0 {
		opts = append(opts, manager.WithMinHold(e.minHold))
	}
	name := keyName(e.keys[0])
	if e.flags == 0 && u.IntN(8) == 0 {
		return u.run(parent, e, func(ctx context.Context, f func(context.Context) error) error { return do(ctx, name, f, opts...) })
	}
	return u.take(parent, e, func(ctx context.Context) (held, error) { return call(ctx, name, opts...) })
}

// take makes one acquisition, which may be of several keys. It is false where that failed.
func (u user) take(parent context.Context, e *entry, call func(ctx context.Context) (held, error)) bool {
	ctx, w := u.arm(parent, e)
	defer w.cancel()
	e.begin()
	h, err := call(ctx)
	alive := u.disarm(w)
	switch {
	case err == nil && alive:
		if e.granted(h) {
			u.hold(e, h, w.cancel)
		} else {
			_ = release(h)
		}
	case err == nil: // granted and cancelled at the same moment: the hold ends by itself, and nobody believed in it
		e.refused(history.Cancelled)
		_ = release(h)
	default:
		return u.refused(e, err, alive && parent.Err() == nil)
	}
	return true
}

// refused records an acquisition that ended with an error, and reports whether that had to be expected.
func (u user) refused(e *entry, err error, alive bool) bool {
	switch {
	case errors.Is(err, manager.ErrNotAcquired) && u.job.Lie && u.IntN(3) == 0:
		u.pretend(e)
	case errors.Is(err, manager.ErrNotAcquired):
		e.refused(history.Busy)
	case errors.Is(err, manager.ErrDeadlock):
		e.refused(history.Circle)
	case !alive && errors.Is(err, context.Canceled), errors.Is(err, manager.ErrWaitTimeout):
		e.refused(history.Cancelled)
	default:
		e.refused(history.Failed)
		u.count("acquire", err)
		return false
	}
	return true
}

// pretend does what a holder does, without a lock.
func (u user) pretend(e *entry) {
	e.granted(nil)
	if n, err := read(context.Background(), u.table.pool, e.keys[0]); err == nil && e.room == 1 && e.period == 0 {
		looked := now()
		_, stale, outcome := u.table.put(e.keys[0], n+1, func() bool { looked = now(); return true })
		e.wrote(looked, stale, outcome)
	}
	e.letting(now())
	e.let(history.OK, history.NoCause)
}

// hold works, and releases.
func (u user) hold(e *entry, h held, cancel context.CancelFunc) {
	defer e.listen(h.Context())()
	if !u.work(e, h) {
		_ = release(h) // the loss is recorded already
		return
	}
	byCancel := u.IntN(10) == 0
	e.letting(now())
	if byCancel { // this must free the lock too; Release then says what became of it
		cancel()
	}
	err := release(h)
	u.let(e, err, h.Err())
}

// let records the outcome of a release. The end of the hold may know more.
func (u user) let(e *entry, err, end error) {
	outcome, cause := history.OK, history.NoCause
	switch {
	case err == nil:
	case errors.Is(err, manager.ErrLost), errors.Is(err, manager.ErrKeeperFailed):
		outcome, cause = history.Gone, causeOf(err)
		if cause == history.ByOther {
			cause = causeOf(end)
		}
	default:
		outcome = history.Unknown
		u.count("release", err)
	}
	e.let(outcome, cause)
}

// work reads the row of the first key, holds on and looks, and writes, or reads again where it shares the key. Half of the writes come
// before the time of holding. It is false where the hold has ended, which is recorded then.
func (u user) work(e *entry, h held) bool {
	var n int64
	err := errNoRow
	if e.hasRow() {
		n, err = read(h.Context(), u.table.pool, e.keys[0])
	}
	early := e.room == 1 && u.IntN(2) == 0
	return e.look(h) &&
		(err != nil || !early || u.write(e, h, n)) &&
		u.holdOn(e, h) && u.goInside(e, h) &&
		(err != nil || early || u.write(e, h, n))
}

// holdOn looks all the time, for as long as the hold is meant to last. It reports whether the lock is still held.
func (u user) holdOn(e *entry, h held) bool {
	last := u.job.Hold/2 + time.Duration(u.Int64N(int64(u.job.Hold)+1))
	if u.IntN(longOnes) == 0 {
		last = time.Duration(u.Int64N(int64(longHold)))
	}
	end := time.NewTimer(last)
	defer end.Stop()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if !e.look(h) {
				return false
			}
		case <-h.Context().Done():
			return e.look(h)
		case <-end.C:
			return e.look(h)
		}
	}
}

// write writes if the lock is still held, and looks again afterwards. Where the key is shared it reads.
func (u user) write(e *entry, h held, n int64) bool {
	if e.room > 1 {
		again, err := read(h.Context(), u.table.pool, e.keys[0])
		if held := e.look(h); !held || err != nil || again == n {
			return held
		}
		e.reread()
		return true
	}
	var looked int64
	wrote, stale, outcome := u.table.put(e.keys[0], n+1, func() bool {
		looked = now()
		return h.Err() == nil
	})
	if wrote {
		e.wrote(looked, stale, outcome)
	}
	return e.look(h)
}

func release(h held) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseBound)
	defer cancel()
	return h.Release(ctx)
}

// maxKinds bounds how many kinds of failures are told apart.
const maxKinds = 60

// count counts a failure by its text.
func (p *player) count(what string, err error) {
	kind := what + ": " + kindOf(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.failures[kind]; known || len(p.failures) < maxKinds {
		p.failures[kind]++
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// kindOf is an error's text without what differs from case to case.
func kindOf(err error) string {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return server.Code + " " + server.Message
	}
	text := err.Error()
	if acquire, ok := errors.AsType[*manager.AcquireError](err); ok {
		text = acquire.Reason.Error()
		if n := len(acquire.Failures); n > 0 {
			text += "; at last: " + acquire.Failures[n-1].Error()
		}
	}
	text = digits.ReplaceAllString(text, "N")
	return text[:min(len(text), 200)]
}
