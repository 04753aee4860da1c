package sim_test

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// Keepers, directories and supervisors of several processes on one server, under everything that can happen to them.
func TestKeepers(t *testing.T) {
	seen := newTally("granted by hand", "granted by the server", "refused: keeper failed", "refused: not acquired",
		"refused: attempts", "refused: closed", "refused: too many waiters", "refused: too many keys", "refused: cancelled",
		"over: released", "over: cancelled", "over: lost", "over: closed", "over: keeper failed",
		"settled: confirmed", "settled: unknown", "settled: lost", "keeper panics", "process killed", "session killed")
	explore(t, "TestKeepers", 120, seen, func(_ *testing.T, src *sim.Source) error {
		w := newWorld(src)
		w.seen = seen
		return w.run()
	})
}

// One history is one run: what happened is the same each time, whoever else has the machine.
func TestKeepersRepeat(t *testing.T) {
	for seed := range uint64(100) {
		first := sim.Random(seed, 120)
		if err := inBubble(t, first, func(_ *testing.T, src *sim.Source) error { return newWorld(src).run() }); err != nil {
			t.Fatal(err)
		}
		var told []string
		for range 3 {
			var w *world
			if err := inBubble(t, sim.Repeat(first.Taken()), func(_ *testing.T, src *sim.Source) error {
				w = newWorld(src)
				return w.run()
			}); err != nil {
				t.Fatal(err)
			}
			if trace := w.trace; told == nil {
				told = trace
			} else if !slices.Equal(told, trace) {
				t.Fatalf("seed %d: another history than before:\n%s\n\n%s", seed, strings.Join(told, "\n"), strings.Join(trace, "\n"))
			}
		}
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
