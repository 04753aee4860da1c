package scenarios

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	postgres "github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// wake measures from the call of a release in this process to the return of the acquisition in another that waits. With keys
// set, so many wait there at the same time, each on a goroutine of its own, and one after the other is released.
//
// Where there is a PostgreSQL, raw locks do the same in turns with the system's, in the same run.
type wake struct{ rounds, keys int }

// noticeAfter is how long a waiter is given to be waiting where it cannot be seen to be.
const noticeAfter = 20 * time.Millisecond

func (w wake) run(ctx context.Context, s harness.Setup) (result harness.Result, err error) {
	if s.Quick {
		w.rounds, w.keys = w.rounds/4, w.keys/10
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = s.With(ctx, max(1, w.keys), func(client harness.Client) error {
		waiter, err := spawn(ctx, s, strconv.Itoa(w.keys))
		if err != nil {
			return err
		}
		defer func() {
			cancel() // what still waits there is not waited for
			_ = waiter.end()
		}()
		r := &wakeRun{wake: w, client: client, waiter: waiter}
		if w.keys > 0 {
			err = r.many(ctx, cancel)
		} else {
			err = r.one(ctx, s)
		}
		result = r.result()
		return err
	})
	return result, err
}

type wakeRun struct {
	wake
	client      harness.Client
	waiter      *process
	system, raw latency.Histogram
}

func (r *wakeRun) result() harness.Result {
	system, raw := r.system.Percentiles(), r.raw.Percentiles()
	p50, p99 := harness.US(system.P50), harness.US(system.P99)
	result := harness.Result{P50: p50, P99: p99, Extra: map[string]float64{
		"wake_p50_us": p50, "wake_p99_us": p99, "wake_max_us": harness.US(system.Max)}}
	if raw.Count > 0 {
		result.Extra["raw_p50_us"], result.Extra["raw_p99_us"] = harness.US(raw.P50), harness.US(raw.P99)
		result.Extra["p50_to_raw"] = harness.Ratio(p50, harness.US(raw.P50))
		result.Extra["p99_to_raw"] = harness.Ratio(p99, harness.US(raw.P99))
	}
	return result
}

// one is rounds of one waiter, the system's and a raw one in turns.
func (r *wakeRun) one(ctx context.Context, s harness.Setup) error {
	unseen := func() error { return interrupt.Sleep(ctx, noticeAfter) }
	if s.AdminDSN == "" {
		return r.turns(ctx, unseen, nil, harness.Client{})
	}
	admin, err := postgres.Connect(ctx, s.AdminDSN)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }()
	raw, err := rawLocks(ctx, s.AdminDSN)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	// queued waits until somebody waits in the server's queue, and then for an instant that no poll is in step with.
	queued := func() error {
		for waiting := false; !waiting; {
			if err := admin.QueryRow(ctx,
				"SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)").Scan(&waiting); err != nil {
				return err
			}
		}
		return interrupt.Sleep(ctx, time.Millisecond+rand.N(3*time.Millisecond))
	}
	if name := s.System.Name; name == lockkeeper || name == pgx { // their waiters are seen in pg_locks
		unseen = queued
	}
	return r.turns(ctx, unseen, queued, raw)
}

func (r *wakeRun) turns(ctx context.Context, waits, rawWaits func() error, raw harness.Client) error {
	for range r.rounds {
		took, err := r.round(ctx, "system", r.client, waits)
		if err != nil {
			return err
		}
		r.system.Record(took)
		if rawWaits == nil {
			continue
		}
		if took, err = r.round(ctx, "raw", raw, rawWaits); err != nil {
			return err
		}
		r.raw.Record(took)
	}
	return nil
}

// round holds the lock until the other process waits for it, and returns the time from the release to the grant there.
func (r *wakeRun) round(ctx context.Context, word string, client harness.Client, waits func() error) (time.Duration, error) {
	held, err := client.Lock(ctx, oneKey)
	if err != nil {
		return 0, err
	}
	r.waiter.tell(word)
	if err := waits(); err != nil {
		return 0, err
	}
	released := now()
	if err := held.Release(ctx); err != nil {
		return 0, err
	}
	a, err := r.waiter.hear()
	return time.Duration(a.At) - released, err
}

// many releases one key after the other of those that wait.
func (r *wakeRun) many(ctx context.Context, cancel context.CancelFunc) error {
	held := make([]harness.Held, r.keys)
	if err := holdAll(ctx, cancel, r.client, held, waitingKey, stuckAfter); err != nil {
		return fmt.Errorf("holding: %w", err)
	}
	r.waiter.tell("gather")
	if _, err := r.waiter.hear(); err != nil {
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
		a, err := r.waiter.hear()
		if err != nil {
			return err
		}
		if a.Key != waitingKey(i) {
			return fmt.Errorf("%s was granted while %s was released", a.Key, waitingKey(i))
		}
		r.system.Record(time.Duration(a.At) - released)
	}
	return nil
}

func waitingKey(i int) string { return "bench/wake/" + strconv.Itoa(i) }

// part is the process that waits.
func (w wake) part(ctx context.Context, s harness.Setup, part string, in io.Reader, out io.Writer) error {
	keys, err := strconv.Atoi(part)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return serve(ctx, s, max(1, keys), in, out, func(client harness.Client, p *parent) error {
		raw := harness.Client{}
		if s.AdminDSN != "" {
			if raw, err = rawLocks(ctx, s.AdminDSN); err != nil {
				return err
			}
			defer func() { _ = raw.Close() }()
		}
		var waiting sync.WaitGroup
		for p.words.Scan() {
			switch p.words.Text() {
			case "system":
				p.say(wait(ctx, client, oneKey))
			case "raw":
				p.say(wait(ctx, raw, oneKey))
			case "gather":
				for i := range keys {
					waiting.Go(func() {
						if a := wait(ctx, client, waitingKey(i)); ctx.Err() == nil {
							p.say(a)
						}
					})
				}
				a := answer{}
				if err := quiet(ctx); err != nil {
					a = failed(err)
				}
				p.say(a)
			}
		}
		cancel()
		waiting.Wait()
		return nil
	})
}

// wait says when the key's lock was granted, and gives it back.
func wait(ctx context.Context, client harness.Client, key string) answer {
	held, err := client.Lock(ctx, key)
	at := now()
	if err == nil {
		err = held.Release(ctx)
	}
	if err != nil {
		return failed(err)
	}
	return answer{At: int64(at), Key: key}
}

// rawLocks is a session that takes one lock, whatever the key, by the server's own blocking statement.
func rawLocks(ctx context.Context, dsn string) (harness.Client, error) {
	const id = int64(7_201_433_921_117_463)
	conn, err := postgres.Connect(ctx, dsn)
	if err != nil {
		return harness.Client{}, err
	}
	return harness.Client{
		Lock: func(ctx context.Context, _ string) (harness.Held, error) {
			_, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", id)
			return harness.Release(func(ctx context.Context) error {
				_, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", id)
				return err
			}), err
		},
		Close: func() error { return conn.Close(context.WithoutCancel(ctx)) },
	}, nil
}
