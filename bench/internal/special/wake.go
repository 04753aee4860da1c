package special

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// wake measures from the call of a release in this process to the return of the acquisition in another that waits. With keys
// set, so many wait there at the same time, each on a goroutine of its own, and one after the other is released.
//
// Where the system is one on PostgreSQL, a raw blocking pg_advisory_lock does the same in turns with it, in the same run.
type wake struct{ rounds, keys int }

// rawID is the lock of the raw rounds.
const rawID = 7_201_433_921_117_463

// noticeAfter is how long a waiter is given to be waiting where it cannot be seen to be.
const noticeAfter = 20 * time.Millisecond

func (w wake) run(ctx context.Context, s scenario.Setup) (result scenario.Result, err error) {
	if s.Quick {
		w.rounds, w.keys = w.rounds/4, w.keys/10
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.Env.Goroutines = max(1, w.keys)
	client, err := s.System.Open(ctx, s.Env)
	if err != nil {
		return result, fmt.Errorf("opening: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	var admin *pgx.Conn
	if s.AdminDSN != "" {
		if admin, err = pgx.Connect(ctx, s.AdminDSN); err != nil {
			return result, err
		}
		defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }()
	}
	waiter, err := spawn(ctx, s, strconv.Itoa(w.keys))
	if err != nil {
		return result, err
	}
	defer func() {
		cancel() // what still waits there is not waited for
		_ = waiter.end()
	}()
	r := &wakeRun{wake: w, client: client, admin: admin, waiter: waiter}
	if w.keys > 0 {
		err = r.many(ctx, cancel)
	} else {
		err = r.one(ctx, s)
	}
	return r.result(), err
}

type wakeRun struct {
	wake
	client      peer.Client
	admin       *pgx.Conn
	waiter      *process
	system, raw latency.Histogram
	longest     time.Duration
}

func (r *wakeRun) result() scenario.Result {
	system, raw := r.system.Percentiles(), r.raw.Percentiles()
	result := scenario.Result{P50: us(system.P50), P99: us(system.P99), Extra: map[string]float64{
		"wake_p50_us": us(system.P50), "wake_p99_us": us(system.P99), "wake_max_us": us(r.longest),
	}}
	if raw.Count > 0 {
		result.Extra["raw_p50_us"], result.Extra["raw_p99_us"] = us(raw.P50), us(raw.P99)
		result.Extra["p50_to_raw"] = stats.Ratio(float64(system.P50), float64(raw.P50))
		result.Extra["p99_to_raw"] = stats.Ratio(float64(system.P99), float64(raw.P99))
	}
	return result
}

// one is rounds of one waiter, the system's and a raw one in turns.
func (r *wakeRun) one(ctx context.Context, s scenario.Setup) error {
	var raw *pgx.Conn
	if r.admin != nil {
		var err error
		if raw, err = pgx.Connect(ctx, s.AdminDSN); err != nil {
			return err
		}
		defer func() { _ = raw.Close(context.WithoutCancel(ctx)) }()
	}
	visible := inPostgres(s)
	for range r.rounds {
		took, err := r.systemRound(ctx, visible)
		if err != nil {
			return err
		}
		r.add(took)
		if raw == nil {
			continue
		}
		if took, err = r.rawRound(ctx, raw); err != nil {
			return err
		}
		r.raw.Record(took)
	}
	return nil
}

func (r *wakeRun) add(took time.Duration) {
	r.system.Record(took)
	r.longest = max(r.longest, took)
}

func (r *wakeRun) systemRound(ctx context.Context, visible bool) (time.Duration, error) {
	held, err := r.client.Lock(ctx, oneKey)
	if err != nil {
		return 0, err
	}
	if err := r.waiter.tell(order{Do: "system"}); err != nil {
		return 0, err
	}
	if visible {
		err = r.queued(ctx)
	} else {
		err = interrupt.Sleep(ctx, noticeAfter)
	}
	if err != nil {
		return 0, err
	}
	released := now()
	if err := held.Release(ctx); err != nil {
		return 0, err
	}
	answer, err := r.waiter.hear()
	return time.Duration(answer.At) - released, err
}

func (r *wakeRun) rawRound(ctx context.Context, conn *pgx.Conn) (time.Duration, error) {
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(rawID)); err != nil {
		return 0, err
	}
	if err := r.waiter.tell(order{Do: "raw"}); err != nil {
		return 0, err
	}
	if err := r.queued(ctx); err != nil {
		return 0, err
	}
	released := now()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(rawID)); err != nil {
		return 0, err
	}
	answer, err := r.waiter.hear()
	return time.Duration(answer.At) - released, err
}

// queued waits until somebody waits in the server's queue, and then for an instant that no poll is in step with.
func (r *wakeRun) queued(ctx context.Context) error {
	for waiting := false; !waiting; {
		if err := r.admin.QueryRow(ctx,
			"SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)").Scan(&waiting); err != nil {
			return err
		}
	}
	return interrupt.Sleep(ctx, time.Millisecond+rand.N(3*time.Millisecond))
}

// many releases one key after the other of those that wait.
func (r *wakeRun) many(ctx context.Context, cancel context.CancelFunc) error {
	held := make([]peer.Held, r.keys)
	if err := holdAll(ctx, cancel, r.client, held, waitingKey, stuckAfter); err != nil {
		return fmt.Errorf("holding: %w", err)
	}
	if _, err := r.waiter.ask(order{Do: "gather"}); err != nil {
		return err
	}
	for _, i := range rand.Perm(r.keys)[:min(r.rounds, r.keys)] {
		if err := interrupt.Sleep(ctx, rand.N(20*time.Millisecond)); err != nil {
			return err
		}
		released := now()
		if err := held[i].Release(ctx); err != nil {
			return err
		}
		answer, err := r.waiter.hear()
		if err != nil {
			return err
		}
		if answer.Key != waitingKey(i) {
			return fmt.Errorf("%s was granted while %s was released", answer.Key, waitingKey(i))
		}
		r.add(time.Duration(answer.At) - released)
	}
	return nil
}

func waitingKey(i int) string { return "bench/wake/" + strconv.Itoa(i) }

// inPostgres reports whether the system's waiters are seen in pg_locks.
func inPostgres(s scenario.Setup) bool {
	return s.System.Name() == lockkeeperName || s.System.Name() == pgxName
}
