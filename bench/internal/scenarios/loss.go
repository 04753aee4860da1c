package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	postgres "github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// loss terminates a session that holds many locks, again and again, and measures until each handle's context has ended.
type loss struct{ rounds, handles int }

const (
	lossApplication = "lockkeeper-bench-loss"
	// toldBound is how long a handle may fail to hear before the round has failed.
	toldBound = 30 * time.Second
)

func (l loss) run(ctx context.Context, s harness.Setup) (result harness.Result, err error) {
	if s.Quick {
		l.rounds /= 4
	}
	if s.System.Loss == nil {
		return result, fmt.Errorf("%w: its locks do not tell of a loss", harness.ErrNotApplicable)
	}
	open := s.System.OpenOne
	s.System.Open = func(ctx context.Context, e harness.Env) (harness.Client, error) { return open(ctx, e, lossApplication) }
	err = s.With(ctx, l.handles, func(client harness.Client) (err error) {
		result.Extra, err = l.measure(ctx, s, client)
		return err
	})
	return result, err
}

func (l loss) measure(ctx context.Context, s harness.Setup, client harness.Client) (map[string]float64, error) {
	admin, err := postgres.Connect(ctx, s.AdminDSN)
	if err != nil {
		return nil, err
	}
	defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }()
	var handles, raws latency.Histogram
	for n := range l.rounds {
		if err := l.round(ctx, admin, s.System, client, &handles); err != nil {
			return nil, fmt.Errorf("round %d: %w", n, err)
		}
		took, err := rawLoss(ctx, s.AdminDSN, admin)
		if err != nil {
			return nil, fmt.Errorf("raw round %d: %w", n, err)
		}
		raws.Record(took)
	}
	told, raw := handles.Percentiles(), raws.Percentiles()
	return map[string]float64{
		"loss_p50_us": harness.US(told.P50), "loss_p99_us": harness.US(told.P99), "loss_max_us": harness.US(told.Max),
		"raw_p50_us": harness.US(raw.P50), "raw_p99_us": harness.US(raw.P99),
		"rounds": float64(l.rounds), "handles": float64(l.handles * l.rounds),
	}, nil
}

// round records how long it takes until each handle has heard. A handle that never hears is a failure.
func (l loss) round(ctx context.Context, admin *postgres.Conn, system harness.System, client harness.Client,
	all *latency.Histogram) error {
	locks := make([]harness.Held, l.handles)
	err := together(l.handles, func(i int) (err error) {
		locks[i], err = client.Lock(ctx, "bench/loss/"+strconv.Itoa(i))
		return err
	})
	if err != nil {
		return err
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
		return err
	}
	if held != l.handles {
		return fmt.Errorf("the session has %d locks instead of %d", held, l.handles)
	}
	killed := now()
	if _, err := admin.Exec(ctx, "SELECT pg_terminate_backend($1)", pid); err != nil {
		return err
	}
	late := time.NewTimer(toldBound)
	defer late.Stop()
	for range locks {
		select {
		case at := <-heard:
			all.Record(at - killed)
		case <-late.C:
			return errors.New("a handle was not told")
		}
	}
	for _, err := range told {
		if err := err(); err != nil {
			return err
		}
	}
	return ended(ctx, admin, pid)
}

// ended waits until a terminated backend is gone. It tells its client before it releases its locks: a round that starts earlier
// may find them held, and wait for them on other sessions.
func ended(ctx context.Context, admin *postgres.Conn, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, toldBound)
	defer cancel()
	for there := true; there; {
		err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid).Scan(&there)
		if err == nil && there {
			err = interrupt.Sleep(ctx, time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("waiting for the end of backend %d: %w", pid, err)
		}
	}
	return nil
}

// rawLoss is how long it takes until a bare connection that is being read has heard: what no library can be below.
func rawLoss(ctx context.Context, dsn string, admin *postgres.Conn) (time.Duration, error) {
	conn, err := postgres.Connect(ctx, dsn)
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
