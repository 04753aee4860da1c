package actor

import "errors"

// What a claim can be answered with, and how a hold can end.
var (
	// ErrNotAcquired answers a try: somebody else holds the lock, or is first in line for it.
	ErrNotAcquired = errors.New("lock not acquired: it is held")
	// ErrClosed answers what comes after Close, or is still waiting then.
	ErrClosed = errors.New("closed")
	// ErrTooManyWaiters: the key's line is full.
	ErrTooManyWaiters = errors.New("too many waiters for this key")
	// ErrTooManyKeys: the directory is full.
	ErrTooManyKeys = errors.New("too many keys in use")
	// ErrAttempts: no attempt that the claim had was answered by the server.
	ErrAttempts = errors.New("no attempt succeeded")
	// ErrKeeperFailed: the key's keeper panicked. The claim was not granted, or its hold is lost.
	ErrKeeperFailed = errors.New("the key's keeper failed")
	// ErrLost: the hold ended without being released by its holder.
	ErrLost = errors.New("lock lost")
	// ErrReleased is how a hold ends that its holder released.
	ErrReleased = errors.New("lock released")
	// ErrReleaseUnknown: the server did not confirm the release. It releases the lock when it notices the end of the
	// session, which was destroyed.
	ErrReleaseUnknown = errors.New("release not confirmed by the server")
)
