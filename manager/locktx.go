package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// BeginTx begins a transaction on the session that has the lock, which must have been acquired with [WithDedicatedSession]: otherwise the
// error is [ErrNotDedicated]. The transaction and the lock share their fate. When a session ends, however it ends, PostgreSQL aborts its
// transaction before it releases its locks: so no work in the transaction is committed after somebody else was granted the lock, not even
// where the loss of the lock is noticed late.
//
// One transaction at a time is open, else the error is [ErrTxOpen]; another may follow. It ends by Commit or Rollback. Where the hold ends
// before, it is rolled back, so that Commit fails; a Release that does so returns ErrTxOpen, and has released the lock. The transaction is
// used as any pgx.Tx: by one goroutine at a time. [pgx.BeginTxFunc] takes a Lock.
//
// ctx bounds the call, and is not the life of the transaction. A context that ends while a statement of the transaction is under way,
// BEGIN and COMMIT included, ends the session, and the lock with it: pgx closes the connection then, and a statement that was cut short may
// have done anything. Whoever wants a statement to end sooner than the hold sets statement_timeout. A context that ends between two
// statements does no harm; Commit and Rollback with one that has ended roll back.
//
// The transaction has the settings of its role and database, as any connection's, but for idle_in_transaction_session_timeout: the server
// ends a session whose client has stopped, and no other. What it changes in the session, with SET or a temporary table, is there for the
// lock's next transaction, and ends with the hold: the session is then closed. It must leave the lock and the session's prepared
// statements alone: after DISCARD ALL, DEALLOCATE ALL or pg_advisory_unlock_all the lock is lost. A transaction that is prepared for a commit in two phases
// (PREPARE TRANSACTION) leaves the session, outlives the lock, and may be committed after the next holder was granted it.
//
// Transactions of BeginTx are not ordered with those of [Guard], unless all holders have tokens: a holder without one does not wait for the
// guarded transaction of an earlier one.
func (l *Lock) BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error) {
	tx, err := l.beginTx(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("begin a transaction under %s (id %d): %w", quoteKey(l.Key()), l.ID(), err)
	}
	return tx, nil
}

func (l *Lock) beginTx(ctx context.Context, options pgx.TxOptions) (*pg.Tx, error) {
	solo, own := l.claim.Session.(*pg.Solo)
	switch {
	case ctx == nil:
		return nil, ErrNilContext
	case l.set != nil:
		return nil, fmt.Errorf("%w, and without WithHashes: two locks have no session in common", ErrNotDedicated)
	case l.claim.Shared:
		return nil, fmt.Errorf("%w, and not shared", ErrNotDedicated)
	case !l.claim.Dedicated || !own:
		return nil, ErrNotDedicated
	case l.manager.config.sessions.InTransaction:
		return nil, errors.New("with WithTransactionPooler the session is in a transaction already: use AcquireTx in one of your own")
	case ctx.Err() != nil:
		return nil, contextReason(ctx)
	}
	if err := l.Err(); err != nil {
		return nil, err
	}
	bound := aloof{&parent{Context: ctx, done: ctx.Done()}} // before the session is asked
	loan, err := solo.NewLoan(l.claim.ID, options)
	if err != nil {
		return nil, err
	}
	if !l.claim.Lend(loan) {
		return nil, l.overBy(actor.ErrReleased)
	}
	tx, err := loan.Begin(bound)
	if err != nil {
		if err = l.overBy(err); bound.Err() != nil {
			err = withCause(ctx, err)
		}
		return nil, err
	}
	l.tx.Store(tx)
	if err := l.claim.Over(); err != nil { // it did not see the transaction
		tx.Abandon()
	}
	return tx, nil
}

// overBy is why the hold is over, or err where it is not.
func (l *Lock) overBy(err error) error {
	switch over := l.Err(); {
	case over == nil:
		return err
	case err == actor.ErrReleased || errors.Is(over, err): //nolint:errorlint // a guess; or it would be said twice
		return over
	default:
		return fmt.Errorf("%w: %w", over, err)
	}
}

// aloof is a user's context as a driver sees it. None of its own methods runs inside of the driver while it has not ended: one that panics, or ends the
// goroutine, would leave the driver's goroutines behind.
type aloof struct{ parent *parent }

func (a aloof) Deadline() (time.Time, bool) { return time.Time{}, false }
func (a aloof) Done() <-chan struct{}       { return a.parent.done }
func (a aloof) Value(any) any               { return nil }
func (a aloof) Err() error {
	if !isClosed(a.parent.done) {
		return nil
	}
	return a.parent.Err()
}

// withCause adds the cause that a context's owner gave for its end, where a driver says no more than that it has ended.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// leaveTx ends the transaction that is open when the hold ends.
func (l *Lock) leaveTx(cause error) {
	tx := l.tx.Load()
	if tx == nil || !tx.Open() {
		return
	}
	if cause == ErrReleased { //nolint:errorlint // that very value
		l.txLeft.Store(true)
	}
	tx.Abandon()
}

// withTx says, of the outcome of a release, that a transaction was open.
func (l *Lock) withTx(outcome error) error {
	switch {
	case !l.txLeft.Load():
		return outcome
	case outcome == nil:
		return fmt.Errorf("%w: it is rolled back, and the lock is released", ErrTxOpen)
	default:
		return fmt.Errorf("%w: it is rolled back: %w", ErrTxOpen, outcome)
	}
}
