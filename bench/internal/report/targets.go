package report

import "slices"

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
	// Before is the baseline's value, where WithBefore says that there is one.
	Before     float64
	WithBefore bool
}

// board finds rows, and says whose target is checked.
type board struct {
	rows []Row
	ours string
}

func (b board) get(scenario, system string) (Row, bool) {
	for _, r := range b.rows {
		if r.Scenario == scenario && r.System == system && r.Failed == "" && r.NotApplicable == "" {
			return r, true
		}
	}
	return Row{}, false
}

// ours is Lockkeeper's name.
const ours = "lockkeeper"

// Check returns the targets that were measured. The baseline is the system to check beside Lockkeeper, where there is one.
func Check(rows []Row, baseline string) []Checked {
	var checked []Checked
	for _, t := range targets {
		v, ok := t.Of(board{rows, ours})
		if !ok {
			continue
		}
		c := Checked{Target: t, Value: v}
		if baseline != "" {
			c.Before, c.WithBefore = t.Of(board{rows, baseline})
		}
		checked = append(checked, c)
	}
	return checked
}

// Verdict is "missed", "floor" or "aim".
func (c Checked) Verdict() string { return c.verdict(c.Value) }

func (t Target) verdict(value float64) string {
	reaches := func(mark float64) bool { return value >= mark && !t.Less || value <= mark && t.Less }
	switch {
	case reaches(t.Aim):
		return "aim"
	case reaches(t.Floor):
		return "floor"
	default:
		return "missed"
	}
}

// TargetRow is a target as it is shown.
type TargetRow struct{ Scenario, Text, Measured, Before, Floor, Aim, Verdict string }

// TargetRows are in the order of the targets.
func (r Report) TargetRows() []TargetRow {
	rows := make([]TargetRow, len(r.Targets))
	for i, c := range r.Targets {
		rows[i] = TargetRow{Scenario: c.Scenario, Text: c.Text, Measured: short(c.Value), Before: none, Floor: c.bound(c.Floor),
			Aim: c.bound(c.Aim), Verdict: c.Verdict()}
		if c.WithBefore {
			rows[i].Before = short(c.Before)
		}
	}
	return rows
}

// TargetTable has a line of headings.
func (r Report) TargetTable() [][]string {
	return targetTable(r.TargetRows())
}

// targetTable has a column for the baseline only where there is one.
func targetTable(rows []TargetRow) [][]string {
	table := [][]string{{"scenario and what", "measured", "baseline", "floor", "aim", "reached"}}
	for _, t := range rows {
		table = append(table, []string{t.Scenario + ": " + t.Text, t.Measured, t.Before, t.Floor, t.Aim, t.Verdict})
	}
	if slices.ContainsFunc(rows, func(t TargetRow) bool { return t.Before != none }) {
		return table
	}
	const before = 2
	for i := range table {
		table[i] = slices.Delete(table[i], before, before+1)
	}
	return table
}

func (t Target) bound(mark float64) string {
	if t.Less {
		return "<= " + short(mark)
	}
	return ">= " + short(mark)
}
