package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
)

// tableName is the oracle's table. namespace precedes the name of every lock.
const (
	tableName = "public.lockkeeper_chaos"
	namespace = "lockkeeper chaos"
)

func keyName(key int) string { return fmt.Sprint("chaos/", key) }

// createTable returns the statements that make the oracle's table: a row for each key.
func createTable(keys int) string {
	return fmt.Sprintf(`CREATE TABLE %s (key int PRIMARY KEY, n bigint NOT NULL DEFAULT 0, writes bigint NOT NULL DEFAULT 0,
		torn bigint NOT NULL DEFAULT 0, stale boolean NOT NULL DEFAULT false) WITH (fillfactor = 20);
		INSERT INTO %s (key) SELECT generate_series(0, %d)`, tableName, tableName, keys-1)
}

const (
	readRow = `SELECT n FROM ` + tableName + ` WHERE key = $1`
	// The statement does not keep a stale value out. It says afterwards that one came.
	writeRow = `UPDATE ` + tableName + ` SET n = $2::bigint, writes = writes + 1, stale = n <> $2::bigint - 1,
		torn = torn + CASE WHEN n = $2::bigint - 1 THEN 0 ELSE 1 END WHERE key = $1 RETURNING stale`
)

// table is the oracle in the database. A key's holder reads its row and writes the value plus one. Only the lock guards
// the two statements.
type table struct{ pool *pgxpool.Pool }

// statementBound is short, so that no holder hangs on a server that does not answer.
const statementBound = 2 * time.Second

func openTable(ctx context.Context, j *Job) (*table, error) {
	pool, err := openPool(ctx, j, fmt.Sprintf("lockkeeper-oracle p%d", j.Process), nil)
	return &table{pool}, err
}

// waitBound bounds the wait of a transaction whose client has gone.
const waitBound = 5 * time.Second

// openTransactions opens a pool for transactions that hold locks. The server ends one that falls silent, as it does a lock session.
func openTransactions(ctx context.Context, j *Job) (*pgxpool.Pool, error) {
	return openPool(ctx, j, appOf(j.Process), map[string]string{
		"statement_timeout":                   strconv.FormatInt(waitBound.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(j.SessionTimeout().Milliseconds(), 10),
	})
}

func openPool(ctx context.Context, j *Job, app string, settings map[string]string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(j.DSN)
	if err != nil {
		return nil, errors.New("the connection string cannot be parsed")
	}
	config.MaxConns = int32(min(j.Workers, 8))
	maps.Copy(config.ConnConfig.RuntimeParams, settings)
	config.ConnConfig.RuntimeParams["application_name"] = app
	config.ConnConfig.ConnectTimeout = time.Second
	// pgx asks the server to cancel a statement that a context cuts short. In a partition that would take it 15 s.
	config.ConnConfig.DialFunc = (&net.Dialer{Timeout: time.Second}).DialContext
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	return pgxpool.NewWithConfig(ctx, config)
}

// read reads a key's row while the hold's context allows it.
func read(ctx context.Context, from interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, key int) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementBound)
	defer cancel()
	err = from.QueryRow(ctx, readRow, key).Scan(&n)
	return n, err
}

// put writes if held still says so at the last moment: after the wait for a connection.
func (t *table) put(key int, n int64, held func() bool) (wrote, stale bool, outcome history.Outcome) {
	ctx, cancel := context.WithTimeout(context.Background(), statementBound)
	defer cancel()
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return false, false, history.Failed
	}
	defer conn.Release()
	if !held() {
		return false, false, history.Failed
	}
	err = conn.QueryRow(ctx, writeRow, key, n).Scan(&stale)
	switch pgErr, _ := errors.AsType[*pgconn.PgError](err); {
	case err == nil:
		return true, stale, history.OK
	case pgconn.SafeToRetry(err), errors.Is(err, pgx.ErrNoRows),
		pgErr != nil && pgErr.SeverityUnlocalized == "ERROR": // it takes its statement back; a FATAL may follow the commit
		return true, false, history.Failed
	default:
		return true, false, history.Unknown
	}
}

func (t *table) close() { t.pool.Close() }
