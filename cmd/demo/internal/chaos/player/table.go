package player

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
)

// table is the oracle in the database: a row for each key, which its holder reads, and writes the value plus one. Nothing
// guards the two statements but the lock.
type table struct {
	pool        *pgxpool.Pool
	read, write string
}

// statementBound is short, so that a holder does not hang on a server that does not answer.
const statementBound = 2 * time.Second

func openTable(ctx context.Context, job *Job) (*table, error) {
	config, err := pgxpool.ParseConfig(job.DSN)
	if err != nil {
		return nil, errors.New("the connection string cannot be parsed")
	}
	config.MaxConns = int32(min(job.Workers, 8))
	config.ConnConfig.RuntimeParams["application_name"] = job.OracleApp
	config.ConnConfig.ConnectTimeout = time.Second
	// pgx asks the server to cancel what a context has cut short; in a partition that would take it 15 s.
	config.ConnConfig.DialFunc = (&net.Dialer{Timeout: time.Second}).DialContext
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &table{
		pool: pool,
		read: `SELECT n FROM ` + job.Table + ` WHERE key = $1`,
		// Nothing here keeps a stale value out; the rest says afterwards that one came.
		write: `UPDATE ` + job.Table + ` SET n = $2::bigint, writes = writes + 1, stale = n <> $2::bigint - 1,
			torn = torn + CASE WHEN n = $2::bigint - 1 THEN 0 ELSE 1 END WHERE key = $1 RETURNING stale`,
	}, nil
}

// get reads, as long as the lock's context allows.
func (t *table) get(ctx context.Context, key int) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementBound)
	defer cancel()
	err = t.pool.QueryRow(ctx, t.read, key).Scan(&n)
	return n, err
}

// put writes, provided that held says so at the last moment: after the wait for a connection.
func (t *table) put(key int, n int64, held func() bool) (wrote, stale bool, outcome event.Outcome) {
	ctx, cancel := context.WithTimeout(context.Background(), statementBound)
	defer cancel()
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return false, false, event.Failed
	}
	defer conn.Release()
	if !held() {
		return false, false, event.Failed
	}
	err = conn.QueryRow(ctx, t.write, key, n).Scan(&stale)
	switch {
	case err == nil:
		return true, stale, event.OK
	case certainlyNotWritten(err):
		return true, false, event.Failed
	default:
		return true, false, event.Unknown
	}
}

func certainlyNotWritten(err error) bool {
	if pgconn.SafeToRetry(err) || errors.Is(err, pgx.ErrNoRows) {
		return true
	}
	// An ERROR takes its statement back. A FATAL may arrive between the commit and its confirmation.
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.SeverityUnlocalized == "ERROR"
}

func (t *table) close() { t.pool.Close() }

// CreateTable is the statement that makes the table with its rows.
func CreateTable(name string, keys int) string {
	return fmt.Sprintf(`CREATE TABLE %s (key int PRIMARY KEY, n bigint NOT NULL DEFAULT 0, writes bigint NOT NULL DEFAULT 0,
		torn bigint NOT NULL DEFAULT 0, stale boolean NOT NULL DEFAULT false) WITH (fillfactor = 20);
		INSERT INTO %s (key) SELECT generate_series(0, %d)`, name, name, keys-1)
}

// KeyName is the lock's name of a key.
func KeyName(key int) string { return fmt.Sprint("chaos/", key) }
