package oracle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

// statementBound is how long a read or a write may take. It is generous, because a write that is given up leaves doubt
// about its outcome.
const statementBound = 30 * time.Second

// ErrUncertain marks a write that was sent and whose outcome is not known.
var ErrUncertain = errors.New("the write's outcome is not known")

// Book is a worker process's way to the counters.
type Book struct {
	pool        *pgxpool.Pool
	read, write string
}

// OpenBook connects to the counters of table with at most size connections.
func OpenBook(ctx context.Context, dsn, app, table string, size int) (*Book, error) {
	config, err := server.Config(dsn, app)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = int32(size), 0
	// Defaults of the role or the database do not apply: a stricter isolation level would refuse the very writes that the
	// oracle is there to see, and a statement timeout would leave them in doubt.
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the connections to the counters: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("opening the connections to the counters: %w", err)
	}
	return &Book{
		pool: pool,
		read: `SELECT n FROM ` + table + ` WHERE key = $1`,
		// Nothing here keeps a stale value out; the other two columns only say afterwards that one came.
		write: `UPDATE ` + table + ` SET n = $2::bigint, writes = writes + 1,
			torn = torn + CASE WHEN n = $2::bigint - 1 THEN 0 ELSE 1 END WHERE key = $1`,
	}, nil
}

// Read returns the key's counter.
func (b *Book) Read(key int) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statementBound)
	defer cancel()
	var n uint64
	if err := b.pool.QueryRow(ctx, b.read, key).Scan(&n); err != nil {
		return 0, fmt.Errorf("reading the counter: %w", err)
	}
	return n, nil
}

// Write sets the key's counter, provided that held says so at the last moment: after the wait for a connection. It takes
// no context: a write that has begun is always brought to its end, whatever happens to the lock's context meanwhile, so
// that its outcome is known. Where it is not, the error is ErrUncertain.
func (b *Book) Write(key int, n uint64, held func() bool) (wrote bool, _ error) {
	ctx, cancel := context.WithTimeout(context.Background(), statementBound)
	defer cancel()
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("writing the counter: %w", err)
	}
	defer conn.Release()
	if !held() {
		return false, nil
	}
	tag, err := conn.Exec(ctx, b.write, key, n)
	if err != nil {
		if certainlyNotWritten(err) {
			return false, fmt.Errorf("writing the counter: %w", err)
		}
		return true, fmt.Errorf("writing the counter: %w: %w", ErrUncertain, err)
	}
	if tag.RowsAffected() != 1 {
		return false, fmt.Errorf("writing the counter: its row has vanished (%d rows written)", tag.RowsAffected())
	}
	return true, nil
}

func certainlyNotWritten(err error) bool {
	if pgconn.SafeToRetry(err) {
		return true
	}
	// An ERROR takes its statement back. A FATAL may arrive between the commit and its confirmation.
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.SeverityUnlocalized == "ERROR"
}

// Close ends the connections.
func (b *Book) Close() { b.pool.Close() }
