package sim_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// Keepers, directories and supervisors of several processes on one server, under everything that can happen to them.
func TestKeepers(t *testing.T) {
	explore(t, "TestKeepers", 120, func(t *testing.T, src *sim.Source) error {
		return newWorld(src).run()
	})
}

// inBubble plays one history on a clock of its own. A bubble whose goroutines do not end panics; so it breaks a rule.
func inBubble(t *testing.T, src *sim.Source, play func(*testing.T, *sim.Source) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &sim.Violation{Check: "an end", Text: fmt.Sprint(r), Steps: len(src.Taken())}
		}
	}()
	synctest.Test(t, func(t *testing.T) { err = play(t, src) })
	return err
}
