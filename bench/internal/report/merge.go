package report

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Merged is several runs of the same kind, made into one page.
type Merged struct {
	Runs     []Run
	Sections []MergedSection
	Targets  []MergedTarget
}

// MergedSection is one scenario. Table has a line of headings.
type MergedSection struct {
	scenario.Scenario
	Table [][]string
	Notes []string
}

// MergedTarget is a target with the range of what the runs gave.
type MergedTarget struct {
	Target
	Value, Before span
}

// span is the range of a figure over the runs. Its zero value has no figure in it.
type span struct{ low, high float64 }

// with widens the range by a figure; zero is none.
func (s span) with(v float64) span {
	switch {
	case v == 0:
		return s
	case s == span{}:
		return span{v, v}
	}
	return span{min(s.low, v), max(s.high, v)}
}

// show writes the lower end first, and one figure where both ends read the same.
func (s span) show(format func(float64) string) string {
	low, high := format(s.low), format(s.high)
	if low == high {
		return low
	}
	return low + " to " + high
}

// Merge makes one page of runs. It refuses runs that cannot be compared: of different machines, servers, lengths, arguments
// or baselines, and one run given twice.
func Merge(c harness.Catalogue, runs []Saved) (Merged, error) {
	const least = 2
	if len(runs) < least {
		return Merged{}, fmt.Errorf("a range needs at least %d runs, and there is %d", least, len(runs))
	}
	runs = slices.SortedFunc(slices.Values(runs), func(a, b Saved) int { return a.Date.Compare(b.Date) })
	var m Merged
	for i, r := range runs {
		if i > 0 {
			if err := alike(runs[i-1].Run, r.Run); err != nil {
				return Merged{}, err
			}
		}
		m.Runs = append(m.Runs, r.Run)
		for _, row := range r.Rows {
			if !slices.Contains(c.ScenarioNames(), row.Scenario) {
				return Merged{}, fmt.Errorf("%s has a scenario %q, which this harness does not have", name(r.Run), row.Scenario)
			}
		}
	}
	for _, sc := range c.Scenarios {
		if s := mergeSection(sc, runs); len(s.Table)+len(s.Notes) > 0 {
			m.Sections = append(m.Sections, s)
		}
	}
	m.Targets = mergeTargets(runs)
	return m, nil
}

// name is how errors call a run.
func name(r Run) string { return "the run of " + r.Date.Format("2006-01-02 15:04:05") }

func alike(a, b Run) error {
	if a.Date.Equal(b.Date) {
		return fmt.Errorf("%s was given twice", name(a))
	}
	for _, p := range []struct{ what, a, b string }{
		{"machine", a.Machine.String(), b.Machine.String()},
		{"Go", a.Machine.Go, b.Machine.Go},
		{"servers", strings.Join(a.Servers, ", "), strings.Join(b.Servers, ", ")},
		{"rounds", fmt.Sprintf("%d of %v s, quick: %v", a.Rounds, a.Seconds, a.Quick), fmt.Sprintf("%d of %v s, quick: %v", b.Rounds, b.Seconds, b.Quick)},
		{"arguments", a.Arguments, b.Arguments},
		{"baseline", a.BaselineCommit, b.BaselineCommit},
	} {
		if p.a != p.b {
			return fmt.Errorf("%s and %s cannot be compared: %s: %q and %q", name(a), name(b), p.what, p.a, p.b)
		}
	}
	return nil
}

func mergeSection(sc scenario.Scenario, runs []Saved) MergedSection {
	s := MergedSection{Scenario: sc}
	var systems []string
	of := map[string][]Row{}
	for _, r := range runs {
		for _, row := range r.Rows {
			if row.Scenario != sc.Name {
				continue
			}
			if of[row.System] == nil {
				systems = append(systems, row.System)
			}
			of[row.System] = append(of[row.System], row)
		}
	}
	var table [][]string
	for _, system := range systems {
		rows := of[system]
		if failed, bad := failure(rows); bad {
			s.Notes = append(s.Notes, failed)
			continue
		}
		if len(rows) < len(runs) {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: measured in %d of %d runs", system, len(rows), len(runs)))
		}
		table = append(table, mergedCells(rows))
		s.Notes = append(s.Notes, mergedExtras(rows)...)
	}
	if len(table) > 0 {
		s.Table = withoutEmpty(slices.Insert(table, 0, columns))
	}
	return s
}

// failure tells of the rows that have no figure. One failure is enough: figures of the other runs would hide it.
func failure(rows []Row) (note string, failed bool) {
	var bad []Row
	for _, r := range rows {
		if r.Failed != "" {
			bad = append(bad, r)
		}
	}
	if len(bad) > 0 {
		return fmt.Sprintf("%s FAILED in %d of %d runs: %s", bad[0].System, len(bad), len(rows), bad[0].Failed), true
	}
	if rows[0].NotApplicable != "" {
		return fmt.Sprintf("%s: not applicable: %s", rows[0].System, rows[0].NotApplicable), true
	}
	return "", false
}

// mergedCells has the ranges of the runs' medians. The columns min and max are the worst and the best round of all runs.
func mergedCells(rows []Row) []string {
	over := func(get func(Row) float64, format func(float64) string) string {
		var s span
		for _, r := range rows {
			s = s.with(get(r))
		}
		return s.show(format)
	}
	figure := thousands
	if unit := rows[0].Unit; unit != "" {
		figure = func(v float64) string { return short(v) + " " + unit }
	}
	worst, best := rows[0].Figure.Min, rows[0].Figure.Max
	slowest := none
	if rows[0].Fairness > 0 {
		share := span{rows[0].MinShare, rows[0].MinShare} // which may well be zero
		for _, r := range rows {
			share = span{min(share.low, r.MinShare), max(share.high, r.MinShare)}
		}
		slowest = share.show(func(v float64) string { return fmt.Sprintf("%.2f", v) })
	}
	for _, r := range rows {
		worst, best = min(worst, r.Figure.Min), max(best, r.Figure.Max)
	}
	return []string{rows[0].System, over(func(r Row) float64 { return r.Figure.Median }, figure), figure(worst), figure(best),
		over(func(r Row) float64 { return r.Ratio }, ratio), over(func(r Row) float64 { return r.ToBaseline }, ratio),
		over(func(r Row) float64 { return r.P50 }, duration), over(func(r Row) float64 { return r.P99 }, duration),
		over(func(r Row) float64 { return r.ClientCPU }, short), over(func(r Row) float64 { return r.ServerCPU }, short),
		over(func(r Row) float64 { return r.RSS }, size), over(func(r Row) float64 { return r.Conns }, short0), slowest}
}

func mergedExtras(rows []Row) []string {
	spans := map[string]span{}
	for _, r := range rows {
		for name, v := range r.Extra {
			spans[name] = spans[name].with(v)
		}
	}
	if len(spans) == 0 {
		return nil
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(spans)) {
		parts = append(parts, name+" "+spans[name].show(short))
	}
	return []string{rows[0].System + ": " + strings.Join(parts, ", ")}
}

// mergeTargets has the targets that every run measured.
func mergeTargets(runs []Saved) []MergedTarget {
	var merged []MergedTarget
	for _, t := range targets {
		m, complete := MergedTarget{Target: t}, true
		for i, r := range runs {
			checked := slices.DeleteFunc(Check(r.Rows, r.Baseline), func(c Checked) bool { return c.Scenario != t.Scenario || c.Text != t.Text })
			if len(checked) == 0 {
				complete = false
				break
			}
			c := checked[0]
			if i == 0 {
				m.Value = span{c.Value, c.Value}
			}
			m.Value = span{min(m.Value.low, c.Value), max(m.Value.high, c.Value)}
			if c.WithBefore {
				m.Before = m.Before.with(c.Before)
			}
		}
		if complete {
			merged = append(merged, m)
		}
	}
	return merged
}

// Row is the target as it is shown. The verdict is that of the worst run.
func (t MergedTarget) Row() TargetRow {
	worst := t.Value.low
	if t.Less {
		worst = t.Value.high
	}
	return TargetRow{Scenario: t.Scenario, Text: t.Text, Measured: t.Value.show(short), Before: t.Before.show(short),
		Floor: t.bound(t.Floor), Aim: t.bound(t.Aim), Verdict: t.verdict(worst)}
}

// Warnings say what a reader of the page should know.
func (m Merged) Warnings() []string {
	var warnings []string
	for _, r := range m.Runs {
		if warning := r.Disturbed(); warning != "" {
			warnings = append(warnings, name(r)+": "+warning)
		}
		if r.Cut > 0 {
			warnings = append(warnings, fmt.Sprintf("%s left out %d measurements, since the time of a quick run was over.", name(r), r.Cut))
		}
	}
	if commits := m.distinct(func(r Run) string { return r.Commit }); len(commits) > 1 {
		warnings = append(warnings, "the runs measured different commits of the library: "+strings.Join(commits, ", "))
	}
	return warnings
}

// distinct are the values of the runs, each once, in the order of the runs.
func (m Merged) distinct(get func(Run) string) []string {
	var values []string
	for _, r := range m.Runs {
		if v := get(r); v != "" && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

var errNothing = errors.New("the runs have no figure in common")
