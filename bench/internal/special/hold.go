package special

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// hold holds many keys at once.
type hold struct{ keys int }

const (
	// hands take and release the keys at the same time: enough to fill the batches of those who make batches.
	hands = 1000
	// stuckAfter is how long no key may be taken before the system counts as one that cannot hold so many.
	stuckAfter = 5 * time.Second
)

func (h hold) run(ctx context.Context, s scenario.Setup) (scenario.Result, error) {
	if s.Quick {
		h.keys = min(h.keys, 10_000)
	}
	s.Env.Goroutines = h.keys
	client, err := s.System.Open(ctx, s.Env)
	if err != nil {
		return scenario.Result{}, fmt.Errorf("opening: %w", err)
	}
	result, err := h.measure(ctx, s, client)
	return result, errors.Join(err, client.Close())
}

func (h hold) measure(ctx context.Context, s scenario.Setup, client peer.Client) (scenario.Result, error) {
	result := scenario.Result{Extra: map[string]float64{}}
	ctx, cancel := context.WithCancel(ctx) // one that can end, as a worker's would
	defer cancel()
	alone, err := lone(ctx, client, s.Duration/4)
	if err != nil {
		return result, err
	}
	held := make([]peer.Held, h.keys)
	before, err := settled()
	if err != nil {
		return result, err
	}
	began := time.Now()
	if err := holdAll(ctx, cancel, client, held, heldKey, stuckAfter); err != nil {
		return result, err
	}
	took := time.Since(began)
	after, err := settled()
	if err != nil {
		return result, err
	}
	if result.Connections, err = measure.Connections(s.ServerAddress); err != nil {
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
	grown := after.minus(before)
	n := float64(h.keys)
	result.PairsPerSecond = n / (took + release).Seconds()
	result.P50, result.P99 = us(meanwhile.P50), us(meanwhile.P99)
	result.Extra["keys"] = n
	result.Extra["bytes_per_key"] = grown.resident / n
	result.Extra["heap_bytes_per_key"] = grown.heap / n
	result.Extra["stack_bytes_per_key"] = grown.stacks / n
	result.Extra["take_all_ms"] = ms(took)
	result.Extra["release_all_ms"] = ms(release)
	result.Extra["lone_p50_before_us"] = us(alone.P50)
	result.Extra["lone_p50_meanwhile_us"] = us(meanwhile.P50)
	result.Extra["lone_ratio"] = stats.Ratio(float64(meanwhile.P50), float64(alone.P50))
	return result, nil
}

// lone takes and releases one key again and again, and records the acquisitions.
func lone(ctx context.Context, client peer.Client, d time.Duration) (latency.Percentiles, error) {
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

// holdAll takes as many keys as there is room for in held. The context that they are held by is ctx; where no key has been
// taken for a while it ends, which is how a system ends that has room for fewer. What it had by then is given back, or its
// client's end might wait for that.
func holdAll(ctx context.Context, cancel context.CancelFunc, client peer.Client, held []peer.Held, key func(i int) string,
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

// together makes n calls on many goroutines, and returns the first error.
func together(n int, call func(i int) error) error {
	var next atomic.Int64
	var broken atomic.Pointer[error]
	var running sync.WaitGroup
	for range min(hands, n) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && broken.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := call(i); err != nil {
					broken.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	running.Wait()
	if err := broken.Load(); err != nil {
		return *err
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
