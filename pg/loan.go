package pg

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// The errors of a loan.
var (
	// ErrTxOpen: a transaction is open on the session.
	ErrTxOpen = errors.New("a transaction is open on the lock's session")

	errUnlocked    = errors.New("the transaction has released the lock (pg_advisory_unlock, DISCARD ALL)")
	errDeallocated = errors.New("the transaction has removed the session's prepared statements (DEALLOCATE ALL, DISCARD ALL)")
	errCut         = errors.New("a statement of the transaction was under way when its context, or the hold, ended")
	errNotHeld     = errors.New("the session does not hold the lock any more")
)

// Loan is a session that is lent to the holder of its lock, for one transaction. The holder has a pgx connection whose net.Conn is one end of
// a pipe. The session's owner and reader go on as before: a courier writes to the socket what comes out of the pipe, when the owner lets
// it, and the reader puts into the pipe what the server answers. See lend.go.
type Loan struct {
	solo    *Solo
	options pgx.TxOptions
	request Request
	inner   net.Conn // the session's end of the pipe
	outer   net.Conn // the holder's

	// Sent by the owner, or by whoever refuses the request; received by Begin; never closed; capacity 1: one answer.
	granted chan error
	// Sent by the courier before it writes; received by the owner, which writes nothing until wrote; never closed; unbuffered: being
	// received is the leave to write.
	wants chan struct{}
	// Sent by the courier when it has written; received by the owner; never closed; capacity 1: it writes one thing at a time.
	wrote chan struct{}
	// Sent by whoever ends the transaction, or the hold; received by the owner; never closed; capacity 1: one wish to end is enough.
	finish chan struct{}
	// Sent by the pool: who holds the lock; received by the owner; never closed; capacity 2: questions are seconds apart, and what finds no
	// room is dropped.
	told chan WhoAnswer
	// Closed by the owner when it takes the session back; received by the courier; nothing is sent.
	revoked chan struct{}
	// Closed by the courier at its end, after which courierErr may be read; received by the owner; nothing is sent.
	ended      chan struct{}
	courierErr error

	// Sent by the reader when a nudge is answered; received by the owner; never closed; capacity 1: it looks at the counts.
	settled chan struct{}
	nudged  atomic.Int64 // written by the owner: how often the server was nudged; see lend.go
	replied atomic.Int64 // written by the reader: how often it has answered that

	asked    atomic.Int64 // written by the courier: how much the holder has asked, counted by the server's ReadyForQuery
	answered atomic.Int64 // written by the reader: how much of that was answered
	open     atomic.Bool  // written by the courier: what was asked has not been sent to its end
	rows     atomic.Bool  // written by the reader: rows of an answer have come, and more may
	passing  atomic.Bool  // written by the reader: it waits until the holder has read the end of an answer, which counts as answered
	status   atomic.Int32 // written by the reader: of the transaction, as the server says: I, T or E

	out    []byte // the reader's: for the pipe
	frames frames // the courier's
}

// NewLoan makes a loan of the session, whose lock is id. It is asked for by [Solo.Lend]. The error says what is wrong with the options.
func (s *Solo) NewLoan(id int64, options pgx.TxOptions) (*Loan, error) {
	if err := checkOptions(options); err != nil {
		return nil, err
	}
	l := &Loan{solo: s, options: options, granted: make(chan error, 1), wants: make(chan struct{}), wrote: make(chan struct{}, 1),
		finish: make(chan struct{}, 1), told: make(chan WhoAnswer, 2), revoked: make(chan struct{}), ended: make(chan struct{}),
		settled: make(chan struct{}, 1)}
	l.inner, l.outer = net.Pipe()
	l.request = Request{Client: l, ID: id, Op: opLend, loan: l}
	l.status.Store('I')
	return l, nil
}

// Lend asks for the loan. The key's keeper calls it, so that it comes before the unlock of the lock.
func (s *Solo) Lend(l *Loan) { s.Submit(&l.request) }

// Done implements [Client].
func (l *Loan) Done(r *Request) { l.granted <- r.Err }

// Lost implements [Client]: the holder of the lock is told by its keeper.
func (l *Loan) Lost(Session, int64) {}

// Told implements [Asker].
func (l *Loan) Told(a WhoAnswer) {
	select {
	case l.told <- a:
	default:
	}
}

// End has the session take itself back soon: a transaction that is open is rolled back; where a statement of it is under way the session
// ends. It does not wait. Any goroutine may call it, any number of times.
func (l *Loan) End() {
	select {
	case l.finish <- struct{}{}:
	default:
	}
}

// await waits until the session is lent.
func (l *Loan) await(ctx context.Context) error {
	select {
	case err := <-l.granted:
		return err
	case <-l.solo.gone:
	case <-ctx.Done():
		l.End()
		return ctx.Err()
	}
	select {
	case err := <-l.granted:
		return err
	default: // it was never received
		return l.solo.Lost()
	}
}

// busy reports whether the server owes the holder an answer.
func (l *Loan) busy() bool { return l.asked.Load() != l.answered.Load() }

// unsettled reports whether the server owes the owner answers to nudges.
func (l *Loan) unsettled() bool { return l.nudged.Load() != l.replied.Load() }
