package pg

import "time"

// Op is what a request asks of a session.
type Op uint8

// The operations.
const (
	OpTry    Op = iota // take the lock if it is free; never waits
	OpWait             // wait in the server's queue, for one slice at most; only on a solo session
	OpUnlock           // release
	opWho              // who holds some ids; best effort
	opPoll             // OpTry for all of a batch
	opHint             // tell other managers of locks
	opListen           // hear what they tell
	opLend             // lend the session to the holder of its lock; only on a solo session
)

func (o Op) String() string {
	return [...]string{"try", "wait", "unlock", "who", "poll", "hint", "listen", "lend"}[o]
}

// Client is who asks for a lock. Its methods must not block: a send to a channel with room is all that they may do. They are called
//
//   - by a session's reader, with an answer of the server's;
//   - by a session's owner, after a failure was settled, when it has no room, and at its end;
//   - by the pool, for a poll, and for a try that waits for a session;
//   - by the sender itself, where the pool has ended.
type Client interface {
	// Done gives the answer to a request, which is its client's again.
	Done(r *Request)
	// Lost says that s has ended, and with it the lock on id that the client was granted there. The session's owner calls it, at most once
	// for each grant, and never after the answer to its unlock.
	Lost(s Session, id int64)
}

// Request is one operation on one id. Its client sets the first fields, submits it, and leaves it alone until Done.
type Request struct {
	Client Client
	ID     int64
	Op     Op
	// Shared: the lock is to be shared, or is; else it is exclusive. The unlock of a lock has it as its try had.
	Shared bool
	// Offer, of an OpUnlock on a shared session, is told to the other managers right after the release.
	Offer *Hint

	// OK is the server's answer: granted, or released. For a wait, false without Err says that its slice is over.
	OK bool
	// Again: no session with room was there, and there may be one now. Nothing was asked.
	Again bool
	// Err says why there is no answer. The id is known not to be held by the session after it, or the session has ended and
	// its locks with it.
	Err error
	// Session is where the operation ran; for a granted lock, where it is held.
	Session Session

	polls   *pollBatch // of opPoll
	inquiry *inquiry   // of opWho
	hint    *hintBatch // of opHint and opListen
	loan    *Loan      // of opLend
	poll    *poll      // the pool's, while it polls for the request

	// Of [Pool.Poll]. Announce: the other managers are told first that this one waits. Rarely: a hint is expected, so that it is asked for
	// rarely.
	Announce, Rarely bool
}

// answer gives the request back to its client.
func (r *Request) answer(s Session, ok bool, err error) {
	r.Session, r.OK, r.Err = s, ok, err
	r.Client.Done(r)
}

// Session is a connection on which locks are held: a [Shared] or a [Solo]. Any goroutine may call its methods.
type Session interface {
	// Submit gives a request to the session's owner. It waits until the owner has room for it, never for the server. unsent is
	// nil, unless the session had ended by then: the channel is closed once the session has answered all that it received,
	// and without an answer by then the request was never sent.
	Submit(r *Request) (unsent <-chan struct{})
	// PID is the backend's process number.
	PID() uint32
	// TrustedUntil is when the session's locks are lost unless an answer comes. Whoever hands out a grant, or is asked whether
	// one still stands, compares it with the clock: a process that was stopped wakes before its timers fire.
	TrustedUntil() time.Time
	// Lost is why the session's locks are gone, nil while they are not.
	Lost() error
}

// Holder is who holds a lock, as PostgreSQL tells it.
type Holder struct {
	PID             uint32
	ApplicationName string
	ClientAddr      string    // empty for a local socket, or where the role may not see it
	SessionSince    time.Time // when that session began: PostgreSQL does not record when it was granted the lock
}
