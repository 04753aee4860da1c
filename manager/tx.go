package manager

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5"
)

// AcquireTx takes the lock of a key in a transaction of the caller's, a pgx.Tx or an *sql.Tx, waiting for as long as somebody else holds
// it. No manager is needed. The lock is the transaction's: PostgreSQL releases it at commit or rollback, and nothing else does. It
// excludes the locks that managers hold for the same key with the same [WithNamespace] and [WithHash], and other transactions.
// Since it needs no session of its own it works behind a pooler in transaction mode. Where a standby answers the error is [ErrUnsafe].
//
// The wait is bounded by [WithWaitTimeout], and by ctx's deadline less a tenth: then the error is [ErrWaitTimeout] or
// context.DeadlineExceeded, and a savepoint has kept the transaction usable. A ctx that is cancelled during the wait ends it as any statement of
// the driver's, which breaks the transaction. A lock that is free takes one round trip, a bounded wait seven.
//
// Under REPEATABLE READ and SERIALIZABLE the first statement fixes what the transaction sees: if that is the wait for the lock, what
// the last holder wrote is not seen. Use READ COMMITTED, PostgreSQL's default, or lock in a transaction of its own.
func AcquireTx(ctx context.Context, tx any, key string, opts ...TxOption) error {
	return acquireTx(ctx, tx, key, (*txLock).wait, opts)
}

// TryAcquireTx is [AcquireTx] that does not wait: where somebody holds the lock the error is [ErrNotAcquired], and the transaction goes on.
// It takes one round trip.
func TryAcquireTx(ctx context.Context, tx any, key string, opts ...TxOption) error {
	return acquireTx(ctx, tx, key, func(*txLock, context.Context) error { return ErrNotAcquired }, opts)
}

// acquireTx tries the lock, and calls held where somebody holds it.
func acquireTx(ctx context.Context, tx any, key string, held func(*txLock, context.Context) error, opts []TxOption) error {
	l, err := newTxLock(ctx, tx, key, opts)
	if err != nil {
		return l.failure(err)
	}
	l.begun = time.Now()
	return l.failure(l.lock(ctx, held))
}

// lockOne takes the lock of the id.
func (l *txLock) lockOne(ctx context.Context, held func(*txLock, context.Context) error) error {
	free, err := l.try(ctx)
	if err == nil && !free {
		err = held(l, ctx)
	}
	return err
}

// TxOption changes [AcquireTx] and [TryAcquireTx]: [WithNamespace] and [WithHash] or [WithHashes], which must be those of the managers
// whose locks are to be excluded, [WithWaitTimeout] and [WithSharedTx]. Other options have no effect there.
type TxOption interface{ ofTx(o *txOptions) }

type txOptions struct {
	config  config
	acquire acquireOptions
	shared  bool
}

func (f Option) ofTx(o *txOptions) {
	if f != nil {
		f(&o.config)
	}
}

func (f AcquireOption) ofTx(o *txOptions) {
	if f != nil {
		f(&o.acquire)
	}
}

type sharedTx struct{}

func (sharedTx) ofTx(o *txOptions) { o.shared = true }

// WithSharedTx takes the lock with others who share it: it excludes only those who do not share.
func WithSharedTx() TxOption { return sharedTx{} }

// txLock is one acquisition in a transaction.
type txLock struct {
	tx      transaction
	key     string
	id      int64
	second  int64 // of WithHashes; else it is id
	options txOptions
	begun   time.Time
	tried   int
}

func newTxLock(ctx context.Context, tx any, key string, opts []TxOption) (*txLock, error) {
	l := &txLock{key: key}
	for _, o := range opts {
		if o != nil {
			o.ofTx(&l.options)
		}
	}
	first, second := l.options.config.ids()
	l.id = first(key)
	if l.second = l.id; second != nil {
		l.second = second(key)
	}
	var noTx error
	l.tx, noTx = transactionOf(tx)
	bad := l.options.acquire.checkWaitTimeout()
	switch {
	case ctx == nil:
		return l, ErrNilContext
	case key == "":
		return l, ErrEmptyKey
	case bad != nil:
		return l, bad
	case noTx != nil:
		return l, noTx
	case ctx.Err() != nil:
		return l, contextReason(ctx)
	}
	return l, nil
}

func (l *txLock) failure(err error) error {
	if err == nil {
		return nil
	}
	e := &AcquireError{Key: l.key, ID: l.id, Shared: l.options.shared, Reason: err, Attempts: l.tried}
	if !l.begun.IsZero() {
		e.Waited = time.Since(l.begun)
	}
	return e
}

// mode is the end of the server's functions' names.
func (l *txLock) mode() string {
	if l.options.shared {
		return "_shared"
	}
	return ""
}

func (l *txLock) try(ctx context.Context) (free bool, err error) {
	l.tried++
	var answer *bool
	err = l.tx.row(ctx, &answer, "SELECT "+onPrimary("pg_catalog.pg_try_advisory_xact_lock"+l.mode()+"($1::pg_catalog.int8)"), l.id)
	switch {
	case err != nil:
		return false, err
	case answer == nil:
		return false, errTxOnStandby
	}
	return *answer, nil
}

// onPrimary is null on a standby, and does nothing there. A proxy that balances reads over standbys may send the statement to one while what the
// transaction writes goes to the primary.
func onPrimary(expression string) string {
	return "CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN " + expression + " END"
}

var errTxOnStandby = fmt.Errorf("%w: a standby has answered, whose locks exclude nobody on the primary; begin the transaction on the primary; a "+
	"proxy must not balance reads over standbys (pgpool-II: load_balance_mode = off)", ErrUnsafe)

// queue asks for the lock in the server's queue.
func (l *txLock) queue(ctx context.Context) error {
	var answer *string
	err := l.tx.row(ctx, &answer, "SELECT "+onPrimary("pg_catalog.concat(pg_catalog.pg_advisory_xact_lock"+l.mode()+"($1::pg_catalog.int8))"), l.id)
	if err == nil && answer == nil {
		err = errTxOnStandby
	}
	return err
}

const (
	// A wait ends before ctx's deadline, so that the driver does not break the transaction then: by a tenth of what is left, and
	// at least by leastMargin.
	marginShare = 10
	leastMargin = 50 * time.Millisecond
	// longestWait is the longest lock_timeout that the server takes: 24 days.
	longestWait = math.MaxInt32 * time.Millisecond
	lockTimeout = "SELECT pg_catalog.set_config('lock_timeout'::pg_catalog.text, $1::pg_catalog.text, true)"
)

// bound is how long the wait may take, and what the error is after it; 0 if it is not bounded.
func (l *txLock) bound(ctx context.Context) (bound time.Duration, over error) {
	o := &l.options.acquire
	if o.bounded {
		bound, over = max(o.waitTimeout-time.Since(l.begun), time.Millisecond), ErrWaitTimeout
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		left = max(left-max(left/marginShare, leastMargin), time.Millisecond)
		if bound == 0 || left < bound {
			bound, over = left, context.DeadlineExceeded
		}
	}
	return min(bound, longestWait), over
}

// wait waits in the server's queue. The transaction's own lock_timeout is put back, whatever comes of it.
func (l *txLock) wait(ctx context.Context) error {
	if l.options.acquire.bounded && l.options.acquire.waitTimeout == 0 {
		return ErrWaitTimeout // it was tried
	}
	l.tried++
	bound, over := l.bound(ctx)
	if bound == 0 {
		return l.queue(ctx)
	}
	var before string
	err := l.tx.row(ctx, &before, "SELECT pg_catalog.current_setting('lock_timeout'::pg_catalog.text)")
	if err != nil {
		return err
	}
	if err = l.tx.exec(ctx, "SAVEPOINT lockkeeper"); err != nil {
		return err
	}
	err = l.tx.exec(ctx, lockTimeout, fmt.Sprintf("%dms", (bound+time.Millisecond-1)/time.Millisecond))
	if err == nil {
		err = l.queue(ctx)
	}
	if err == nil {
		err = l.tx.exec(ctx, lockTimeout, before)
	} else if rollback := l.tx.exec(ctx, "ROLLBACK TO SAVEPOINT lockkeeper"); rollback != nil {
		return errors.Join(err, rollback)
	}
	if server, ok := serverErrorOf(err); ok && server.code == "55P03" { // lock_not_available
		err = over
	}
	if release := l.tx.exec(ctx, "RELEASE SAVEPOINT lockkeeper"); release != nil {
		return errors.Join(err, release)
	}
	return err
}

// transaction is what the two kinds have in common.
type transaction interface {
	exec(ctx context.Context, sql string, args ...any) error
	row(ctx context.Context, dest any, sql string, args ...any) error
}

// isNil reports whether a value of an interface's is nil, or a pointer that is: its methods would panic.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// transactionOf is a user's transaction.
func transactionOf(tx any) (transaction, error) {
	if isNil(tx) {
		return nil, noTransaction(tx)
	}
	switch t := tx.(type) {
	case pgx.Tx:
		return pgxTx{t}, nil
	case *sql.Tx:
		return sqlTx{t}, nil
	}
	return nil, noTransaction(tx)
}

func noTransaction(tx any) error {
	return fmt.Errorf("a transaction is needed, a pgx.Tx or an *sql.Tx that is not nil: this is %T", tx)
}

type pgxTx struct{ tx pgx.Tx }

func (t pgxTx) exec(ctx context.Context, sql string, args ...any) error {
	_, err := t.tx.Exec(ctx, sql, args...)
	return err
}

func (t pgxTx) row(ctx context.Context, dest any, sql string, args ...any) error {
	return t.tx.QueryRow(ctx, sql, args...).Scan(dest)
}

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) exec(ctx context.Context, sql string, args ...any) error {
	_, err := t.tx.ExecContext(ctx, sql, args...)
	return err
}

func (t sqlTx) row(ctx context.Context, dest any, sql string, args ...any) error {
	return t.tx.QueryRowContext(ctx, sql, args...).Scan(dest)
}
