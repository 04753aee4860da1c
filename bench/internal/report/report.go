package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/bench/internal/stats"
)

// Report is a run, ready to be written in any form.
type Report struct {
	Rows     []Row
	Sections []Section
	Targets  []Checked
	// Cut measurements did not fit into a quick run.
	Cut     int
	Quick   bool
	Machine Machine
	// Servers and Libraries are versions.
	Servers, Libraries []string
	Date               time.Time
	Took               time.Duration
	Rounds             int
	Seconds            float64
	// Others is the part of the processors that other programs used, the median over all measurements.
	Others float64
	// Arguments repeat the run.
	Arguments string
}

// Section is one scenario.
type Section struct {
	scenario.Scenario
	Rows  []Row // those with figures
	Notes []string
}

// New puts a run's measurements together.
func New(c harness.Catalogue, p harness.Plan, o harness.Outcome, arguments string) Report {
	rows := Rows(c, o.Measurements)
	r := Report{Rows: rows, Targets: Check(rows), Cut: o.Cut, Quick: p.Quick, Machine: ThisMachine(),
		Servers: o.Versions, Libraries: libraries(), Date: o.Began, Took: o.Took.Round(time.Second),
		Rounds: p.Rounds, Seconds: p.Duration.Seconds(), Arguments: arguments, Others: others(o)}
	for _, sc := range c.Scenarios {
		if s := section(sc, rows); len(s.Rows)+len(s.Notes) > 0 {
			r.Sections = append(r.Sections, s)
		}
	}
	return r
}

// Any says whether there is any figure.
func (r Report) Any() bool {
	return slices.ContainsFunc(r.Sections, func(s Section) bool { return len(s.Rows) > 0 })
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
func (r Report) Disturbed() string {
	if r.Others <= quietEnough {
		return ""
	}
	return fmt.Sprintf("Other programs used %.0f %% of the processors meanwhile: these figures mean little. Repeat the run on a quiet machine.",
		100*r.Others)
}

func section(sc scenario.Scenario, rows []Row) Section {
	s := Section{Scenario: sc}
	for _, r := range rows {
		switch {
		case r.Scenario != sc.Name:
		case r.Failed != "":
			s.Notes = append(s.Notes, fmt.Sprintf("%s FAILED: %s", r.System, r.Failed))
		case r.NotApplicable != "":
			s.Notes = append(s.Notes, fmt.Sprintf("%s: not applicable: %s", r.System, r.NotApplicable))
		default:
			s.Rows = append(s.Rows, r)
			s.Notes = append(s.Notes, r.extras()...)
		}
	}
	return s
}

// Table has a line of headings. Columns in which nobody has a figure are left out.
func (s Section) Table() [][]string {
	table := [][]string{columns}
	for _, r := range s.Rows {
		table = append(table, r.cells())
	}
	return withoutEmpty(table)
}

func withoutEmpty(table [][]string) [][]string {
	out := make([][]string, len(table))
	for column := range table[0] {
		filled := false
		for _, line := range table[1:] {
			filled = filled || line[column] != none
		}
		for i, line := range table {
			if filled {
				out[i] = append(out[i], line[column])
			}
		}
	}
	return out
}
