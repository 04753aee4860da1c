package report

import (
	"fmt"
	"strings"
)

// Target is what a release has to reach, and what it would like to.
type Target struct {
	Scenario, Text string
	Floor, Aim     float64
	// Less means that smaller is better.
	Less bool
	// Of gets the figure, and whether it was measured.
	Of func(b board) (float64, bool)
}

// Checked is a target with what was measured.
type Checked struct {
	Target
	Value float64
}

// board finds rows.
type board []Row

func (b board) get(scenario, system string) (Row, bool) {
	for _, r := range b {
		if r.Scenario == scenario && r.System == system && r.Failed == "" && r.NotApplicable == "" {
			return r, true
		}
	}
	return Row{}, false
}

// ours is Lockkeeper's name.
const ours = "lockkeeper"

// toPgx is the ratio of the scenario's figure to the baseline.
func toPgx(scenario string) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, ours)
		return r.Ratio, ok && r.Ratio > 0
	}
}

// toOthers is the ratio to the fastest system that is on no PostgreSQL.
func toOthers(scenario string) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, ours)
		best := 0.0
		for _, other := range b {
			if other.Scenario == scenario && other.Failed == "" && elsewhere(other.System) {
				best = max(best, other.Figure.Median)
			}
		}
		if !ok || best == 0 {
			return 0, false
		}
		return r.Figure.Median / best, true
	}
}

func elsewhere(system string) bool {
	for _, name := range []string{"redis", "rueidis", "redsync", "etcd"} {
		if strings.HasPrefix(system, name) {
			return true
		}
	}
	return false
}

func figure(scenario string, get func(Row) float64) func(board) (float64, bool) {
	return func(b board) (float64, bool) {
		r, ok := b.get(scenario, ours)
		return get(r), ok
	}
}

func serverCost(b board) (float64, bool) {
	r, ok := b.get("distinct-1000", ours)
	base, ok2 := b.get("distinct-1000", Baseline)
	if !ok || !ok2 || base.ServerCPU == 0 {
		return 0, false
	}
	return r.ServerCPU / base.ServerCPU, true
}

// Targets are those of throughput. A figure within one run is all that is claimed.
var Targets = []Target{
	{Scenario: "lone", Text: "pairs to pgx", Floor: 0.6, Aim: 0.9, Of: toPgx("lone")},
	{Scenario: "lone-rtt", Text: "pairs to pgx", Floor: 0.95, Aim: 1, Of: toPgx("lone-rtt")},
	{Scenario: "distinct-10", Text: "pairs to pgx", Floor: 0.9, Aim: 1.2, Of: toPgx("distinct-10")},
	{Scenario: "distinct-10", Text: "slowest goroutine to the mean", Floor: 0.5, Aim: 0.5,
		Of: figure("distinct-10", func(r Row) float64 { return r.MinShare })},
	{Scenario: "distinct-100", Text: "pairs to pgx", Floor: 4, Aim: 8, Of: toPgx("distinct-100")},
	{Scenario: "distinct-1000", Text: "pairs to pgx", Floor: 5, Aim: 10, Of: toPgx("distinct-1000")},
	{Scenario: "distinct-1000", Text: "pairs to the fastest on Redis or etcd", Floor: 3.5, Aim: 6, Of: toOthers("distinct-1000")},
	{Scenario: "distinct-1000", Text: "server's CPU per pair to pgx's", Floor: 0.2, Aim: 0.1, Less: true, Of: serverCost},
	{Scenario: "distinct-1000-rtt", Text: "pairs to pgx", Floor: 6, Aim: 12, Of: toPgx("distinct-1000-rtt")},
	{Scenario: "distinct-10000", Text: "pairs to pgx", Floor: 3.5, Aim: 8, Of: toPgx("distinct-10000")},
	{Scenario: "one-key-100", Text: "pairs to pgx", Floor: 60, Aim: 120, Of: toPgx("one-key-100")},
	{Scenario: "zipf", Text: "pairs to pgx", Floor: 5, Aim: 10, Of: toPgx("zipf")},
}

// Check returns the targets that were measured.
func Check(rows []Row) []Checked {
	var checked []Checked
	for _, t := range Targets {
		if v, ok := t.Of(board(rows)); ok {
			checked = append(checked, Checked{t, v})
		}
	}
	return checked
}

// Verdict is "missed", "floor" or "aim".
func (c Checked) Verdict() string {
	reaches := func(mark float64) bool { return c.Value >= mark && !c.Less || c.Value <= mark && c.Less }
	switch {
	case reaches(c.Aim):
		return "aim"
	case reaches(c.Floor):
		return "floor"
	default:
		return "missed"
	}
}

func writeTargets(b *strings.Builder, checked []Checked) {
	if len(checked) == 0 {
		return
	}
	fmt.Fprintln(b, "Targets:")
	table := [][]string{{"scenario and what", "measured", "floor", "aim", "reached"}}
	for _, c := range checked {
		table = append(table, []string{c.Scenario + ": " + c.Text, short(c.Value), c.bound(c.Floor), c.bound(c.Aim), c.Verdict()})
	}
	align(b, table)
}

func (c Checked) bound(mark float64) string {
	if c.Less {
		return "<= " + short(mark)
	}
	return ">= " + short(mark)
}
