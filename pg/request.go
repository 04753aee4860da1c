package pg

import (
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// Op is what a request asks of a session.
type Op uint8

// The operations.
const (
	OpTry    Op = iota // take the lock if it is free; never waits
	OpWait             // wait in the server's queue, for one slice at most; only on a solo session
	OpUnlock           // release
	OpWho              // who holds the id; best effort
	opCancel           // end what the backend whose pid is the id is doing
)

func (o Op) String() string {
	return [...]string{"try", "wait", "unlock", "who", "cancel"}[o]
}

// Client is who asks. Its methods are called on a session's goroutines, at most one at a time for one request, and
// must not block.
type Client interface {
	// Done gives the answer to a request, which is its client's again.
	Done(r *Request)
	// Lost says that s is gone, and with it the lock on id that the client was granted there. It can come late, and
	// beside the answer to an unlock: compare [Session.Lost] of the session that the lock is on now.
	Lost(s *Session, id int64, cause error)
}

// Request is one operation on one id. Its client sets the first fields, submits it and leaves it alone until Done.
type Request struct {
	Client Client
	ID     int64
	Op     Op
	// Attended promises that [Request.Attend] is called for the answer, or else [Request.MustRead].
	Attended bool
	// OK is the server's answer: granted, or released. For a wait, false without an error says that its slice is over.
	OK        bool
	abandoned atomic.Bool
	// Err says why there is no answer. The id is known not to be held by the session after it, or the session is gone
	// and its locks with it.
	Err error
	// Session is where the operation ran; for a granted lock, where it is held.
	Session *Session
	at      atomic.Pointer[Session] // as Session, for Attend
	node    mailbox.Node[*Request]
	poll    *poll // the latest that it was handed to; its client's
	// Holder answers OpWho; nil where nobody holds the id or the question was not asked.
	Holder *Holder
}

// Holder is who holds a lock, as PostgreSQL tells it.
type Holder struct {
	PID             uint32
	ApplicationName string
	ClientAddr      string    // empty for a local socket, or where the role may not see it
	SessionSince    time.Time // when that session began: PostgreSQL does not record when it was granted the lock
}

func (r *Request) post(to *mailbox.Mailbox[*Request]) {
	r.node.Value = r
	to.Post(&r.node)
}

func (r *Request) answer(s *Session, ok bool, err error) {
	r.Session, r.OK, r.Err = s, ok, err
	r.Client.Done(r)
}

// entry is what a session keeps of a request that it sent: after Done the request may be in use again.
type entry struct {
	id     int64
	op     Op
	ok     bool
	client Client
	req    *Request
}

// flight is one statement under way. Owner and reader pass it back and forth; who has it may touch it.
type flight struct {
	kind     flightKind
	sent     time.Time
	deadline time.Time // when the answer must be here at the latest
	entries  []entry   // of a batch: unlocks first, then tries
	unlocks  int
	single   bool // the statement was a plain one, answered with a boolean and not with letters

	// The answer, filled in by the reader.
	rows      int
	completed bool   // the command came to its end
	letters   []byte // 't' or 'f' for each entry, in order
	broken    error  // the answer was not of the expected form
	identity  string
	holder    *Holder
	err       error // the server's error
	answered  bool  // the clients have been told

	// Of a settling flight: the error that put the entries in doubt, and which of them that was.
	doubt error
}

type flightKind uint8

const (
	flightOps    flightKind = iota
	flightSettle            // unlocks of ids in doubt: either letter is an answer
	flightAsk
	flightWho
	flightCancel
)
