package special

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// fleet is some processes with some goroutines each, all of which want one key.
type fleet struct{ processes, goroutines int }

const (
	oneKey      = "bench/one"
	fleetWindow = 2 * time.Second
	fleetWarmup = 500 * time.Millisecond
)

func (f fleet) run(ctx context.Context, s scenario.Setup) (result scenario.Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // kills what has not ended by itself
	var all []*process
	defer func() {
		for _, p := range all {
			if ended := p.end(); err == nil {
				err = ended
			}
		}
	}()
	for range f.processes {
		p, err := spawn(ctx, s, "crowd")
		if err != nil {
			return result, err
		}
		all = append(all, p)
	}
	if err := each(all, "start"); err != nil {
		return result, err
	}
	// Processes take turns of a quantum each: a short window would count who had one more of them.
	s.Duration = max(s.Duration, fleetWindow)
	if err := interrupt.Sleep(ctx, s.Warmup+fleetWarmup); err != nil {
		return result, err
	}
	before, err := s.Meter.Read()
	if err != nil {
		return result, err
	}
	if err := each(all, "measure"); err != nil {
		return result, err
	}
	began := time.Now()
	if err := interrupt.Sleep(ctx, s.Duration); err != nil {
		return result, err
	}
	for _, p := range all { // all are told before any answers: their windows are the same
		if err := p.tell(order{Do: "stop"}); err != nil {
			return result, err
		}
	}
	return f.collect(s, all, time.Since(began), before)
}

func (f fleet) collect(s scenario.Setup, all []*process, took time.Duration, before measure.Reading) (scenario.Result, error) {
	result := scenario.Result{Extra: map[string]float64{}}
	var shares []float64
	var pairs, longest float64
	used, err := s.Meter.Since(before)
	if err != nil {
		return result, err
	}
	for _, p := range all {
		r, err := p.hear()
		if err != nil {
			return result, err
		}
		shares = append(shares, r.Pairs)
		pairs += r.Pairs
		longest = max(longest, r.LongestMS)
		result.P50, result.P99 = max(result.P50, r.P50), max(result.P99, r.P99)
	}
	if pairs == 0 {
		return result, fmt.Errorf("no pair was finished within %v", s.Duration)
	}
	result.PairsPerSecond = pairs / took.Seconds()
	result.Fairness, result.MinShare = stats.Jain(shares), stats.MinShare(shares)
	result.Extra["longest_wait_ms"] = longest
	result.Extra["longest_wait_quanta"] = longest / float64(quantum/time.Millisecond)
	result.CPU(used, pairs)
	return result, nil
}

// each tells all, and then waits for all.
func each(all []*process, do string) error {
	for _, p := range all {
		if err := p.tell(order{Do: do}); err != nil {
			return err
		}
	}
	for _, p := range all {
		if _, err := p.hear(); err != nil {
			return err
		}
	}
	return nil
}

func (f fleet) part(ctx context.Context, s scenario.Setup, _ string, in io.Reader, out io.Writer) error {
	s.Env.Goroutines = f.goroutines
	client, err := s.System.Open(ctx, s.Env)
	if err != nil {
		return obey(in, out, func(order) *report { return failed(fmt.Errorf("opening: %w", err)) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &crowd{client: client, callers: make([]caller, f.goroutines)}
	err = obey(in, out, func(o order) *report {
		switch o.Do {
		case "start":
			c.start(ctx)
		case "measure":
			c.since.Store(int64(now()))
		case "stop":
			r := c.stop()
			cancel()
			return r
		}
		return &report{}
	})
	cancel()
	c.running.Wait()
	return errors.Join(err, client.Close())
}

// crowd is one process's goroutines.
type crowd struct {
	client  peer.Client
	callers []caller
	since   atomic.Int64 // when measuring began, 0 before
	until   atomic.Int64 // and when it ended
	latency latency.Histogram
	broken  atomic.Pointer[error]
	running sync.WaitGroup
}

// caller is written by its goroutine; others may look.
type caller struct {
	pairs   atomic.Uint64
	longest atomic.Int64
	asked   atomic.Int64 // since when it has been waiting, 0 while it does not
	_       [40]byte     // keeps neighbours off one cache line
}

func (c *crowd) start(ctx context.Context) {
	for i := range c.callers {
		c.running.Go(func() {
			own, cancel := context.WithCancel(ctx)
			defer cancel()
			if err := c.callers[i].work(own, c); err != nil && ctx.Err() == nil {
				c.broken.CompareAndSwap(nil, &err)
			}
		})
	}
}

func (g *caller) work(ctx context.Context, c *crowd) error {
	for c.until.Load() == 0 {
		began := now()
		g.asked.Store(int64(began))
		held, err := c.client.Lock(ctx, oneKey)
		if err != nil {
			return fmt.Errorf("acquiring: %w", err)
		}
		took := now() - began
		g.asked.Store(0)
		if err := held.Release(ctx); err != nil {
			return fmt.Errorf("releasing: %w", err)
		}
		if c.since.Load() != 0 && c.until.Load() == 0 {
			g.pairs.Add(1)
			c.latency.Record(took)
			g.longest.Store(max(g.longest.Load(), int64(took)))
		}
	}
	return nil
}

// stop reports what happened in the window. A wait that is not over yet counts as far as it has come: those are the longest.
func (c *crowd) stop() *report {
	end := int64(now())
	c.until.Store(end)
	if err := c.broken.Load(); err != nil {
		return failed(*err)
	}
	waited := c.latency.Percentiles()
	r := &report{P50: us(waited.P50), P99: us(waited.P99)}
	for i := range c.callers {
		g := &c.callers[i]
		r.Pairs += float64(g.pairs.Load())
		longest := g.longest.Load()
		if asked := g.asked.Load(); asked != 0 {
			longest = max(longest, end-asked)
		}
		r.LongestMS = max(r.LongestMS, float64(longest)/float64(time.Millisecond))
	}
	return r
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
