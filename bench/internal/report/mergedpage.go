package report

import (
	"fmt"
	"io"
	"strings"
)

const mergedHead = `# Benchmarks

Lockkeeper beside what one could use instead, measured in %s runs on one machine at different hours; in each run in turns.
Written by the harness in [bench/](../bench): do not edit. Ratios within a run are all that is claimed; absolute figures
depend on the machine. A range goes from the lowest to the highest of the runs. The lower end is the one to rely on, and
the higher end where less is better.

    make bench BENCH_ARGS='%s' >1.json   # and so on
    make bench BENCH_ARGS='merge 1.json 2.json 3.json --markdown docs/benchmarks.md'

`

const mergedReading = `The first figure and all ratios and other columns are the ranges of the runs' medians; *min* and *max* are the worst and the
best round of all runs. What a target is measured by is the worst run.

`

// Markdown writes the page for docs/.
func (m Merged) Markdown(w io.Writer) error {
	if len(m.Sections) == 0 {
		return errNothing
	}
	var b strings.Builder
	fmt.Fprintf(&b, mergedHead, count(len(m.Runs)), strings.TrimSpace("--json "+m.Runs[0].Arguments))
	m.circumstances(&b)
	if m.switches() {
		b.WriteString(switchReading + "\n\n")
	}
	for _, warning := range m.Warnings() {
		b.WriteString("**" + strings.ToUpper(warning[:1]) + warning[1:] + "**\n\n")
	}
	if len(m.Targets) > 0 {
		rows := make([]TargetRow, len(m.Targets))
		for i, t := range m.Targets {
			rows[i] = t.Row()
		}
		b.WriteString("## Targets\n\n")
		writeMarkdown(&b, targetTable(rows))
	}
	b.WriteString("## How to read the tables\n\n" + mergedReading + markdownReading)
	for _, s := range m.Sections {
		writeSection(&b, s.Name, s.Text, s.Table, s.Notes)
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func (m Merged) switches() bool {
	for _, r := range m.Runs {
		if len(r.Switch) > 0 {
			return true
		}
	}
	return false
}

func (m Merged) circumstances(b *strings.Builder) {
	var dates, switches []string
	var cost span
	for _, r := range m.Runs {
		dates = append(dates, fmt.Sprintf("%s, %v", r.Date.Format("2006-01-02 15:04"), r.Took))
		for _, s := range r.Switch {
			cost = cost.with(s.Ratio())
		}
		switches = append(switches, r.SwitchLines()...)
	}
	first := m.Runs[0]
	cell := ""
	if len(switches) > 0 {
		cell = cost.show(ratio) + " (" + strings.Join(switches, "; ") + ")"
	}
	properties(b, [][2]string{
		{"runs", strings.Join(dates, "; ")},
		{"rounds", fmt.Sprintf("%d of %v s in each run", first.Rounds, first.Seconds)},
		{"lockkeeper", strings.Join(m.distinct(func(r Run) string { return r.Commit }), ", ")},
		{"baseline", first.BaselineCommit},
		{"machine", first.Machine.String() + "; client and servers share it"},
		{"Go", first.Machine.Go},
		{"servers", strings.Join(first.Servers, ", ")},
		{"libraries", strings.Join(m.distinct(func(r Run) string { return strings.Join(r.Libraries, ", ") }), "; ")},
		{"a switch", cell}})
}

// count writes small numbers as words.
func count(n int) string {
	words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}
