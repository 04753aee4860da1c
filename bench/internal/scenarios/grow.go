package scenarios

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// grow cycles through ever more keys, and then leaves them idle until they should be forgotten.
type grow struct {
	keys []int
	idle time.Duration
}

const (
	// passBound is how long one number of keys may take: slow systems do not get through all of them.
	passBound = 15 * time.Second
	// forgotten is how long unused keys are given to be forgotten: thrice what Lockkeeper keeps them for.
	forgotten = 6 * time.Second
)

func (g grow) run(ctx context.Context, s harness.Setup) (result harness.Result, err error) {
	if s.Quick {
		g.keys = g.keys[:len(g.keys)-1]
	}
	err = s.With(ctx, hands, func(client harness.Client) (err error) {
		result.Extra, err = g.measure(ctx, s, client)
		return err
	})
	return result, err
}

func (g grow) measure(ctx context.Context, s harness.Setup, client harness.Client) (map[string]float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The names are there before memory is first looked at, and the goroutines' stacks have been grown once.
	names := make([]string, g.keys[len(g.keys)-1])
	for i := range names {
		names[i] = "bench/grow/" + strconv.Itoa(i)
	}
	if _, err := cycle(ctx, client, names[:g.keys[0]], s.Warmup, s.Warmup); err != nil {
		return nil, err
	}
	before, err := settled()
	if err != nil {
		return nil, err
	}
	extra := map[string]float64{"before_resident_bytes": before.resident}
	var first, last float64
	for i, n := range g.keys {
		if last, err = cycle(ctx, client, names[:n], s.Duration, passBound); err != nil {
			return nil, fmt.Errorf("%d keys: %w", n, err)
		}
		extra["us_per_pair_"+short(n)] = last
		if i == 0 {
			first = last
		}
	}
	extra[fmt.Sprintf("ratio_%s_to_%s", short(len(names)), short(g.keys[0]))] = harness.Ratio(last, first)
	if err := interrupt.Sleep(ctx, g.idle); err != nil {
		return nil, err
	}
	left, err := before.grown()
	extra["left_heap_bytes"], extra["left_resident_bytes"] = left.heap, left.resident
	return extra, err
}

// cycle goes through the keys again and again: for a time, and once at least as far as the bound allows. It returns the
// cost of one acquisition with its release, in microseconds of all processors together waiting for it.
func cycle(ctx context.Context, client harness.Client, names []string, least, most time.Duration) (float64, error) {
	var next, pairs atomic.Int64
	began := time.Now()
	over := func() bool {
		took := time.Since(began)
		return took >= most || took >= least && next.Load() >= int64(len(names))
	}
	err := together(hands, func(int) error {
		for !over() {
			held, err := client.Lock(ctx, names[int(next.Add(1)-1)%len(names)])
			if err != nil {
				return fmt.Errorf("acquiring: %w", err)
			}
			if err := held.Release(ctx); err != nil {
				return fmt.Errorf("releasing: %w", err)
			}
			pairs.Add(1)
		}
		return nil
	})
	return harness.US(time.Since(began)) / float64(max(pairs.Load(), 1)), err
}

// short is a number as people say it: 1k, 1m.
func short(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + "m"
	case n >= 1000 && n%1000 == 0:
		return strconv.Itoa(n/1000) + "k"
	}
	return strconv.Itoa(n)
}
