package scenarios

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

func TestFleet(t *testing.T) {
	for name := range measured {
		t.Run(name, func(t *testing.T) {
			r, err := smallFleet.run(t.Context(), setup(t, name, "fleet"))
			check(t, r, err, "longest_wait_ms")
			if r.PairsPerSecond <= 0 || r.Fairness < 0.5 || r.Fairness > 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A wait that has not ended when the window does is the longest, and counts.
func TestAWaitThatIsNotOverCounts(t *testing.T) {
	c := newCrowd(harness.Client{}, harness.Load{Goroutines: 2, Keys: 1})
	c.workers[0].longest.Store(int64(2 * time.Millisecond))
	c.workers[1].asked.Store(time.Now().Add(-time.Second).UnixNano())
	if a := c.answer(); a.LongestMS < 1000 {
		t.Errorf("%+v", a)
	}
}

func TestHold(t *testing.T) {
	r, err := hold{keys: 2000}.run(t.Context(), setup(t, lockkeeper, ""))
	check(t, r, err, "heap_bytes_per_key", "release_all_ms", "lone_p50_before_us", "lone_p50_meanwhile_us")
	if r.Connections < 1 || r.Connections > 5 {
		t.Errorf("%d connections", r.Connections)
	}
}

// onlyTen is a system that holds ten locks and no more.
type onlyTen struct {
	mu       sync.Mutex
	n        int
	released atomic.Int64
}

func (o *onlyTen) Lock(ctx context.Context, _ string) (harness.Held, error) {
	o.mu.Lock()
	o.n++
	full := o.n > 10
	o.mu.Unlock()
	if full {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return o, nil
}

func (o *onlyTen) Release(ctx context.Context) error {
	o.released.Add(1)
	return ctx.Err()
}

func TestASystemThatHoldsFewerFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	system := &onlyTen{}
	client := harness.Client{Lock: system.Lock}
	err := holdAll(ctx, cancel, client, make([]harness.Held, 20), heldKey, time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "10 of 20") {
		t.Error(err)
	}
	if n := system.released.Load(); n != 10 {
		t.Errorf("%d of the 10 were given back, and the system's end may wait for the rest", n)
	}
}

func TestGrow(t *testing.T) {
	r, err := grow{keys: []int{10, 1000, 2000}, idle: time.Millisecond}.run(t.Context(), setup(t, lockkeeper, ""))
	check(t, r, err, "us_per_pair_10", "us_per_pair_2k", "ratio_2k_to_10")
}

func TestWake(t *testing.T) {
	for name := range measured {
		t.Run(name, func(t *testing.T) {
			r, err := wake{rounds: 8}.run(t.Context(), setup(t, name, "wake"))
			check(t, r, err, "wake_p50_us", "wake_p99_us", "raw_p99_us", "p99_to_raw")
		})
	}
}

func TestWakeOfMany(t *testing.T) {
	r, err := wake{rounds: 5, keys: 40}.run(t.Context(), setup(t, lockkeeper, "wake"))
	check(t, r, err, "wake_p50_us", "wake_max_us")
}

func TestStorm(t *testing.T) {
	for name := range measured {
		t.Run(name, func(t *testing.T) {
			r, err := storm{waiters: 300}.run(t.Context(), setup(t, name, ""))
			check(t, r, err, "all_returned_ms")
		})
	}
}

func TestLoss(t *testing.T) {
	r, err := loss{rounds: 3, handles: 10}.run(t.Context(), setup(t, lockkeeper, ""))
	check(t, r, err, "loss_p50_us", "loss_p99_us", "loss_max_us", "raw_p50_us", "raw_p99_us")
	if r.Extra["handles"] != 30 {
		t.Errorf("%v handles heard", r.Extra["handles"])
	}
}

// What a system answers wrongly is its failure, with its reason, and no figure.
func TestFailuresAreReported(t *testing.T) {
	s := setup(t, lockkeeper, "")
	s.System = refusing()
	for _, c := range All() {
		if c.Name == "loss" || c.Part != nil { // these parts would run the real one
			continue
		}
		if _, err := c.Run(t.Context(), s); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

func TestEachScenarioIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range All() {
		if c.Name == "" || c.Text == "" || c.Run == nil || seen[c.Name] || (c.Headline == "") != (c.Unit == "") {
			t.Errorf("%+v", c)
		}
		seen[c.Name] = true
	}
}
