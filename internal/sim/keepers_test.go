package sim_test

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// Keepers and supervisors of several processes on one server, under everything that can happen to them.
func TestKeepers(t *testing.T) {
	seen := newTally("exclusive, granted by hand", "exclusive, granted by the server", "shared, granted by hand",
		"shared, granted by the server", "readers hear of a writer", "readers hear of none",
		"lost by many who share", "refused: keeper failed", "refused: not acquired",
		"refused: attempts", "refused: closed", "refused: too many waiters", "refused: too many keys", "refused: cancelled",
		"over: released", "over: cancelled", "over: lost", "over: closed", "over: keeper failed",
		"settled: confirmed", "settled: unknown", "settled: lost", "keeper panics", "keeper exits", "asked for a pause",
		"given to a session that had ended", "never sent", "work told of the close", "process killed", "session killed",
		"kept for a minimum hold", "hint heard")
	explore(t, "TestKeepers", 120, seen, func(_ *testing.T, src *sim.Source) error {
		w := newWorld(src)
		w.seen = seen
		return play(w)
	})
}

// One history is one run: what happened is the same each time, whoever else has the machine. The exceptions are two keepers
// whose timers fire in one instant, and a claim that comes in the middle of a step and may overtake others: who is first is the
// scheduler's choice. The latter are known, and not counted.
func TestKeepersRepeat(t *testing.T) {
	const histories = 50
	other := 0
	for seed := range uint64(histories) {
		first := sim.Random(seed, 120)
		if err := inBubble(t, first, func(_ *testing.T, src *sim.Source) error { return play(newWorld(src)) }); err != nil {
			t.Fatal(err)
		}
		var told []string
		for range 3 {
			var w *world
			if err := inBubble(t, sim.Repeat(first.Taken()), func(_ *testing.T, src *sim.Source) error {
				w = newWorld(src)
				return play(w)
			}); err != nil {
				t.Fatal(err)
			}
			if trace := w.trace; told == nil {
				told = trace
			} else if !slices.Equal(told, trace) {
				if !w.overtaken {
					other++
				}
				t.Logf("seed %d: %s", seed, firstDifference(told, trace))
			}
		}
	}
	if other > 3 {
		t.Errorf("%d of %d repeats went another way than the first", other, 2*histories)
	}
}

// inBubble plays one history on a clock of its own. A bubble whose goroutines do not end panics; so it breaks a rule.
func inBubble(t *testing.T, src *sim.Source, play func(*testing.T, *sim.Source) error) (err error) {
	defer func() {
		if r := recover(); r != nil && err == nil {
			err = &sim.ViolationError{Check: "an end", Text: fmt.Sprint(r), Steps: len(src.Taken())}
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if r := recover(); r != nil {
				err = &sim.ViolationError{Check: "no panic of our own", Text: fmt.Sprintf("%v\n%s", r, debug.Stack()), Steps: len(src.Taken())}
			}
		}()
		err = play(t, src)
	})
	return err
}
