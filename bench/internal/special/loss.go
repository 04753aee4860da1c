package special

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// loss terminates a session that holds many locks, again and again, and measures until each handle's context has ended.
type loss struct{ rounds, handles int }

const (
	lossApplication = "lockkeeper-bench-loss"
	// toldBound is how long a handle may fail to hear before the round has failed.
	toldBound = 30 * time.Second
)

func (l loss) run(ctx context.Context, s scenario.Setup) (scenario.Result, error) {
	if s.Quick {
		l.rounds /= 4
	}
	system, ok := s.System.(peer.Losing)
	if !ok {
		return scenario.Result{}, fmt.Errorf("%w: its locks do not tell of a loss", scenario.ErrNotApplicable)
	}
	client, err := system.OpenOne(ctx, s.Env, lossApplication)
	if err != nil {
		return scenario.Result{}, fmt.Errorf("opening: %w", err)
	}
	result, err := l.measure(ctx, s, system, client)
	return result, errors.Join(err, client.Close())
}

func (l loss) measure(ctx context.Context, s scenario.Setup, system peer.Losing, client peer.Client) (scenario.Result, error) {
	admin, err := pgx.Connect(ctx, s.AdminDSN)
	if err != nil {
		return scenario.Result{}, err
	}
	defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }()
	var handles, raws latency.Histogram
	var longest time.Duration
	for n := range l.rounds {
		took, err := l.round(ctx, admin, system, client, &handles)
		if err != nil {
			return scenario.Result{}, fmt.Errorf("round %d: %w", n, err)
		}
		longest = max(longest, took)
		if took, err = rawLoss(ctx, s.AdminDSN, admin); err != nil {
			return scenario.Result{}, fmt.Errorf("raw round %d: %w", n, err)
		}
		raws.Record(took)
	}
	told, raw := handles.Percentiles(), raws.Percentiles()
	return scenario.Result{Extra: map[string]float64{
		"loss_p50_us": us(told.P50), "loss_p99_us": us(told.P99), "loss_max_us": us(longest),
		"raw_p50_us": us(raw.P50), "raw_p99_us": us(raw.P99),
		"rounds": float64(l.rounds), "handles": float64(l.handles * l.rounds),
	}}, nil
}

// round returns how long it took until the last handle had heard. A handle that never hears is a failure.
func (l loss) round(ctx context.Context, admin *pgx.Conn, system peer.Losing, client peer.Client,
	all *latency.Histogram) (time.Duration, error) {
	locks := make([]peer.Held, l.handles)
	err := together(l.handles, func(i int) (err error) {
		locks[i], err = client.Lock(ctx, "bench/loss/"+strconv.Itoa(i))
		return err
	})
	if err != nil {
		return 0, err
	}
	heard := make(chan time.Duration, l.handles)
	told := make([]func() error, len(locks))
	for i, lock := range locks {
		var lost <-chan struct{}
		lost, told[i] = system.Loss(lock)
		go func() {
			<-lost
			heard <- now()
		}()
	}
	var pid, held int
	err = admin.QueryRow(ctx, `SELECT a.pid, count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = $1 GROUP BY a.pid ORDER BY 2 DESC LIMIT 1`,
		lossApplication).Scan(&pid, &held)
	if err != nil {
		return 0, err
	}
	if held != l.handles {
		return 0, fmt.Errorf("the session has %d locks instead of %d", held, l.handles)
	}
	killed := now()
	if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend($1)", pid); err != nil {
		return 0, err
	}
	var longest time.Duration
	late := time.NewTimer(toldBound)
	defer late.Stop()
	for range locks {
		select {
		case at := <-heard:
			all.Record(at - killed)
			longest = max(longest, at-killed)
		case <-late.C:
			return 0, errors.New("a handle was not told")
		}
	}
	for _, err := range told {
		if err := err(); err != nil {
			return 0, err
		}
	}
	return longest, ended(ctx, admin, pid)
}

// ended waits until a terminated backend is gone. It tells its client before it releases its locks: a round that starts earlier may
// find them held, and wait for them on other sessions.
func ended(ctx context.Context, admin *pgx.Conn, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, toldBound)
	defer cancel()
	for {
		var there bool
		err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid).Scan(&there)
		if err != nil {
			return fmt.Errorf("waiting for the end of backend %d: %w", pid, err)
		}
		if !there {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("backend %d has not ended: %w", pid, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// rawLoss is how long it takes until a bare connection that is being read has heard: what no library can be below.
func rawLoss(ctx context.Context, dsn string, admin *pgx.Conn) (time.Duration, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	pid := conn.PgConn().PID()
	heard := make(chan time.Duration, 1)
	go func() {
		_, _ = conn.WaitForNotification(ctx) // which fails when the connection does
		heard <- now()
	}()
	killed := now()
	if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend($1)", pid); err != nil {
		return 0, err
	}
	select {
	case at := <-heard:
		return at - killed, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
