package report

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

// Check returns the targets that were measured.
func Check(rows []Row) []Checked {
	var checked []Checked
	for _, t := range targets {
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

// TargetRow is a target as it is shown.
type TargetRow struct{ Scenario, Text, Measured, Floor, Aim, Verdict string }

// TargetRows are in the order of the targets.
func (r Report) TargetRows() []TargetRow {
	rows := make([]TargetRow, len(r.Targets))
	for i, c := range r.Targets {
		rows[i] = TargetRow{c.Scenario, c.Text, short(c.Value), c.bound(c.Floor), c.bound(c.Aim), c.Verdict()}
	}
	return rows
}

// TargetTable has a line of headings.
func (r Report) TargetTable() [][]string {
	table := [][]string{{"scenario and what", "measured", "floor", "aim", "reached"}}
	for _, t := range r.TargetRows() {
		table = append(table, []string{t.Scenario + ": " + t.Text, t.Measured, t.Floor, t.Aim, t.Verdict})
	}
	return table
}

func (c Checked) bound(mark float64) string {
	if c.Less {
		return "<= " + short(mark)
	}
	return ">= " + short(mark)
}
