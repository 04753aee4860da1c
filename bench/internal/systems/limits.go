package systems

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// A limit has distinct keys only: that others wait is no matter of the server.
var errShared = fmt.Errorf("%w: it has distinct keys only", harness.ErrNotApplicable)

const pgbenchScript = `\set id random(1, %d)
SELECT pg_try_advisory_lock(:id);
SELECT pg_advisory_unlock(:id);
`

// limitPgbench is PostgreSQL's own load generator, written in C: one connection for each goroutine up to 50, a statement to
// take a random lock and one to release it. It runs for whole seconds.
func limitPgbench(ctx context.Context, s harness.Setup, l harness.Load) (harness.Result, error) {
	if !l.Distinct() {
		return harness.Result{}, errShared
	}
	program, err := findPgbench(ctx)
	if err != nil {
		return harness.Result{}, err
	}
	return s.Measure(func(r *harness.Result) (pairs float64, err error) {
		// Random ids meet now and then. With few keys they would meet too often, so there are more keys than goroutines.
		script := fmt.Sprintf(pgbenchScript, max(l.Keys, 1_000_000))
		r.Connections = min(l.Goroutines, poolSize)
		r.PairsPerSecond, pairs, err = runPgbench(ctx, program, s.Env.PostgresDSN, script, r.Connections, s.Duration)
		return pairs, err
	})
}

// maxBatch is the size from which larger batches gain nothing: what a session holds costs each of its statements.
const maxBatch = 256

const (
	trySQL    = "SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8)"
	unlockSQL = "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)"
	// Unlocks the batch before and takes the next one. Each answer is a letter.
	batchSQL = `SELECT
 coalesce((SELECT string_agg(CASE WHEN pg_advisory_unlock(u.id) THEN 't' ELSE 'f' END, '') FROM unnest($1::int8[]) AS u(id)), ''),
 coalesce((SELECT string_agg(CASE WHEN pg_try_advisory_lock(t.id) THEN 't' ELSE 'f' END, '') FROM unnest($2::int8[]) AS t(id)), '')`
)

// limitBatch is a bare loop on one connection that sends the statements of a library which batches, in the largest batches
// that still gain. Nobody waits, nothing is kept, no goroutine is woken.
func limitBatch(ctx context.Context, s harness.Setup, l harness.Load) (_ harness.Result, err error) {
	if !l.Distinct() {
		return harness.Result{}, errShared
	}
	conn, err := pgx.Connect(ctx, s.Env.PostgresDSN)
	if err != nil {
		return harness.Result{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	b := &batches{conn: conn}
	for size, from := min(maxBatch, l.Goroutines), 0; from+size <= l.Keys; from += size {
		ids := make([]int64, size)
		for i := range ids {
			ids[i] = lockID(harness.Key(from + i))
		}
		b.turns = append(b.turns, ids)
	}
	if _, err := b.run(ctx, s.Warmup, new(latency.Histogram)); err != nil {
		return harness.Result{}, err
	}
	return s.Measure(func(r *harness.Result) (float64, error) {
		var waits latency.Histogram
		began := time.Now()
		pairs, err := b.run(ctx, s.Duration, &waits)
		if err != nil {
			return 0, err
		}
		r.PairsPerSecond = pairs / time.Since(began).Seconds()
		waited := waits.Percentiles()
		r.P50, r.P99 = harness.US(waited.P50), harness.US(waited.P99)
		r.Connections, err = harness.Connections(s.ServerAddress)
		return pairs, err
	})
}

// batches are the ids of a load, in turns.
type batches struct {
	conn  *pgx.Conn
	turns [][]int64
	next  int
	held  []int64
}

// run sends batches for a time, and counts the locks taken. Each is released by the batch after it, or by the next run.
func (b *batches) run(ctx context.Context, d time.Duration, waits *latency.Histogram) (pairs float64, err error) {
	for end := time.Now().Add(d); ; {
		began := time.Now()
		if !began.Before(end) {
			return pairs, nil
		}
		ids := b.turns[b.next%len(b.turns)]
		b.next++
		if err := b.send(ctx, ids); err != nil {
			return 0, err
		}
		pairs += float64(len(ids))
		waits.Record(time.Since(began))
	}
}

// send takes and releases a single id. Of several, it takes these and releases those before. With one batch alone these are the
// same ids, which the statement may take since it unlocks first.
func (b *batches) send(ctx context.Context, ids []int64) error {
	refused := false
	if len(ids) == 1 {
		for _, sql := range []string{trySQL, unlockSQL} {
			var done bool
			if err := b.conn.QueryRow(ctx, sql, ids[0]).Scan(&done); err != nil {
				return err
			}
			refused = refused || !done
		}
	} else {
		var unlocked, taken string
		if err := b.conn.QueryRow(ctx, batchSQL, b.held, ids).Scan(&unlocked, &taken); err != nil {
			return err
		}
		b.held, refused = ids, strings.Contains(unlocked+taken, "f")
	}
	if refused {
		return errors.New("a lock that nobody else wants was refused")
	}
	return nil
}
