package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// Report is one run or several, ready to be written in any form. Where there are several, figures are the ranges of them.
type Report struct {
	Saved    // the first run
	Runs     []Saved
	Sections []Section
	Targets  []Target
}

// Section is one scenario.
type Section struct {
	harness.Scenario
	// Baseline is the name of the system with the library at another commit, where there is one.
	Baseline string
	Rows     []Row // those of the first run that have figures
	// Table has a line of headings. Columns in which nobody has a figure are left out.
	Table [][]string
	Notes []string
}

// Merge makes one report of runs. It refuses runs that cannot be compared: of different machines, servers, lengths, arguments
// or baselines, and one run given twice.
func Merge(c harness.Catalogue, runs []Saved) (Report, error) {
	const least = 2
	if len(runs) < least {
		return Report{}, fmt.Errorf("a range needs at least %d runs, and there is %d", least, len(runs))
	}
	runs = slices.SortedFunc(slices.Values(runs), func(a, b Saved) int { return a.Date.Compare(b.Date) })
	for i, r := range runs {
		if i > 0 {
			if err := alike(runs[i-1].Run, r.Run); err != nil {
				return Report{}, err
			}
		}
		for _, row := range r.Rows {
			if !slices.Contains(c.ScenarioNames(), row.Scenario) {
				return Report{}, fmt.Errorf("%s has a scenario %q, which this harness does not have", name(r.Run), row.Scenario)
			}
		}
	}
	return build(c, runs), nil
}

// name is how errors call a run.
func name(r Run) string { return "the run of " + r.Date.Format("2006-01-02 15:04:05") }

func alike(a, b Run) error {
	if a.Date.Equal(b.Date) {
		return fmt.Errorf("%s was given twice", name(a))
	}
	for _, p := range []struct {
		what string
		of   func(Run) string
	}{
		{"machine", func(r Run) string { return r.Machine.String() }},
		{"Go", func(r Run) string { return r.Machine.Go }},
		{"servers", func(r Run) string { return strings.Join(r.Servers, ", ") }},
		{"rounds", func(r Run) string { return fmt.Sprintf("%d of %v s, quick: %v", r.Rounds, r.Seconds, r.Quick) }},
		{"arguments", func(r Run) string { return r.Arguments }},
		{"baseline", func(r Run) string { return r.BaselineCommit }},
	} {
		if p.of(a) != p.of(b) {
			return fmt.Errorf("%s and %s cannot be compared: %s: %q and %q", name(a), name(b), p.what, p.of(a), p.of(b))
		}
	}
	return nil
}

func build(c harness.Catalogue, runs []Saved) Report {
	r := Report{Saved: runs[0], Runs: runs, Targets: check(runs)}
	for _, sc := range c.Scenarios {
		if s := section(sc, runs); len(s.Table)+len(s.Notes) > 0 {
			r.Sections = append(r.Sections, s)
		}
	}
	return r
}

// Any reports whether there is any figure.
func (r Report) Any() bool {
	return slices.ContainsFunc(r.Sections, func(s Section) bool { return len(s.Table) > 0 })
}

// Warnings say what a reader of the report should know.
func (r Report) Warnings() (all []string) {
	for _, run := range r.Runs {
		of := ""
		if len(r.Runs) > 1 {
			of = name(run.Run) + ": "
		}
		if run.Cut > 0 {
			all = append(all, fmt.Sprintf("%s%d measurements were left out, since the time of a quick run was over.", of, run.Cut))
		}
		if warning := run.Disturbed(); warning != "" {
			all = append(all, of+warning)
		}
	}
	if commits := r.distinct(func(r Run) string { return r.Commit }); len(commits) > 1 {
		all = append(all, "the runs measured different commits of the library: "+strings.Join(commits, ", "))
	}
	return all
}

// distinct are the values of the runs, each once, in the order of the runs.
func (r Report) distinct(get func(Run) string) (values []string) {
	for _, run := range r.Runs {
		if v := get(run.Run); v != "" && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

func section(sc harness.Scenario, runs []Saved) Section {
	s := Section{Scenario: sc, Baseline: runs[0].Baseline}
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
	table := [][]string{headings()}
	for _, system := range systems {
		rows := of[system]
		if note := missing(rows, len(runs)); note != "" {
			s.Notes = append(s.Notes, note)
			continue
		}
		if len(rows) < len(runs) {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: measured in %d of %d runs", system, len(rows), len(runs)))
		}
		s.Rows = append(s.Rows, rows[0])
		table = append(table, cells(rows))
		s.Notes = append(s.Notes, extras(rows)...)
	}
	if len(table) > 1 {
		s.Table = withoutEmpty(table)
	}
	return s
}

// missing says why rows have no figure. One failure is enough: figures of the other runs would hide it.
func missing(rows []Row, runs int) string {
	bad := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Failed == "" })
	switch {
	case len(bad) > 0 && runs == 1:
		return fmt.Sprintf("%s FAILED: %s", bad[0].System, bad[0].Failed)
	case len(bad) > 0:
		return fmt.Sprintf("%s FAILED in %d of %d runs: %s", bad[0].System, len(bad), len(rows), bad[0].Failed)
	case rows[0].NotApplicable != "":
		return fmt.Sprintf("%s: not applicable: %s", rows[0].System, rows[0].NotApplicable)
	}
	return ""
}

// columns are those of a table that follow the system, the median and the ends, and come before the slowest party's share.
var columns = []struct {
	heading string
	get     func(Row) figure
	format  func(float64) string
}{
	{"to pgx", func(r Row) figure { return r.Ratio }, ratio},
	{"to baseline", func(r Row) figure { return r.ToBaseline }, ratio},
	{"p50", func(r Row) figure { return r.P50 }, duration},
	{"p99", func(r Row) figure { return r.P99 }, duration},
	{"client", func(r Row) figure { return r.ClientCPU }, short},
	{"server", func(r Row) figure { return r.ServerCPU }, short},
	{"memory", func(r Row) figure { return r.RSS }, size},
	{"conns", func(r Row) figure { return r.Conns }, thousands},
}

func headings() []string {
	line := []string{"system", "median", "min", "max"}
	for _, c := range columns {
		line = append(line, c.heading)
	}
	return append(line, "slowest")
}

// cells has the ranges of the runs' medians. The columns min and max are the worst and the best round of all runs.
func cells(rows []Row) []string {
	format := thousands
	if unit := rows[0].Unit; unit != "" {
		format = func(v float64) string { return short(v) + " " + unit }
	}
	var median, all, slowest span
	for _, r := range rows {
		f := r.headline()
		median = median.with(f.Median)
		all = all.with(f.Min).with(f.Max)
		if r.Fairness > 0 { // where there are parties, the slowest one's share may well be zero
			slowest = slowest.with(r.MinShare)
		}
	}
	line := []string{rows[0].System, median.show(format), format(all.low), format(all.high)}
	for _, c := range columns {
		var s span
		for _, r := range rows {
			if v := c.get(r); v != 0 {
				s = s.with(float64(v))
			}
		}
		line = append(line, s.show(c.format))
	}
	return append(line, slowest.show(func(v float64) string { return fmt.Sprintf("%.2f", v) }))
}

// extras are the figures that have no column.
func extras(rows []Row) []string {
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

func withoutEmpty(table [][]string) [][]string {
	out := make([][]string, len(table))
	for column := range table[0] {
		if !slices.ContainsFunc(table[1:], func(line []string) bool { return line[column] != none }) {
			continue
		}
		for i, line := range table {
			out[i] = append(out[i], line[column])
		}
	}
	return out
}
