package actor

import "time"

// Store is what keepers need of a database. The actor package knows nothing else of it.
type Store interface {
	// Attach ties a new keeper to the store. What happens to its lock is told to the observer.
	Attach(id int64, observer Observer) Link
}

// Link is one keeper's way to the store. All methods but Attend are called by the keeper alone and return at once; what
// they start is answered through the [Observer]. Of Try, TryReserved, Wait, Poll and Unlock at most one is under
// way at a time.
type Link interface {
	// Try asks for the lock without waiting, on a session with other locks. Answered by Answered.
	Try()
	// Attend may be called by a caller who waits for the operation under way and has nothing else to do, after the
	// operation was begun, from any goroutine: it may bring the answer in on the caller's goroutine, which spares a
	// wake-up. It returns within some milliseconds, and reports whether it received from answered.
	Attend(answered <-chan struct{}) (received bool)
	// Unattended says of the operation just begun that nobody will Attend to it.
	Unattended()
	// Reserve asks for a session of the keeper's own. Answered by Reserved, exactly once. With now it does not stand in line
	// for one: it is refused where as many as are allowed are in use.
	Reserve(dedicated, now bool)
	// Withdraw takes that back; the answer comes all the same.
	Withdraw()
	// TryReserved is Try on the reserved session.
	TryReserved()
	// Wait waits on the reserved session, for one slice. Answered by Answered, with neither ok nor an error where the slice
	// is over.
	Wait()
	// Poll asks for the lock on a session with other locks, again and again, until it is granted, fails or is abandoned.
	// Answered by Answered, with neither ok nor an error where it was abandoned.
	Poll()
	// Abandon asks that the wait or the poll under way end soon. Its answer may still be a grant.
	Abandon()
	// Unlock releases the lock where it was granted. Answered by Answered.
	Unlock()
	// GiveBack returns the reserved session, which must hold nothing.
	GiveBack()
	// Ask asks who holds the lock. Answered by Told; an answer may fail to come.
	Ask()
	// Gone is why the session that the lock is held on has ended; nil while it has not.
	Gone() error
	// Session is what the lock is held on.
	Session() Session
	// Detach says that the keeper ends. Nothing is held or under way.
	Detach()
}

// Session is where a granted lock is held.
type Session interface {
	// TrustedUntil is when the lock counts as lost unless the server is heard from. Any goroutine may call it.
	TrustedUntil() time.Time
	// Lost is why every lock on it is gone, nil while they are not. Any goroutine may call it.
	Lost() error
	// PID is the server process's number.
	PID() uint32
}

// Observer is the keeper as the store sees it. The methods may be called from any goroutine and never block.
type Observer interface {
	Answered(a Answer)
	Reserved(a Answer)
	// Lost says that the session which the lock was held on may be gone; [Link.Gone] tells.
	Lost()
	Told(h *Holder)
}

// Answer is what came of an operation.
type Answer struct {
	// Err says why there is no answer: whatever it was, the lock is not held now, or its session is gone.
	Err error
	// OK: granted, released, or reserved.
	OK bool
	// Transient: trying again may help.
	Transient bool
}

// Holder is who holds a lock, as far as is known.
type Holder struct {
	// Local: it is this very process, through this manager.
	Local           bool
	PID             uint32
	ApplicationName string
	ClientAddr      string
	// Since is when the lock was granted where Local, else when the holder's session began.
	Since time.Time
	// Seen is when this was known to be so.
	Seen time.Time
}
