package manager

import (
	"context"
	"fmt"
)

// Leader is the leadership of a key, as this process sees it. It is valid as long as its manager.
type Leader struct{ key Key }

// Leader gives the leadership that [Manager.Elect] campaigns for.
func (m *Manager) Leader(key string) Leader { return Leader{m.Key(key)} }

// IsLeader is nil while this process leads: a function of Elect runs, and its context has not ended. Otherwise errors.Is finds
// [ErrNotLeader]. It does not ask the server: a leader that does not know yet that its session was ended at the server says that it leads, for as
// long as any holder would. It is what gocron calls an Elector.
func (l Leader) IsLeader(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("leader of %s: %w", quoteKey(l.key.name), contextReason(ctx))
	}
	term := l.term()
	if term == nil {
		return fmt.Errorf("leader of %s: %w", quoteKey(l.key.name), ErrNotLeader)
	}
	if hold := term.holdContext(); hold.Err() != nil {
		return fmt.Errorf("leader of %s: %w: %w", quoteKey(l.key.name), ErrNotLeader, context.Cause(hold))
	}
	return nil
}

// Resign ends the term of this process: the context of Elect's function ends, and when the function has returned the key is released
// and the campaign begins again, behind all who wait. Resign returns when the key is released, or ctx ends, which does not take the
// resignation back. Where this process does not lead the error is [ErrNotLeader].
func (l Leader) Resign(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	term := l.term()
	if term == nil {
		return fmt.Errorf("resign %s: %w", quoteKey(l.key.name), ErrNotLeader)
	}
	term.holdContext().cancel(ErrResigned)
	for _, c := range term.claims() {
		if !c.Await(ctx.Done()) {
			return fmt.Errorf("resign %s: the function of Elect has not returned, or the release is under way: %w", quoteKey(l.key.name),
				contextReason(ctx))
		}
	}
	return nil
}

// Current is who leads, in whatever process; [ErrNoLeader] where nobody is known to. Unless this process leads it takes a round trip,
// or a few where many ask; ctx bounds it. Holder.Since is then when the leader's session began: PostgreSQL does not record when a lock was granted.
func (l Leader) Current(ctx context.Context) (*Holder, error) {
	if ctx == nil {
		return nil, fmt.Errorf("lockkeeper: %w", ErrNilContext)
	}
	if term := l.term(); term != nil {
		return term.holder(), nil
	}
	if h := l.key.holder(ctx); h != nil {
		return h, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("leader of %s: %w", quoteKey(l.key.name), contextReason(ctx))
	}
	return nil, fmt.Errorf("leader of %s: %w", quoteKey(l.key.name), ErrNoLeader)
}

// term is the hold by which this process leads; nil where it does not, or waits for its token.
func (l Leader) term() *Lock {
	for _, h := range l.key.m.supervisor.HoldersOf(l.key.id) {
		if lock := lockOf(h.Claim.Owner); lock != nil && lock.leading.Load() && lock.claim.Name == l.key.name {
			return lock
		}
	}
	return nil
}
