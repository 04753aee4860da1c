package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// Phases of a crowd.
const (
	warming uint32 = iota
	measuring
	stopping
)

// How long the goroutines may take to finish their pairs before their contexts are cancelled, and how long they may take
// after that. Some systems look again only every second.
const (
	finishBound = 2 * time.Second
	cancelBound = 5 * time.Second
)

var errHangs = errors.New("calls do not return although their contexts have ended")

// crowd is the goroutines of one load.
type crowd struct {
	client  harness.Client
	load    harness.Load
	timed   bool // the longest wait is kept
	phase   atomic.Uint32
	workers []worker
	latency latency.Histogram
	cancel  context.CancelFunc
	failed  chan error // the first failure; capacity 1
	running sync.WaitGroup
}

// worker is written by its goroutine. Others may look.
type worker struct {
	pairs   atomic.Uint64
	longest atomic.Int64
	asked   atomic.Int64 // since when it has been waiting, 0 while it does not
	_       [40]byte     // keeps neighbours off one cache line
}

func newCrowd(client harness.Client, l harness.Load) *crowd {
	return &crowd{client: client, load: l, workers: make([]worker, l.Goroutines), failed: make(chan error, 1),
		cancel: func() {}}
}

// run warms up, measures and stops the crowd.
func (c *crowd) run(ctx context.Context, s harness.Setup) (harness.Result, error) {
	c.start(ctx)
	result, err := c.measure(ctx, s)
	return result, errors.Join(err, c.stop())
}

func (c *crowd) measure(ctx context.Context, s harness.Setup) (harness.Result, error) {
	if err := c.during(ctx, s.Warmup); err != nil {
		return harness.Result{}, err
	}
	result, err := s.Measure(func(r *harness.Result) (float64, error) {
		began := time.Now()
		c.phase.Store(measuring)
		err := c.during(ctx, s.Duration)
		c.phase.Store(stopping)
		took := time.Since(began)
		if *r = c.result(took); err == nil && r.PairsPerSecond == 0 {
			err = fmt.Errorf("no pair was finished within %v", s.Duration)
		}
		return r.PairsPerSecond * took.Seconds(), err
	})
	if err != nil {
		return result, err
	}
	result.Connections, err = harness.Connections(s.ServerAddress)
	return result, err
}

func (c *crowd) start(ctx context.Context) {
	// Goroutines end by their phase, and by this context where that does not do.
	ctx, c.cancel = context.WithCancel(ctx)
	for g := range c.load.Goroutines {
		c.running.Go(func() {
			own, cancel := context.WithCancel(ctx)
			defer cancel()
			if err := c.work(own, g); err != nil && c.phase.Load() != stopping {
				select {
				case c.failed <- err:
				default:
				}
			}
		})
	}
}

// work takes and releases locks until the crowd is stopped.
func (c *crowd) work(ctx context.Context, g int) error {
	w, next := &c.workers[g], chooser(c.load, g)
	lock := c.client.Locker(harness.Key(next()))
	for c.phase.Load() != stopping {
		if c.load.Skew != 0 {
			key := harness.Key(next())
			lock = func(ctx context.Context) (harness.Held, error) { return c.client.Lock(ctx, key) }
		}
		began := time.Now()
		if c.timed {
			w.asked.Store(began.UnixNano())
		}
		held, err := lock(ctx)
		if err != nil {
			return fmt.Errorf("acquiring: %w", err)
		}
		took := time.Since(began)
		measured := c.phase.Load() == measuring
		if c.timed {
			w.asked.Store(0)
			if measured {
				w.longest.Store(max(w.longest.Load(), int64(took)))
			}
		}
		if measured {
			c.latency.Record(took)
		}
		if err := held.Release(ctx); err != nil {
			return fmt.Errorf("releasing: %w", err)
		}
		if c.phase.Load() == measuring {
			w.pairs.Add(1)
		}
	}
	return nil
}

// chooser returns which key goroutine g wants next. Its choices are the same in each run.
func chooser(l harness.Load, g int) func() int {
	if l.Skew == 0 {
		return func() int { return g % l.Keys }
	}
	//nolint:gosec // no secret: the choices have to be the same in each run
	zipf := rand.NewZipf(rand.New(rand.NewSource(int64(g))), l.Skew, 1, uint64(l.Keys-1))
	return func() int { return int(zipf.Uint64()) }
}

// during waits for a time, or for the first failure.
func (c *crowd) during(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the goroutines. One that does not end is a failure of the system.
func (c *crowd) stop() error {
	c.phase.Store(stopping)
	defer c.cancel()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.running.Wait()
	}()
	for _, bound := range []time.Duration{finishBound, cancelBound} {
		select {
		case <-finished:
			return nil
		case <-time.After(bound):
			c.cancel()
		}
	}
	return errHangs
}

// result is what was counted within the window.
func (c *crowd) result(took time.Duration) harness.Result {
	shares := make([]float64, len(c.workers))
	var pairs float64
	for i := range c.workers {
		shares[i] = float64(c.workers[i].pairs.Load())
		pairs += shares[i]
	}
	waited := c.latency.Percentiles()
	return harness.Result{PairsPerSecond: pairs / took.Seconds(), P50: harness.US(waited.P50), P99: harness.US(waited.P99),
		Fairness: jain(shares), MinShare: minShare(shares)}
}

// longest is the longest wait of the window. One that is not over yet counts as far as it has come.
func (c *crowd) longest(end time.Time) time.Duration {
	var longest int64
	for i := range c.workers {
		w := &c.workers[i]
		longest = max(longest, w.longest.Load())
		if asked := w.asked.Load(); asked != 0 {
			longest = max(longest, end.UnixNano()-asked)
		}
	}
	return time.Duration(longest)
}

// jain is the fairness index of shares: 1 where all are alike, 1/n where one has everything. Of nothing it is 0.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, s := range shares {
		sum += s
		squares += s * s
	}
	return harness.Ratio(sum*sum, float64(len(shares))*squares)
}

// minShare is the smallest share as a part of the mean.
func minShare(shares []float64) float64 {
	var sum float64
	for _, s := range shares {
		sum += s
	}
	if sum == 0 {
		return 0
	}
	return slices.Min(shares) / (sum / float64(len(shares)))
}
