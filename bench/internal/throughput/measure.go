package throughput

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
)

// openBound is for connecting: a system that opens 50 connections through a slow proxy needs some of it.
const openBound = 10 * time.Second

// Measure puts the load on the system for the time of the setup.
func Measure(ctx context.Context, s scenario.Setup, l Load) (scenario.Result, error) {
	s.Env.Goroutines = l.Goroutines
	if limiter, ok := s.System.(Limiter); ok {
		return limiter.Limit(ctx, s, l)
	}
	opening, cancel := context.WithTimeout(ctx, openBound)
	defer cancel()
	client, err := s.System.Open(opening, s.Env)
	if err != nil {
		return scenario.Result{}, fmt.Errorf("opening: %w", err)
	}
	result, err := window(ctx, s, newCrowd(client, l))
	return result, errors.Join(err, client.Close())
}

// window warms up, measures and stops the crowd.
func window(ctx context.Context, s scenario.Setup, c *crowd) (scenario.Result, error) {
	c.start(ctx)
	if err := c.during(ctx, s.Warmup); err != nil {
		return scenario.Result{}, errors.Join(err, c.stop())
	}
	before, err := s.Meter.Read()
	if err != nil {
		return scenario.Result{}, errors.Join(err, c.stop())
	}
	began := time.Now()
	c.phase.Store(measuring)
	failed := c.during(ctx, s.Duration)
	c.phase.Store(stopping)
	took := time.Since(began)
	used, err := s.Meter.Since(before)
	if err = errors.Join(failed, err); err != nil {
		return scenario.Result{}, errors.Join(err, c.stop())
	}
	connections, err := measure.Connections(s.ServerAddress)
	if err != nil {
		return scenario.Result{}, errors.Join(err, c.stop())
	}
	if err := c.stop(); err != nil {
		return scenario.Result{}, err
	}
	result := c.result(took)
	if result.PairsPerSecond == 0 {
		return result, fmt.Errorf("no pair was finished within %v", s.Duration)
	}
	result.Connections = connections
	result.CPU(used, result.PairsPerSecond*took.Seconds())
	return result, nil
}

// result is what was counted within the window.
func (c *crowd) result(took time.Duration) scenario.Result {
	shares := make([]float64, len(c.counts))
	var pairs float64
	for i := range c.counts {
		shares[i] = float64(c.counts[i].pairs)
		pairs += shares[i]
	}
	waited := c.latency.Percentiles()
	return scenario.Result{
		PairsPerSecond: pairs / took.Seconds(),
		P50:            float64(waited.P50) / float64(time.Microsecond),
		P99:            float64(waited.P99) / float64(time.Microsecond),
		Fairness:       stats.Jain(shares),
		MinShare:       stats.MinShare(shares),
	}
}

// locker is the client's for a key, prepared where it can.
func locker(client peer.Client, key string) peer.Locker {
	if p, ok := client.(peer.Preparer); ok {
		return p.Prepare(key)
	}
	return named{client, key}
}

type named struct {
	client peer.Client
	key    string
}

func (n named) Lock(ctx context.Context) (peer.Held, error) { return n.client.Lock(ctx, n.key) }
