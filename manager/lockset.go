package manager

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// LockSet is a hold of several keys' locks, which begins and ends as one. Its methods may be called from any goroutine, at any time.
type LockSet struct {
	keys KeySet
	// Of the keys, the one whose lock has the context, the registration with the parent and the end of the hold. Written by the acquirer, once.
	//
	//arch:publishes the lead to the keepers of the others, which may lose theirs before there is one
	lead atomic.Pointer[Lock]
	// The claims of the other keys, by id. Written by the acquirer before it returns the set.
	others   []*actor.Claim
	loss     atomic.Pointer[error] // written by the keeper of the first of others that is lost
	released atomic.Bool           // written by whoever first releases the others
	fence    atomic.Pointer[fence] // nil: it has no token; written by the acquirer before it returns the set
	// What the acquirer waits for while it takes the locks in order; nil if nothing. Written by the acquirer.
	wanted atomic.Pointer[actor.Want]
}

// Keys are the names of the keys, in the order of their ids, without those that were folded.
func (s *LockSet) Keys() []string { return s.keys.Names() }

// Context is the hold's, as [Lock.Context] is: it ends with the hold of any of the keys.
func (s *LockSet) Context() context.Context { return s.lead.Load().Context() }

// Done is closed when the hold has ended, however it ended; Err says why.
func (s *LockSet) Done() <-chan struct{} { return s.lead.Load().Done() }

// Err is nil while all locks are held, and afterwards says how the hold ended. It compares the clock itself, as [Lock.Err] does.
func (s *LockSet) Err() error { return s.lead.Load().Err() }

// Release ends the hold and releases all locks, as [Lock.Release] does one. Nil says that the server confirmed it for each of them.
func (s *LockSet) Release(ctx context.Context) error { return s.release(patienceOf(ctx)) }

func (s *LockSet) release(p patience) error {
	lead := s.lead.Load()
	s.releaseOthers(false)
	err := lead.release(p)
	failed := 0
	for _, c := range s.others {
		var outcome error
		if !c.AwaitEither(p.done, p.over) {
			outcome = p.notReleasedYet(c)
		} else if outcome = releaseFailed(c, c.Outcome()); outcome == nil {
			continue
		}
		if failed++; failed <= maxSetErrors {
			err = errors.Join(err, outcome)
		}
	}
	if failed > maxSetErrors {
		err = errors.Join(err, fmt.Errorf("and %d more", failed-maxSetErrors))
	}
	return err
}

// maxSetErrors bounds how many keys' errors Release joins.
const maxSetErrors = 10

// releaseOthers releases all locks but the lead's, without waiting for the outcome. It sends to keepers, so it runs on none. At once: their
// minimum hold does not count, also where they have been released and are kept for it: the user may release the set as soon as it is lost.
func (s *LockSet) releaseOthers(atOnce bool) {
	if s.released.Swap(true) && !atOnce { //arch:publishes that the others are being released: the first caller does it
		return
	}
	for _, c := range s.others {
		if atOnce {
			c.ReleaseUnused()
		} else {
			c.ReleaseLater()
		}
	}
}

// setOwner is a LockSet as the keepers of the others see it.
type setOwner LockSet

// HoldEnds implements [actor.Owner].
func (o *setOwner) HoldEnds(cause error, _ time.Time) { (*LockSet)(o).othersEnd(cause) }

// othersEnd is called by a keeper when the hold of one of the others is over, or is to end.
func (s *LockSet) othersEnd(cause error) {
	if !errors.Is(cause, ErrLost) {
		return // released by the set; or Close, which ends the lead's
	}
	s.loss.Store(&cause)
	if lead := s.lead.Load(); lead != nil {
		s.lost(lead)
	}
}

// lost ends the whole hold, since one of the others is lost.
func (s *LockSet) lost(lead *Lock) {
	lead.lost.Store(s.loss.Load())
	if h := lead.hold.Load(); h != nil {
		h.cancel(*s.loss.Load())
	}
	lead.manager.background.Go(func() {
		lead.claim.ReleaseUnused()
		s.releaseOthers(true)
	})
}

// leadEnds is called when the lead's hold is over, or is to end by Close, on its keeper's goroutine.
func (s *LockSet) leadEnds(l *Lock, cause error) {
	if s.lead.Load() == l && l.claim.Over() != nil && cause != ErrReleased { //nolint:errorlint // that very value; Release releases the others
		l.manager.background.Go(func() { s.releaseOthers(l.claim.Lost()) })
	}
}

// gone says why the session of one of the others is not trusted; nil while all are.
func (s *LockSet) gone(now time.Time) error {
	var last actor.Session // most are on the same few, one after the other
	for _, c := range s.others {
		if c.Session == last {
			continue
		}
		last = c.Session
		if lost := last.Lost(); lost != nil {
			return lost
		}
		if !now.Before(last.TrustedUntil()) {
			return errSilence
		}
	}
	return nil
}

// has reports whether the set holds an id.
func (s *LockSet) has(id int64) bool {
	for _, c := range s.others {
		if c.ID == id && c.Over() == nil {
			return true
		}
	}
	return false
}
