package scenarios

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// hold holds many keys at once.
type hold struct{ keys int }

// stuckAfter is how long no key may be taken before the system counts as one that cannot hold so many.
const stuckAfter = 5 * time.Second

func (h hold) run(ctx context.Context, s harness.Setup) (result harness.Result, err error) {
	if s.Quick {
		h.keys = min(h.keys, 10_000)
	}
	err = s.With(ctx, h.keys, func(client harness.Client) (err error) {
		result, err = h.measure(ctx, s, client)
		return err
	})
	return result, err
}

func (h hold) measure(ctx context.Context, s harness.Setup, client harness.Client) (result harness.Result, err error) {
	ctx, cancel := context.WithCancel(ctx) // one that can end, as a worker's would
	defer cancel()
	alone, err := lone(ctx, client, s.Duration/4)
	if err != nil {
		return result, err
	}
	held := make([]harness.Held, h.keys)
	before, err := settled()
	if err != nil {
		return result, err
	}
	began := time.Now()
	if err := holdAll(ctx, cancel, client, held, heldKey, stuckAfter); err != nil {
		return result, err
	}
	took := time.Since(began)
	grown, err := before.grown()
	if err != nil {
		return result, err
	}
	if result.Connections, err = harness.Connections(s.ServerAddress); err != nil {
		return result, err
	}
	meanwhile, err := lone(ctx, client, s.Duration/4)
	if err != nil {
		return result, err
	}
	began = time.Now()
	if err := together(h.keys, func(i int) error { return held[i].Release(ctx) }); err != nil {
		return result, err
	}
	release := time.Since(began)
	n := float64(h.keys)
	result.PairsPerSecond = n / (took + release).Seconds()
	result.P50, result.P99 = harness.US(meanwhile.P50), harness.US(meanwhile.P99)
	result.Extra = map[string]float64{"keys": n,
		"bytes_per_key": grown.resident / n, "heap_bytes_per_key": grown.heap / n, "stack_bytes_per_key": grown.stacks / n,
		"take_all_ms": ms(took), "release_all_ms": ms(release),
		"lone_p50_before_us": harness.US(alone.P50), "lone_p50_meanwhile_us": result.P50,
		"lone_ratio": harness.Ratio(result.P50, harness.US(alone.P50))}
	return result, nil
}

// lone takes and releases one key again and again, and records the acquisitions.
func lone(ctx context.Context, client harness.Client, d time.Duration) (latency.Percentiles, error) {
	var h latency.Histogram
	for end := time.Now().Add(d); time.Now().Before(end); {
		began := time.Now()
		held, err := client.Lock(ctx, "bench/lone")
		if err != nil {
			return latency.Percentiles{}, fmt.Errorf("acquiring one: %w", err)
		}
		h.Record(time.Since(began))
		if err := held.Release(ctx); err != nil {
			return latency.Percentiles{}, fmt.Errorf("releasing one: %w", err)
		}
	}
	return h.Percentiles(), nil
}

// holdAll takes as many keys as there is room for in held, with the context ctx. Where no key has been taken for a while it
// cancels the context: so ends a system that has room for fewer. What it had by then is given back, or its client's end might
// wait for that.
func holdAll(ctx context.Context, cancel context.CancelFunc, client harness.Client, held []harness.Held, key func(i int) string,
	stuck time.Duration) error {
	var taken atomic.Int64
	done := make(chan struct{})
	defer close(done)
	go func() {
		again := time.NewTicker(stuck)
		defer again.Stop()
		for seen := int64(-1); ; {
			select {
			case <-done:
				return
			case <-again.C:
			}
			n := taken.Load()
			if n == seen {
				cancel()
			}
			seen = n
		}
	}()
	err := together(len(held), func(i int) (err error) {
		if held[i], err = client.Lock(ctx, key(i)); err == nil {
			taken.Add(1)
		}
		return err
	})
	if err == nil {
		return nil
	}
	for _, one := range held {
		if one != nil {
			_ = one.Release(context.WithoutCancel(ctx)) // that it failed is known
		}
	}
	return fmt.Errorf("it came to %d of %d keys: %w", taken.Load(), len(held), err)
}

func heldKey(i int) string { return "bench/held/" + strconv.Itoa(i) }
