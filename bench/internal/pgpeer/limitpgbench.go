package pgpeer

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgbench"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/throughput"
)

// LimitPgbench is PostgreSQL's own load generator, written in C: one connection per goroutine up to 50, a statement to
// take a random lock and one to release it.
type LimitPgbench struct{}

const pgbenchScript = `\set id random(1, %d)
SELECT pg_try_advisory_lock(:id);
SELECT pg_advisory_unlock(:id);
`

// Name is the system's in reports.
func (LimitPgbench) Name() string { return "limit-pgbench" }

// Open is for scenarios that take locks one by one, which this is not made for.
func (LimitPgbench) Open(context.Context, peer.Env) (peer.Client, error) {
	return nil, errors.Join(scenario.ErrNotApplicable, errLimitOfLoops)
}

// Limit runs pgbench, for whole seconds since it takes no other.
func (LimitPgbench) Limit(ctx context.Context, s scenario.Setup, l throughput.Load) (scenario.Result, error) {
	if !l.Distinct() {
		return scenario.Result{}, fmt.Errorf("%w: it has distinct keys only", scenario.ErrNotApplicable)
	}
	program, err := pgbench.Find(ctx)
	if err != nil {
		return scenario.Result{}, err
	}
	before, err := s.Meter.Read()
	if err != nil {
		return scenario.Result{}, err
	}
	clients := min(l.Goroutines, poolSize)
	// Random ids meet now and then; with few keys too often, so that there are more of them than goroutines.
	rate, err := pgbench.Run(ctx, program, s.Env.PostgresDSN,
		pgbench.Load{Script: fmt.Sprintf(pgbenchScript, max(l.Keys, 1_000_000)), Clients: clients, Duration: s.Duration})
	if err != nil {
		return scenario.Result{}, err
	}
	used, err := s.Meter.Since(before)
	if err != nil {
		return scenario.Result{}, err
	}
	result := scenario.Result{PairsPerSecond: rate.PerSecond, Connections: clients}
	result.CPU(used, rate.Count)
	return result, nil
}
