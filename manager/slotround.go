package manager

import (
	"errors"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/pg"
)

// The rounds of a slot's acquisition: each asks for all the locks, and gives back what it has where one cannot be had.

// keptFailures bounds how many failures of all rounds the error has: the latest.
const keptFailures = 64

func (s *slotting) run() (*Slot, error) {
	policy := s.options.policy(s.m)
	pauses := newPauses(policy)
	for failures := 0; ; {
		s.set = &LockSet{keys: KeySet{m: s.m, all: []Key{s.key}}}
		s.retried = false
		number, err := s.acquireAll()
		if err == nil {
			err = s.complete()
		}
		if err == nil {
			s.leaveGate()
			return &Slot{set: s.set, number: number}, nil
		}
		s.record(err)
		s.releaseAll()
		switch {
		case s.terms.Try:
			return nil, s.failed(err)
		case reasonOf(err) == errLostMeanwhile: //nolint:errorlint // that very value: no attempt failed
		case !s.retried && mayPass(err) && failures+1 < policy.Attempts: // the server is waited for under the caller's policy
			failures++
		default:
			return nil, s.failed(err)
		}
		if err = pauses.wait(s.ctx, s.over); err != nil {
			return nil, s.failed(err)
		}
	}
}

// acquireError is the error of one of the locks; nil if it is another. What is behind an error is not asked: the cause of a context may be the
// error of another acquisition.
func acquireError(err error) *AcquireError {
	e, _ := err.(*AcquireError) //nolint:errorlint // see above
	return e
}

// reasonOf is why a round failed.
func reasonOf(err error) error {
	if e := acquireError(err); e != nil {
		return e.Reason
	}
	return err
}

// mayPass reports whether a round failed for what may have passed at the next.
func mayPass(err error) bool {
	e := acquireError(err)
	if e == nil || e.Reason != ErrAttempts || len(e.Failures) == 0 { //nolint:errorlint // that very value
		return false
	}
	last := e.Failures[len(e.Failures)-1]
	return pg.Transient(last) || errors.Is(last, ErrReleaseUnknown) || errors.Is(last, ErrLost)
}

// record keeps what a round asked, and what failed of it, for the error of the whole acquisition.
func (s *slotting) record(err error) {
	claims := slices.Clone(s.others)
	for _, l := range []*Lock{s.gate, s.lead} {
		if l != nil {
			claims = append(claims, &l.claim)
		}
	}
	for _, c := range claims {
		s.attempts += c.Attempts
		s.failures = append(s.failures, c.Failures...)
	}
	if e := acquireError(err); e != nil {
		s.attempts += e.Attempts
		s.failures = append(s.failures, e.Failures...)
	}
	s.failures = s.failures[max(0, len(s.failures)-keptFailures):]
}

// failed is the error of the whole acquisition, whichever of the locks could not be had.
func (s *slotting) failed(err error) error {
	e := acquireError(err)
	if e == nil {
		e = acquireError(s.key.refused(err, 0))
	}
	if s.once && e.Reason == ErrNotAcquired { //nolint:errorlint // that very value
		e.Reason = ErrWaitTimeout
	}
	e.Key, e.ID, e.Shared, e.Waited = s.key.name, s.key.id, false, time.Since(s.begun)
	e.Attempts, e.Failures = s.attempts, s.failures
	contended := errors.Is(e.Reason, ErrNotAcquired) || errors.Is(e.Reason, ErrWaitTimeout) || errors.Is(e.Reason, ErrSlots)
	if e.Holder = nil; contended { // whoever had the gate is none
		e.Holder = s.key.holder(s.ctx)
	}
	return e
}
