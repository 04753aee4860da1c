package report

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/pgbench"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
)

// Run is what all figures of a run have in common. It is a part of each line of --json.
type Run struct {
	Date time.Time     `json:"began"`
	Took time.Duration `json:"took_ns"`
	// Arguments repeat the run.
	Arguments string  `json:"arguments,omitempty"`
	Rounds    int     `json:"rounds"`
	Seconds   float64 `json:"seconds"`
	Quick     bool    `json:"quick,omitempty"`
	// Cut measurements did not fit into a quick run.
	Cut int `json:"cut,omitempty"`
	// Commit is that of the library under test; it ends in "-dirty" where files were changed since.
	Commit string `json:"commit,omitempty"`
	// Baseline is the name of the system with the library at another commit, and BaselineCommit that commit.
	Baseline       string  `json:"baseline,omitempty"`
	BaselineCommit string  `json:"baseline_commit,omitempty"`
	Machine        Machine `json:"machine"`
	// Servers and Libraries are versions.
	Servers   []string `json:"servers,omitempty"`
	Libraries []string `json:"libraries,omitempty"`
	// Switch is the cost of a switch between processes.
	Switch []harness.SwitchCost `json:"switch,omitempty"`
	// Others is the part of the processors that other programs used, the median over all measurements.
	Others float64 `json:"others,omitempty"`
}

func newRun(c harness.Catalogue, p harness.Plan, o harness.Outcome) Run {
	r := Run{Cut: o.Cut, Quick: p.Quick, Machine: ThisMachine(), Servers: o.Versions, Libraries: libraries(), Date: o.Began,
		Took: o.Took.Round(time.Second), Rounds: p.Rounds, Seconds: p.Duration.Seconds(), Others: others(o), Switch: o.Switch}
	for _, v := range c.Variants() {
		r.Baseline, r.BaselineCommit = v.Label, v.Commit
	}
	return r
}

func others(o harness.Outcome) float64 {
	var parts []float64
	for _, m := range o.Measurements {
		parts = append(parts, m.Others)
	}
	return stats.Median(parts)
}

// quietEnough is how much of the machine others may use before a run says of itself that it means little.
const quietEnough = 0.05

// Disturbed says what else the machine did, where it did too much.
func (r Run) Disturbed() string {
	if r.Others <= quietEnough {
		return ""
	}
	return fmt.Sprintf("Other programs used %.0f %% of the processors meanwhile: these figures mean little. Repeat the run on a quiet machine.",
		100*r.Others)
}

// switchReading says what the cost of a switch is about.
const switchReading = `A switch between processes: pgbench's SELECT 1 by 50 clients to the same by one, in transactions per second. The ratio to
pgx depends on it: with a connection for each lock the server switches processes at each statement.`

// SwitchReading returns the explanation of SwitchLines.
func (Run) SwitchReading() string { return switchReading }

// SwitchLines are the costs of a switch, a line for each time.
func (r Run) SwitchLines() []string {
	var lines []string
	for _, s := range r.Switch {
		lines = append(lines, fmt.Sprintf("%s: %s with %d clients, %s with one: %s", s.When, thousands(s.Many), pgbench.SwitchClients,
			thousands(s.One), ratio(s.Ratio())))
	}
	return lines
}
