package harness

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Plan is what a run is to do.
type Plan struct {
	Scenarios, Systems []string
	Rounds             int
	Duration, Warmup   time.Duration
	// Quick makes scenarios small, and gives systems beside the main ones only a place in QuickScenarios. Budget is then
	// the time after which no round but the first begins, and Limit the one after which nothing does.
	Quick         bool
	Everywhere    bool // the systems were named, so that each runs in every scenario
	Named         bool // the scenarios were named, so that long ones run too
	Budget, Limit time.Duration
	// Slack is how long a measurement may take on top of its warm-up and its window before it is killed.
	Slack time.Duration
}

// The quick run's choice: the systems that the targets are about run everywhere, the others where they do best.
var (
	mainSystems    = []string{"lockkeeper", "pgx", "limit-batch"}
	quickScenarios = []string{"distinct-100"}
)

// Measurement is one scenario, one system, one round.
type Measurement struct {
	Scenario string `json:"scenario"`
	System   string `json:"system"`
	Round    int    `json:"round"`
	// Others is the part of the machine's processors that programs beside this run used meanwhile, 0 to 1.
	Others float64         `json:"others"`
	Result scenario.Result `json:"result"`
}

// Turns are all measurements in their order: round by round, and in a round scenario by scenario, each with all systems
// one after the other, so that those which are compared run next to each other.
func (p Plan) Turns(c Catalogue) []Measurement {
	var turns []Measurement
	for round := range p.Rounds {
		begin := len(turns)
		for _, sc := range c.Scenarios {
			if !slices.Contains(p.Scenarios, sc.Name) || sc.MaxRounds > 0 && round >= sc.MaxRounds ||
				p.Quick && sc.Long && !p.Named {
				continue
			}
			for _, system := range c.Systems() {
				if p.wants(sc, system, c.kindOf(system)) {
					turns = append(turns, Measurement{Scenario: sc.Name, System: system, Round: round + 1})
				}
			}
		}
		if p.Quick && !p.Everywhere {
			// What the targets are about comes first: the time may be over before the rest.
			slices.SortStableFunc(turns[begin:], func(a, b Measurement) int {
				return rank(c.kindOf(a.System)) - rank(c.kindOf(b.System))
			})
		}
	}
	return turns
}

func rank(system string) int {
	if slices.Contains(mainSystems, system) {
		return 0
	}
	return 1
}

// wants takes a system's name, and that of its original where it is a variant: the two take part in the same scenarios.
func (p Plan) wants(sc scenario.Scenario, system, original string) bool {
	if !slices.Contains(p.Systems, system) || len(sc.Systems) > 0 && !slices.Contains(sc.Systems, original) {
		return false
	}
	return !p.Quick || p.Everywhere || slices.Contains(mainSystems, original) || slices.Contains(quickScenarios, sc.Name)
}
