package report

import (
	"fmt"
	"slices"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Report is a run, ready to be written in any form.
type Report struct {
	Run
	Rows     []Row
	Sections []Section
	Targets  []Checked
}

// Section is one scenario.
type Section struct {
	scenario.Scenario
	Rows  []Row // those with figures
	Notes []string
	// Baseline is the name of the system with the library at another commit, where there is one.
	Baseline string
}

// New puts a run's measurements together. commit is the checkout's, "" where it is not known.
func New(c harness.Catalogue, p harness.Plan, o harness.Outcome, arguments, commit string) Report {
	r := Report{Run: newRun(c, p, o), Rows: Rows(c, o.Measurements)}
	r.Arguments, r.Commit = arguments, commit
	r.Targets = Check(r.Rows, r.Baseline)
	for _, sc := range c.Scenarios {
		if s := section(sc, r.Rows); len(s.Rows)+len(s.Notes) > 0 {
			s.Baseline = r.Baseline
			r.Sections = append(r.Sections, s)
		}
	}
	return r
}

// Any says whether there is any figure.
func (r Report) Any() bool {
	return slices.ContainsFunc(r.Sections, func(s Section) bool { return len(s.Rows) > 0 })
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
