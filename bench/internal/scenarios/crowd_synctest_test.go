package scenarios

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// fake is a system whose lock takes a fixed time, or does something else.
type fake struct {
	lock   func(ctx context.Context, key string) error
	open   error
	closed atomic.Int32
	mu     sync.Mutex
	seen   map[string]int
}

func (f *fake) client() harness.Client {
	return harness.Client{Lock: f.Lock, Close: func() error {
		f.closed.Add(1)
		return nil
	}}
}

func (f *fake) Lock(ctx context.Context, key string) (harness.Held, error) {
	f.mu.Lock()
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[key]++
	f.mu.Unlock()
	return harness.Release(func(context.Context) error { return nil }), f.lock(ctx, key)
}

func after(d time.Duration) func(context.Context, string) error {
	return func(ctx context.Context, _ string) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestPairsAndLatenciesOfTheWindowAlone(t *testing.T) {
	f := &fake{lock: after(10 * time.Millisecond)}
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(f.client(), harness.Load{Goroutines: 7, Keys: 7})
		c.start(t.Context())
		for _, step := range []struct {
			phase uint32
			d     time.Duration
		}{{warming, 105 * time.Millisecond}, {measuring, time.Second}} {
			c.phase.Store(step.phase)
			if err := c.during(t.Context(), step.d); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
		// In virtual time each goroutine finishes a pair every 10 ms: 100 within the second.
		r := c.result(time.Second)
		if r.PairsPerSecond != 700 || r.Fairness != 1 || r.MinShare != 1 {
			t.Errorf("%v pairs/s, fairness %v, slowest %v; want 700, 1, 1", r.PairsPerSecond, r.Fairness, r.MinShare)
		}
		if r.P50 < 10_000 || r.P50 > 10_160 || r.P99 != r.P50 {
			t.Errorf("p50 is %v us, p99 %v us; want 10 ms", r.P50, r.P99)
		}
	})
	if len(f.seen) != 7 {
		t.Errorf("%d keys were locked, want 7", len(f.seen))
	}
}

func TestASlowGoroutineIsSeen(t *testing.T) {
	f := &fake{}
	f.lock = func(ctx context.Context, key string) error {
		if key == harness.Key(0) {
			return after(40*time.Millisecond)(ctx, key)
		}
		return after(10*time.Millisecond)(ctx, key)
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(f.client(), harness.Load{Goroutines: 4, Keys: 4})
		c.start(t.Context())
		c.phase.Store(measuring)
		if err := c.during(t.Context(), 4001*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
		// 100 pairs and three times 400: the mean is 325.
		if r := c.result(time.Second); r.MinShare < 0.307 || r.MinShare > 0.308 {
			t.Errorf("the slowest has %v of the mean, want 100/325", r.MinShare)
		}
	})
}

func TestGoroutinesThatDoNotFinishAreCancelledAndThenReported(t *testing.T) {
	for name, c := range map[string]struct {
		lock func(context.Context, string) error
		want error
	}{
		"ends with its context": {func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, nil},
		"late":                  {func(context.Context, string) error { time.Sleep(time.Minute); return nil }, errHangs},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				crowd := newCrowd((&fake{lock: c.lock}).client(), harness.Load{Goroutines: 3, Keys: 3})
				crowd.start(t.Context())
				synctest.Wait() // until all of them are in their call
				if err := crowd.stop(); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				crowd.running.Wait()
			})
		})
	}
}

// measureFake puts a load on the fake as a scenario does.
func measureFake(ctx context.Context, f *fake) (harness.Result, error) {
	s := harness.Setup{ServerAddress: "127.0.0.1:1", Warmup: time.Millisecond, Duration: 10 * time.Millisecond,
		Meter: harness.Meter{Server: os.Getpid()}}
	s.System.Open = func(context.Context, harness.Env) (harness.Client, error) { return f.client(), f.open }
	return run(ctx, s, harness.Load{Goroutines: 2, Keys: 2})
}

func TestAFailureIsTheReasonAndTheClientIsClosed(t *testing.T) {
	broken := errors.New("the server is on fire")
	f := &fake{lock: func(context.Context, string) error { return broken }}
	_, err := measureFake(t.Context(), f)
	if !errors.Is(err, broken) || f.closed.Load() != 1 {
		t.Errorf("got %v, closed %d times", err, f.closed.Load())
	}
	f = &fake{open: broken}
	if _, err := measureFake(t.Context(), f); !errors.Is(err, broken) || f.closed.Load() != 0 {
		t.Errorf("got %v, closed %d times", err, f.closed.Load())
	}
}

func TestNoPairIsAFailureAndNotZero(t *testing.T) {
	f := &fake{lock: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}
	synctest.Test(t, func(t *testing.T) {
		_, err := measureFake(t.Context(), f)
		if err == nil || !strings.Contains(err.Error(), "no pair") {
			t.Errorf("got %v", err)
		}
	})
}

func TestZipfIsSkewedAndAlikeInEachRun(t *testing.T) {
	l := harness.Load{Goroutines: 1000, Keys: 100_000, Skew: 1.1}
	if l.Distinct() {
		t.Error("goroutines that share keys count as distinct")
	}
	first, again := chooser(l, 3), chooser(l, 3)
	counts := map[int]int{}
	for range 100_000 {
		k := first()
		if k != again() {
			t.Fatal("the same goroutine chose otherwise")
		}
		if k < 0 || k >= l.Keys {
			t.Fatalf("key %d of %d", k, l.Keys)
		}
		counts[k]++
	}
	if counts[0] < 5*counts[9] || len(counts) < 1000 {
		t.Errorf("%d keys, the first %d times, the tenth %d times", len(counts), counts[0], counts[9])
	}
}

func TestFairness(t *testing.T) {
	for _, c := range []struct {
		shares    []float64
		jain, min float64
	}{
		{[]float64{5, 5, 5, 5}, 1, 1},
		{[]float64{8, 0, 0, 0}, 0.25, 0},
		{[]float64{1, 3}, 0.8, 0.5}, // (1+3)^2 / (2*(1+9)) and 1/2
		{[]float64{0, 0}, 0, 0},
		{nil, 0, 0},
	} {
		if got := jain(c.shares); math.Abs(got-c.jain) > 1e-12 {
			t.Errorf("jain(%v) = %v, want %v", c.shares, got, c.jain)
		}
		if got := minShare(c.shares); math.Abs(got-c.min) > 1e-12 {
			t.Errorf("minShare(%v) = %v, want %v", c.shares, got, c.min)
		}
	}
}

func TestRatioOfNothingIsNotShown(t *testing.T) {
	if got := harness.Ratio(10, 4); got != 2.5 {
		t.Errorf("Ratio(10, 4) = %v", got)
	}
	if got := harness.Ratio(10, 0); got != 0 {
		t.Errorf("Ratio(10, 0) = %v, want 0", got)
	}
}
