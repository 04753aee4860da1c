package actor

import "time"

// Store is what keepers need of a database. The actor package knows nothing else of it.
type Store interface {
	// Attach ties a key's keeper to the store. What happens to the key's lock is sent to events, which has room for it.
	Attach(id int64, events chan<- Event) Link
}

// Link is one keeper's way to the store. The keeper alone calls it, on its own goroutine. A call may wait until an owner in
// the store has received the request, never for the database. Of Try, TryOwn, Wait, Poll and Unlock at most one is under way
// at a time; each is answered by one [Answered].
type Link interface {
	// Try asks for the lock in a mode, without waiting, on a session with other locks.
	Try(shared bool)
	// Reserve asks for a session of the key's own. Answered by [Reserved]. With now it does not queue for one: it is
	// refused where as many as are allowed are in use.
	Reserve(dedicated, now bool)
	// Withdraw takes the reservation back. It is answered all the same.
	Withdraw()
	// TryOwn is Try on the key's own session.
	TryOwn(shared bool)
	// Wait waits in the server's queue on the key's own session, for one slice. Answered with neither OK nor Err when the
	// slice is over.
	Wait(shared bool)
	// Poll asks for the lock on a session with other locks, again and again, until it is granted, fails or is stopped. With announce the
	// other processes are told first that this one waits. It asks rarely where a hint is expected.
	Poll(shared, announce, rarely bool)
	// Pace has the poll under way ask rarely, or often again.
	Pace(rarely bool)
	// Tell tells the other processes. They need not hear.
	Tell(n *Hint)
	// StopPolling ends the poll under way soon. Its answer has neither OK nor Err, or is still a grant.
	StopPolling()
	// Unlock releases the lock on the session where it was granted, in the mode in which it was.
	// The other processes are told right after it: offer may be nil, and is where the lock is on the key's own session.
	Unlock(offer *Hint)
	// Lend has the key's own session, on which the lock is held, lent to its holder. It goes there in the order of Lend and Unlock.
	Lend(loan any)
	// Return returns the key's own session, which must hold nothing.
	Return()
	// Ask asks who holds the lock, and whether anybody waits for it. Answered by [Told], once for all questions that came before it was sent;
	// the answer may fail to come.
	Ask()
	// Unsent is nil, unless the operation under way was given to a session that had ended. The channel is closed when that
	// session has answered all that it received: without an answer by then, the operation was never sent.
	Unsent() <-chan struct{}
	// Session is what the lock is held on. It is not called while an operation is under way, but where Unsent was closed: then it is what the
	// operation was given to.
	Session() Session
	// Own is the key's own session; nil without one. It is not called while a reservation is under way.
	Own() Session
}

// Session is where a granted lock is held.
type Session interface {
	// TrustedUntil is when the lock counts as lost unless the server is heard from. Any goroutine may call it.
	TrustedUntil() time.Time
	// Lost is why every lock on it is gone, nil while they are not. Any goroutine may call it.
	Lost() error
	// PID is the number of the server process.
	PID() uint32
}

// Answer is what came of an operation.
type Answer struct {
	// Err says why there is no answer of the server's. The lock is not held after it, or its session is gone.
	Err error
	// OK: granted, released, or reserved.
	OK bool
	// Again: there was no session to ask on, and there is one now. Nothing was asked.
	Again bool
	// Transient: trying again may help.
	Transient bool
	// Ended: the session had ended, or ended meanwhile. A new one may answer at once.
	Ended bool
}

// Holder is who holds a lock, as far as is known.
type Holder struct {
	// Local: it is this process, through this manager.
	Local           bool
	PID             uint32
	ApplicationName string
	ClientAddr      string
	// Since is when the lock was granted where Local, else when the holder's session began.
	Since time.Time
	// Seen is when this was known to be so.
	Seen time.Time
}
