package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/manager"
)

var errStatement = errors.New("a statement of the transaction failed")

// transaction is a transaction of the worker's own, which holds a key's lock. It believes that it does because of its statements' answers.
type transaction struct{ pgx.Tx }

func (transaction) Context() context.Context { return context.Background() }

func (t transaction) Err() error {
	return t.do(func(ctx context.Context) error { return t.run(ctx, "SELECT 1") })
}

func (t transaction) Release(ctx context.Context) error { return t.Rollback(ctx) }

func (t transaction) run(ctx context.Context, sql string) error {
	_, err := t.Exec(ctx, sql)
	return err
}

// do bounds a statement.
func (transaction) do(statement func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementBound)
	defer cancel()
	if err := statement(ctx); err != nil {
		return fmt.Errorf("%w: %w", errStatement, err)
	}
	return nil
}

// transact takes a key's lock in a transaction.
func (u user) transact(e *entry) bool {
	if e.use == plan.SharedTx {
		e.room = history.Everyone
	}
	var t transaction
	err := t.do(func(ctx context.Context) (err error) {
		t.Tx, err = u.txs.Begin(ctx)
		return err
	})
	if err != nil {
		u.count("begin", err)
		return false
	}
	defer func() { _ = release(t) }() // after a commit this does nothing
	opts := []manager.TxOption{manager.WithNamespace(namespace)}
	if e.room > 1 {
		opts = append(opts, manager.WithSharedTx())
	}
	call := manager.AcquireTx
	switch u.IntN(4) {
	case 0:
		e.flags = history.Try
		call = manager.TryAcquireTx
	case 1, 2:
		opts = append(opts, manager.WithWaitTimeout(time.Duration(1+u.IntN(200))*time.Millisecond))
	}
	ctx, w := u.arm(context.Background(), e)
	defer w.cancel()
	e.begin()
	err = call(ctx, t, keyName(e.keys[0]), opts...)
	alive := u.disarm(w)
	if err == nil { // by the answer alone it does not know that it still holds
		if e.granted(t) {
			u.workInside(e, t)
		}
		return true
	}
	if refused, _ := errors.AsType[*pgconn.PgError](t.Err()); refused != nil && refused.Code == "25P02" && errors.Is(err, manager.ErrWaitTimeout) {
		u.broken("%v: it left the transaction unusable", err)
	}
	return u.refused(e, err, alive)
}

// workInside does in a transaction what work does beside a hold. Whether the hold lasted until the commit is known when that has been answered.
func (u user) workInside(e *entry, t transaction) {
	key := e.keys[0]
	var n, again int64
	err := t.do(func(ctx context.Context) (err error) { n, err = read(ctx, t, key); return err })
	if err != nil {
		e.lost(history.ByStatement)
		return
	}
	if !u.holdOn(e, t) {
		return
	}
	stale, outcome, sent := false, history.OK, now()
	err = t.do(func(ctx context.Context) (err error) {
		if e.room > 1 {
			again, err = read(ctx, t, key)
			return err
		}
		return t.QueryRow(ctx, writeRow, key, n+1).Scan(&stale)
	})
	if err == nil {
		e.looked = sent
		sent = now()
		if err = t.do(t.Commit); err != nil {
			outcome = history.Unknown
		}
		switch {
		case e.room == 1:
			e.wrote(e.looked, stale, outcome)
		case again != n:
			e.reread()
		}
	}
	if err != nil {
		e.lost(history.ByStatement)
		return
	}
	e.letting(sent)
	e.let(history.OK, history.NoCause)
}
