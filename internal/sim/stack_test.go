package sim_test

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// Managers with all that is below them, on a simulated PostgreSQL, under everything that can happen to them.
func TestStack(t *testing.T) {
	explore(t, "TestStack", 150, func(_ *testing.T, src *sim.Source) error { return newStack(src).run() })
}
