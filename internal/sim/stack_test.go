package sim_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// Managers with all that is below them, on a simulated PostgreSQL, under everything that can happen to them.
func TestStack(t *testing.T) {
	seen := newTally("granted, exclusive", "granted, shared", "readers hear of a writer", "refused: cancelled", "refused: wait timeout", "refused: not acquired", "refused: closed",
		"refused: attempts", "refused: keeper failed", "released: confirmed", "released: lost", "released: unknown",
		"released: cancelled", "told: lost", "told: released", "told: cancelled", "told: closed", "session killed", "session expired",
		"statement failed", "backend cancelled", "granted in the queue", "server restarted", "context shared", "keeper failed",
		"told: keeper failed", "worked", "worked on after the end of its context", "worked on after Close", "refused: bad backoff",
		"bad backoff 0", "bad backoff 1", "bad backoff 2", "bad backoff 3", "bad backoff 4", "two in the air", "health question")
	explore(t, "TestStack", 150, seen, func(_ *testing.T, src *sim.Source) error {
		w := newStack(src)
		w.seen = seen
		return play(w)
	})
}

// The stack has many goroutines, and which of two acts first in one instant is the scheduler's choice: a history repeats
// nearly always, which is what makes it worth to print its seed.
func TestStackRepeats(t *testing.T) {
	const runs = 30
	other := 0
	for seed := range uint64(runs) {
		first := sim.Random(seed, 150)
		if err := inBubble(t, first, func(_ *testing.T, src *sim.Source) error { return play(newStack(src)) }); err != nil {
			t.Fatal(err)
		}
		var told []string
		for range 2 {
			var w *stack
			if err := inBubble(t, sim.Repeat(first.Taken()), func(_ *testing.T, src *sim.Source) error {
				w = newStack(src)
				return play(w)
			}); err != nil {
				t.Fatal(err)
			}
			if told == nil {
				told = w.trace
			} else if !slices.Equal(told, w.trace) {
				other++
				t.Logf("seed %d: %s", seed, firstDifference(told, w.trace))
			}
		}
	}
	if t.Logf("%d of %d histories went another way the second time", other, runs); other > runs/2 {
		t.Error("too many")
	}
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return strings.Join([]string{a[i], b[i]}, "  |  ")
		}
	}
	return "one is longer"
}
