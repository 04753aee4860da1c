package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	// maxSet bounds how many keys a set has.
	maxSet = 5
	// period is that of Once: each process runs some of the jobs in it.
	period = 2 * time.Second
)

var errNoRow = errors.New("it has no row")

// broken notes something that must not be, and which the history does not show.
func (p *player) broken(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.problems) < maxKinds {
		p.problems = append(p.problems, fmt.Sprintf(format, args...))
	}
}

func (u user) takeSet(e *entry) bool {
	e.keys = u.Perm(u.job.Keys)[:min(u.job.Keys, 1+u.IntN(maxSet))]
	var names []string
	for _, key := range e.keys {
		names = append(names, keyName(key))
	}
	set := u.locks.Keys(names...)
	var opts []manager.AcquireOption
	call := set.Acquire
	switch {
	case u.IntN(8) == 0:
		e.flags = history.Try
		call = set.TryAcquire
	case u.IntN(4) == 0:
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(200))*time.Millisecond))
	}
	return u.take(context.Background(), e, func(ctx context.Context) (held, error) { return call(ctx, opts...) })
}

func (u user) takeSlot(e *entry) bool {
	which := u.IntN(plan.SlotKeys)
	e.keys[0], e.room = u.job.Keys+which, 2+which
	var opts []manager.AcquireOption
	call := u.locks.AcquireSlot
	switch {
	case u.IntN(8) == 0:
		e.flags = history.Try
		call = u.locks.TryAcquireSlot
	case u.IntN(4) == 0:
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(200))*time.Millisecond))
	}
	return u.take(context.Background(), e, func(ctx context.Context) (held, error) {
		return call(ctx, keyName(e.keys[0]), e.room, opts...)
	})
}

// nestedKeys is how many of the keys are for nested holds: few, so that they wait for each other in circles.
func nestedKeys(keys int) int { return min(keys, 2+keys/16) }

// goInside takes another key inside of the hold, and reports whether this is held still. Now and then it asks for one that it holds.
func (u user) goInside(e *entry, h held) bool {
	if e.inside == 0 {
		return true
	}
	key := u.IntN(nestedKeys(u.job.Keys))
	in := &entry{r: e.r, use: e.use, keys: []int{key}, room: 1, inside: e.inside - 1, outer: e}
	if !e.holds(key) {
		u.waitInside(h, in)
	} else if _, err := u.locks.Acquire(h.Context(), keyName(key)); h.Err() == nil && !errors.Is(err, manager.ErrHeld) {
		u.broken("an acquisition inside of a hold of the same key ended with %v", err)
	}
	return e.look(h)
}

// holds reports whether the entry's hold, or one that it is inside of, is of the key.
func (e *entry) holds(key int) bool {
	return e != nil && (slices.Contains(e.keys, key) || e.outer.holds(key))
}

// circleBound is how long a circle of two waits in this process may last before somebody is told.
const circleBound = 100 * time.Millisecond

// waitInside takes a key inside of a hold. If it has waited for long in vain it looks whether the holder has waited for a key of its own
// meanwhile: then one of the two had to be told at once.
func (u user) waitInside(h held, in *entry) {
	began := time.Now()
	if u.takeKey(h.Context(), in); in.looked > 0 || time.Since(began) < circleBound {
		return
	}
	other := u.circle(in)
	if other == nil {
		return
	}
	_ = interrupt.Sleep(h.Context(), circleBound) // it may have been told, and not have had the processor
	if u.circle(in) == other {
		u.broken("two holders waited for each other, for keys %d and %d, and neither was told", in.keys[0], other.e.keys[0])
	}
}

// circle returns a wait for a key that the entry is inside of, by a holder of its own key, if that has lasted for long.
func (p *player) circle(in *entry) *wait {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.waiting {
		if w.e.outer.holds(in.keys[0]) && in.outer.holds(w.e.keys[0]) && time.Since(w.since) > circleBound {
			return w
		}
	}
	return nil
}

// work is the hold while which a function of Once or Elect runs: its context is all that it knows.
type work struct {
	held
	ctx context.Context //nolint:containedctx // a hold is a lifetime
}

func (w work) Context() context.Context { return w.ctx }

func (w work) Err() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

// run makes an acquisition whose holder is a function, and which ends with that. Before it is granted nothing is recorded.
func (u user) run(parent context.Context, e *entry, call func(ctx context.Context, f func(context.Context) error) error) bool {
	ctx, w := u.arm(parent, e)
	defer w.cancel()
	asked, ran := now(), false
	err := call(ctx, func(ctx context.Context) error {
		defer e.listen(ctx)()
		if begin, ok := manager.PeriodOf(ctx); ok {
			e.period = periodOf(begin)
		}
		e.beginAt(asked)
		if !u.disarm(w) {
			e.refused(history.Cancelled)
			return nil
		}
		h := work{ctx: ctx}
		if ran = e.granted(h) && u.work(e, h); ran {
			e.letting(now())
		}
		return nil
	})
	alive := u.disarm(w)
	switch {
	case ran:
		u.let(e, err, nil)
	case e.handle == 0:
		e.beginAt(asked)
		return u.refused(e, err, alive && parent.Err() == nil)
	}
	return true
}

// runOnce runs a job, of which there is one for each key, unless somebody has in this period.
func (u user) runOnce(e *entry) bool {
	e.period = periodOf(time.Now()) // a liar's
	return u.run(context.Background(), e, func(ctx context.Context, f func(context.Context) error) error {
		return u.locks.Once(ctx, fmt.Sprint("job/", e.keys[0]), period, f)
	})
}

func periodOf(t time.Time) uint32 { return uint32(t.UnixNano() / int64(period)) }
