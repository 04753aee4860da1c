package actor

import "errors"

// The reasons for which a claim is refused, and for which a hold ends.
var (
	// ErrNotAcquired is returned when a try finds the lock held, or another claim first in the queue for it.
	ErrNotAcquired = errors.New("lock not acquired: it is held")
	// ErrClosed is returned for claims that come after Close, or still wait then. Holds that Close ends have it as cause.
	ErrClosed = errors.New("closed")
	// ErrTooManyWaiters is returned when as many claims wait for the key as may.
	ErrTooManyWaiters = errors.New("too many waiters for this key (WithMaxWaiters)")
	// ErrTooManyKeys is returned when as many keys are in use as may be.
	ErrTooManyKeys = errors.New("too many keys in use (WithMaxKeys)")
	// ErrAttempts is returned when no attempt of the claim was answered by the server.
	ErrAttempts = errors.New("no attempt succeeded")
	// ErrKeeperFailed is returned when the key's keeper panicked: the claim was not granted, or its hold is lost.
	ErrKeeperFailed = errors.New("the key's keeper failed")
	// ErrLost is the cause when a hold ended that its holder did not release.
	ErrLost = errors.New("lock lost")
	// ErrReleased is the cause when a holder released its lock.
	ErrReleased = errors.New("lock released")
	// ErrReleaseUnknown is returned when the server did not confirm the release. The session was ended: the server releases
	// the lock when it notices.
	ErrReleaseUnknown = errors.New("release not confirmed by the server")
)
