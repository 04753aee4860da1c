package sim_test

import (
	"context"
	"errors"

	"github.com/lockkeeper/lockkeeper/manager"
)

func (w *stack) releaseSome() {
	var held []*call
	for _, k := range w.calls {
		if k.returned && k.err == nil && k.work == nil && k.released < 4 && (k.released == 0 || w.src.Chance(4)) {
			held = append(held, k)
		}
	}
	if len(held) > 0 {
		held[w.src.Pick(min(len(held), 200))].release(w.src.Chance(6))
	}
}

func (k *call) release(ended bool) {
	k.w.say("release %v, with an ended context: %v", k, ended)
	ctx, own := context.Background(), false
	switch {
	case ended:
		c, cancel := context.WithCancel(ctx)
		cancel()
		ctx = c
	case k.n%3 > 0 && k.ctx.Err() == nil:
		ctx, own = k.ctx, true
		k.ownWay++
	}
	k.released++
	k.underWay++
	go func() { k.releases <- release{own, k.lock.Release(ctx)} }()
}

// release is what a call of Release has returned, and whether it was with the context of the Acquire.
type release struct {
	own bool
	err error
}

func (k *call) outcomesOf() {
	for {
		select {
		case r := <-k.releases:
			k.underWay--
			if r.own {
				k.ownWay--
			}
			k.releasedRightly(r.err)
		default:
			return
		}
	}
}

func (k *call) releasedRightly(err error) {
	w := k.w
	w.seen.add("released: " + outcome(err))
	w.say("          the release of %v: %v", k, err)
	if k.lock.Err() == nil {
		w.violate("a release ends the hold", "%v", k)
	}
	if errors.Is(err, context.Canceled) {
		return // still under way
	}
	for _, other := range k.outcomes {
		if (other == nil) != (err == nil) {
			w.violate("release is idempotent", "%v: %v, and then %v", k, other, err)
		}
	}
	k.outcomes = append(k.outcomes, err)
	if err != nil && !errors.Is(err, manager.ErrLost) && !errors.Is(err, manager.ErrReleaseUnknown) {
		w.violate("errors tell the truth", "release of %v: %v", k, err)
	}
	if len(k.outcomes) > 1 || err != nil || k.keeperFailed() {
		return
	}
	k.freeRightly()
}

// freeRightly: a release that was confirmed has left the lock to others.
func (k *call) freeRightly() {
	w := k.w
	if k.keeperFailed() {
		return
	}
	// What an earlier statement takes on a connection that the program has given up goes when the server hears of its end.
	if c := k.wire; c != nil && w.lock(k.id).has(c.backend) && !c.closed && !w.othersOf(k) {
		w.violate("released means free", "%v, and the server has the lock for %v", k, c)
	}
}

// othersOf reports whether somebody else of the program may have the lock, or be about to.
func (w *stack) othersOf(k *call) bool {
	for _, other := range w.calls {
		if other != k && other.p == k.p && other.key == k.key && (!other.returned || other.err == nil && len(other.outcomes) == 0 ||
			other.returned && other.n > k.n) {
			return true
		}
	}
	return false
}
