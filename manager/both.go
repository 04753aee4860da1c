package manager

import (
	"context"
	"errors"
	"slices"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/hashing"
)

// WithHashes has every acquisition, of whatever kind, take the locks of two ids: see [hashing.Both]. So a manager excludes those that have
// either function by [WithHash], and those that have both, in either order: for a deploy that changes the function. It is given in place of
// WithHash.
//
// The locks of the two ids are one hold. They are taken in the order of the ids, the lower first, which takes a round trip more; the second
// is waited for while the first is held. An error names the id that could not be had. [WithDedicatedSession] gives the lower id a session of
// its own, and the other is on one with others.
func WithHashes(p hashing.Pair) Option {
	p = hashing.Both(p.Old, p.New)
	return func(c *config) { c.hash, c.secondHash = p.Old, p.New }
}

// single appends the keys of one id each that the key stands for, by id: one, or two with [WithHashes].
func (k Key) single(to []Key) []Key {
	lower, upper := k, k
	lower.id, upper.id = min(k.id, k.second), max(k.id, k.second)
	lower.second, upper.second = lower.id, upper.id
	if to = append(to, lower); upper.id != lower.id {
		to = append(to, upper)
	}
	return to
}

// acquireBoth takes the locks of a key with two ids. It is a set of two, whose lead is the lock that the caller gets. Unlike a set's they
// are taken in order from the beginning: of several callers who try one succeeds, and those who wait are served in their order.
func (m *Manager) acquireBoth(ctx context.Context, k Key, t actor.Terms, opts []AcquireOption) (*Lock, error) {
	if outer, _ := ctx.Value(heldKey{}).(*Lock); outer != nil {
		if err := outer.refuses(k, t.Try); err != nil {
			return nil, m.failure(k, &actor.Claim{Terms: t}, err, 0)
		}
	}
	o := collect(opts)
	g := &gathering{keys: KeySet{m: m, all: k.single(nil)}, ctx: ctx, opts: opts, terms: t, round: lastRound}
	set, err := g.start(&o)
	if err != nil {
		return nil, err
	}
	return set.lead.Load(), nil
}

// holder asks the server who holds the key's lock; nil if nobody does, or that does not become known soon. Of two ids it is who has the second,
// and who has the first only if nobody has the second: until then who has the first may wait for that.
func (k Key) holder(ctx context.Context) *Holder {
	for _, one := range slices.Backward(k.single(nil)) {
		if h, known := k.m.holderOf(ctx, one.id); h != nil || !known {
			return h
		}
	}
	return nil
}

// lockOf is the hold that an owner has the lock for; nil where it is a set's that is not complete. It leads only if it is the one that Elect was given.
func lockOf(o actor.Owner) *Lock {
	switch o := o.(type) {
	case *setOwner:
		return o.lead.Load()
	case *lockOwner:
		return (*Lock)(o)
	}
	return nil
}

// lock takes the locks of all ids of the key in the transaction, or of none: a savepoint releases that of the first where the second cannot
// be had.
func (l *txLock) lock(ctx context.Context, held func(*txLock, context.Context) error) error {
	if l.second == l.id {
		return l.lockOne(ctx, held)
	}
	if err := l.tx.exec(ctx, "SAVEPOINT lockkeeper_both"); err != nil {
		return err
	}
	lower, upper := min(l.id, l.second), max(l.id, l.second)
	l.id = lower
	err := l.lockOne(ctx, held)
	if err == nil {
		l.id = upper
		err = l.lockOne(ctx, held)
	}
	if err != nil {
		if rollback := l.tx.exec(ctx, "ROLLBACK TO SAVEPOINT lockkeeper_both"); rollback != nil {
			return errors.Join(err, rollback)
		}
	}
	if release := l.tx.exec(ctx, "RELEASE SAVEPOINT lockkeeper_both"); release != nil {
		return errors.Join(err, release)
	}
	return err
}
