package pgpeer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/throughput"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// LimitBatch is a bare loop on one connection that sends the statements of a library which batches, in the largest
// batches that still gain: nobody waits, nothing is kept, no goroutine is woken.
type LimitBatch struct{}

// maxBatch is where larger batches stop to gain: what a session holds costs each of its statements.
const maxBatch = 256

const (
	trySQL    = "SELECT pg_catalog.pg_try_advisory_lock($1::pg_catalog.int8)"
	unlockSQL = "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)"
	// Unlocks the batch before and takes the next one; each answer is a letter.
	batchSQL = `SELECT
 coalesce((SELECT string_agg(CASE WHEN pg_advisory_unlock(u.id) THEN 't' ELSE 'f' END, '') FROM unnest($1::int8[]) AS u(id)), ''),
 coalesce((SELECT string_agg(CASE WHEN pg_try_advisory_lock(t.id) THEN 't' ELSE 'f' END, '') FROM unnest($2::int8[]) AS t(id)), '')`
)

var errLimitOfLoops = errors.New("a limit has no client to open")

// Name is the system's in reports.
func (LimitBatch) Name() string { return "limit-batch" }

// Open is for scenarios that take locks one by one, which this is not made for.
func (LimitBatch) Open(context.Context, peer.Env) (peer.Client, error) {
	return nil, errors.Join(scenario.ErrNotApplicable, errLimitOfLoops)
}

// Limit runs the loop. Keys that are shared are no matter of the server.
func (LimitBatch) Limit(ctx context.Context, s scenario.Setup, l throughput.Load) (_ scenario.Result, err error) {
	if !l.Distinct() {
		return scenario.Result{}, fmt.Errorf("%w: it has distinct keys only", scenario.ErrNotApplicable)
	}
	conn, err := pgx.Connect(ctx, s.Env.PostgresDSN)
	if err != nil {
		return scenario.Result{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	b := newBatches(conn, l)
	if _, err := b.until(ctx, time.Now().Add(s.Warmup), nil); err != nil {
		return scenario.Result{}, err
	}
	before, err := s.Meter.Read()
	if err != nil {
		return scenario.Result{}, err
	}
	var waits latency.Histogram
	began := time.Now()
	pairs, err := b.until(ctx, began.Add(s.Duration), &waits)
	if err != nil {
		return scenario.Result{}, err
	}
	took := time.Since(began)
	used, err := s.Meter.Since(before)
	if err != nil {
		return scenario.Result{}, err
	}
	waited := waits.Percentiles()
	result := scenario.Result{PairsPerSecond: float64(pairs) / took.Seconds(),
		P50: float64(waited.P50) / 1e3, P99: float64(waited.P99) / 1e3}
	result.CPU(used, float64(pairs))
	result.Connections, err = measure.Connections(s.ServerAddress)
	return result, err
}

// batches are the ids of a load, in turns.
type batches struct {
	conn  *pgx.Conn
	turns [][]int64
	next  int
	held  []int64
}

func newBatches(conn *pgx.Conn, l throughput.Load) *batches {
	size := min(maxBatch, l.Goroutines)
	b := &batches{conn: conn}
	for from := 0; from+size <= l.Keys; from += size {
		ids := make([]int64, size)
		for i := range ids {
			ids[i] = lockID(throughput.Key(from + i))
		}
		b.turns = append(b.turns, ids)
	}
	return b
}

// until sends batches until then, and counts the locks taken. Each was released by the batch after it, or by the next.
func (b *batches) until(ctx context.Context, then time.Time, waits *latency.Histogram) (pairs int, err error) {
	for {
		began := time.Now()
		if !began.Before(then) {
			return pairs, nil
		}
		ids := b.turns[b.next%len(b.turns)]
		b.next++
		if len(ids) == 1 {
			err = b.one(ctx, ids[0])
		} else {
			err = b.many(ctx, ids)
		}
		if err != nil {
			return 0, err
		}
		pairs += len(ids)
		if waits != nil {
			waits.Record(time.Since(began))
		}
	}
}

func (b *batches) one(ctx context.Context, id int64) error {
	for _, sql := range []string{trySQL, unlockSQL} {
		var done bool
		if err := b.conn.QueryRow(ctx, sql, id).Scan(&done); err != nil {
			return err
		}
		if !done {
			return errors.New("a lock that nobody else wants was refused")
		}
	}
	return nil
}

// many unlocks what is held and takes the next ids. With one batch of ids alone it is the same ids again, which the
// statement may do since it unlocks first.
func (b *batches) many(ctx context.Context, ids []int64) error {
	var unlocked, taken string
	if err := b.conn.QueryRow(ctx, batchSQL, b.held, ids).Scan(&unlocked, &taken); err != nil {
		return err
	}
	if strings.Contains(unlocked+taken, "f") {
		return errors.New("a lock that nobody else wants was refused")
	}
	b.held = ids
	return nil
}
