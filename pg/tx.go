package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// Tx is a transaction on a session that is lent for it.
type Tx struct {
	pgx.Tx
	loan  *Loan
	ended atomic.Bool // written by whoever ends it
}

// Begin begins a transaction on the session that the loan was asked of. It blocks until the server has begun it, the session ends, or ctx
// does; a ctx that ends while BEGIN is under way ends the session.
func (l *Loan) Begin(ctx context.Context) (*Tx, error) {
	begun := false
	defer func() { // a method of the context's may panic
		if !begun {
			l.End()
		}
	}()
	if err := l.await(ctx); err != nil {
		return nil, err
	}
	conn, err := l.connect(ctx)
	if err != nil {
		return nil, l.withLoss(err)
	}
	tx, err := conn.BeginTx(ctx, l.options)
	if err != nil {
		l.End()
		cleanUp(ctx, conn)
		return nil, l.withLoss(err)
	}
	begun = true
	return &Tx{Tx: tx, loan: l}, nil
}

// checkOptions refuses what is no option of BEGIN.
func checkOptions(o pgx.TxOptions) error {
	levels := []pgx.TxIsoLevel{"", pgx.Serializable, pgx.RepeatableRead, pgx.ReadCommitted, pgx.ReadUncommitted}
	modes, deferrable := []pgx.TxAccessMode{"", pgx.ReadWrite, pgx.ReadOnly}, []pgx.TxDeferrableMode{"", pgx.Deferrable, pgx.NotDeferrable}
	if !slices.Contains(levels, o.IsoLevel) || !slices.Contains(modes, o.AccessMode) || !slices.Contains(deferrable, o.DeferrableMode) {
		return fmt.Errorf("the options of the transaction are not ones of PostgreSQL's: %q, %q, %q", o.IsoLevel, o.AccessMode, o.DeferrableMode)
	}
	return nil
}

// loanDSN says all that the environment, or a password file, would say of a connection to a server, which a pipe is not: the session has logged in.
const loanDSN = "host=/lockkeeper port=5432 user=lockkeeper password=none database=lockkeeper sslmode=disable sslnegotiation=postgres sslcertmode=disable " +
	"channel_binding=disable require_auth='' target_session_attrs=any min_protocol_version=3.0 max_protocol_version=3.0 connect_timeout=0"

// loanConfig is what pgx needs to connect to a pipe: where to does not matter.
func loanConfig() (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(loanDSN)
	if err != nil {
		return nil, errors.New("the environment has settings for PostgreSQL that pgx does not take")
	}
	c.Fallbacks, c.TLSConfig, c.RuntimeParams, c.ConnectTimeout = nil, nil, map[string]string{}, 0
	c.ValidateConnect, c.AfterConnect, c.KerberosSrvName, c.KerberosSpn = nil, nil, "", ""
	// The session's next transaction has a connection of its own, which knows nothing of statements that are there already.
	c.DefaultQueryExecMode, c.StatementCacheCapacity = pgx.QueryExecModeCacheDescribe, 0
	return c, nil
}

var errNoDial = errors.New("a statement of a lock's transaction is cancelled by the end of its session")

// connect is a pgx connection on the holder's end of the pipe.
func (l *Loan) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := loanConfig()
	if err != nil {
		return nil, err
	}
	dialled := false
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if dialled {
			return nil, errNoDial
		}
		dialled = true
		return l.outer, nil
	}
	return pgx.ConnectConfig(ctx, config)
}

// Open reports whether the transaction is open, as far as the client knows.
func (t *Tx) Open() bool { return !t.ended.Load() }

// Abandon ends the transaction, if it is open, without waiting: see [Loan.End].
func (t *Tx) Abandon() { t.loan.End() }

// Commit implements [pgx.Tx], as does Rollback. Where ctx has ended, nothing is sent but a rollback.
func (t *Tx) Commit(ctx context.Context) error { return t.finish(ctx, t.Tx.Commit) }

// Rollback rolls back. Where ctx has ended it does not wait for that.
func (t *Tx) Rollback(ctx context.Context) error { return t.finish(ctx, t.Tx.Rollback) }

func (t *Tx) finish(ctx context.Context, how func(context.Context) error) error {
	if t.ended.Load() {
		return pgx.ErrTxClosed
	}
	err := ctx.Err()
	if err == nil {
		err = how(ctx)
	}
	t.ended.Store(true)
	t.loan.End()
	cleanUp(ctx, t.Conn())
	return t.loan.withLoss(err)
}

// cleanUp waits for what pgx does in the background with a connection that it has closed.
func cleanUp(ctx context.Context, conn *pgx.Conn) {
	if !conn.IsClosed() {
		return
	}
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}

// withLoss says that the session is lost, where that is why something failed.
func (l *Loan) withLoss(err error) error {
	if lost := l.solo.Lost(); err != nil && lost != nil {
		return fmt.Errorf("%w; %w", err, lost)
	}
	return err
}
