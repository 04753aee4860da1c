package harness

import (
	"slices"
	"time"
)

// Plan is what a run is to do.
type Plan struct {
	Scenarios, Systems []string
	Rounds             int
	Duration, Warmup   time.Duration
	// Quick makes scenarios small, and runs systems beside the main ones in quickScenarios alone. Budget is then the time after
	// which no round but the first begins, and Limit the one after which nothing does.
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

// longRounds is the most rounds of a long scenario.
const longRounds = 3

// Measurement is one scenario, one system, one round.
type Measurement struct {
	Scenario, System string
	Round            int
	// Others is the part of the machine's processors that programs beside this run used meanwhile, 0 to 1.
	Others float64
	Result Result
}

// Turns are all measurements in their order: round by round, and in a round scenario by scenario. Within a scenario all
// systems follow each other, so that those which are compared run next to each other.
func (p Plan) Turns(c Catalogue) []Measurement {
	var turns []Measurement
	for round := range p.Rounds {
		var first, rest []Measurement
		for _, sc := range c.Scenarios {
			if !slices.Contains(p.Scenarios, sc.Name) || sc.Long && (round >= longRounds || p.Quick && !p.Named) {
				continue
			}
			for _, s := range c.Systems {
				m := Measurement{Scenario: sc.Name, System: s.Name, Round: round + 1}
				switch main := slices.Contains(mainSystems, s.original()); {
				case !slices.Contains(p.Systems, s.Name), len(sc.Systems) > 0 && !slices.Contains(sc.Systems, s.original()),
					len(s.Scenarios) > 0 && !slices.Contains(s.Scenarios, sc.Name):
				case !p.Quick || p.Everywhere || main:
					first = append(first, m)
				case slices.Contains(quickScenarios, sc.Name): // after the main systems: the time may be over before
					rest = append(rest, m)
				}
			}
		}
		turns = slices.Concat(turns, first, rest)
	}
	return turns
}
