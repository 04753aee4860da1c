package actor

import (
	"bytes"
	"context"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"
)

// keeperStack matches the entry of a goroutine profile for the goroutines that carry the keepers' label.
var keeperStack = regexp.MustCompile(`(?m)^(\d+) @[^\n]*\n# labels: [^\n]*"lockkeeper":"keeper"`)

// keeperGoroutines counts the goroutines of keepers, as anybody can who looks at a goroutine profile.
func keeperGoroutines(t *testing.T) (n int) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		t.Fatal(err)
	}
	for _, match := range keeperStack.FindAllSubmatch(profile.Bytes(), -1) {
		count, err := strconv.Atoi(string(match[1]))
		if err != nil {
			t.Fatal(err)
		}
		n += count
	}
	return n
}

// awaitKeepers waits until there are so many goroutines of keepers.
func awaitKeepers(t *testing.T, want int) {
	t.Helper()
	got := 0
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); runtime.Gosched() {
		if got = keeperGoroutines(t); got == want {
			return
		}
	}
	t.Fatalf("%d goroutines of keepers, should be %d", got, want)
}

// submit makes a claim, and granted waits until it holds, on the test's own goroutine.
func submit(t *testing.T, s *Supervisor, terms Terms) *Claim {
	t.Helper()
	c := &Claim{Terms: terms}
	c.Owner = quiet{}
	if err := s.Submit(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func granted(t *testing.T, c *Claim) *Claim {
	t.Helper()
	if <-c.Replies(); c.Err != nil {
		t.Fatal(c.Err)
	}
	return c
}

// Each key in use has a running goroutine of its own, for as long as it is in use and a moment longer.
func TestOneGoroutineForEachKeyInUse(t *testing.T) {
	const keys = 200
	s := NewSupervisor(Config{
		Store:     &instantStore{freshSession{time.Now().Add(time.Hour)}},
		Limits:    Limits{MaxWaiters: 10, HandOffTime: time.Second, HandOffGrants: 100},
		Intensity: IntensityLimit{Restarts: 5, Window: 10 * time.Second},
		MaxKeys:   keys, IdleTimeout: 20 * time.Millisecond,
	})
	awaitKeepers(t, 0)
	claims := make([]*Claim, keys)
	for i := range claims {
		claims[i] = granted(t, submit(t, s, key(int64(i))))
	}
	for range 3 {
		awaitKeepers(t, keys) // held for longer than the idle timeout, too
		idle := time.NewTimer(25 * time.Millisecond)
		<-idle.C
	}
	for i, c := range claims[:keys/2] {
		if !c.Release(nil) || c.Outcome() != nil {
			t.Fatalf("key %d: %v", i, c.Outcome())
		}
	}
	awaitKeepers(t, keys/2)
	for limit := time.Now().Add(time.Minute); s.Counters.Keys.Load() != keys/2; runtime.Gosched() {
		if time.Now().After(limit) { // the supervisor counts a moment later
			t.Fatalf("%d keys are counted", s.Counters.Keys.Load())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	awaitKeepers(t, 0)
	if n := s.Counters.Keys.Load(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
