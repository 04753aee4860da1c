package report

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// Brief is a result in a few words, for progress.
func Brief(r harness.Result) string {
	switch {
	case r.Failed != "":
		return "FAILED: " + r.Failed
	case r.NotApplicable != "":
		return r.NotApplicable
	case r.PairsPerSecond > 0:
		return fmt.Sprintf("%s pairs/s, p50 %s, p99 %s", thousands(r.PairsPerSecond), duration(r.P50), duration(r.P99))
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.Extra)) {
		parts = append(parts, name+" "+short(r.Extra[name]))
	}
	return strings.Join(parts, ", ")
}

const legend = `median, min, max: of the rounds, pairs (acquire and release) per second where no unit is given. p50, p99: of an
acquisition. client, server: CPU seconds per million pairs. memory: the client's peak. slowest: the slowest goroutine's
share of the mean.`

// Text writes tables for a terminal, one for each scenario.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "%s: %s\n", s.Name, s.Text)
		align(&b, s.Table)
		for _, note := range s.Notes {
			fmt.Fprintf(&b, "  %s\n", note)
		}
		b.WriteByte('\n')
	}
	b.WriteString(legend + "\n\n")
	if r.Baseline != "" {
		fmt.Fprintf(&b, "baseline: %s is the library at %s\n\n", r.Baseline, r.BaselineCommit)
	}
	if len(r.Switch) > 0 {
		b.WriteString(switchReading + "\n  " + strings.Join(r.SwitchLines(), "\n  ") + "\n\n")
	}
	if len(r.Targets) > 0 {
		b.WriteString("Targets:\n")
		align(&b, r.targetTable())
	}
	for _, warning := range r.Warnings() {
		b.WriteString("\n" + warning + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// align writes a table whose first column is left-aligned, and the others right.
func align(b *strings.Builder, table [][]string) {
	for _, line := range table {
		for i, cell := range line {
			width := 0
			for _, other := range table {
				width = max(width, len(other[i]))
			}
			if i == 0 {
				width = -width
			}
			fmt.Fprintf(b, "  %*s", width, cell)
		}
		b.WriteByte('\n')
	}
}

const markdownHead = `# Benchmarks

Lockkeeper beside what one could use instead, measured in one run on one machine, in turns. Written by the harness in
[bench/](../bench): do not edit. Ratios within the run are all that is claimed; absolute figures depend on the machine.

    make bench%s

`

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

const markdownReading = `A pair is an acquisition with its release. p50 and p99 are of acquisitions; *client* and *server* are CPU seconds per
million pairs; *memory* is the client process's peak; *slowest* is the slowest goroutine's share of the mean. *min* and
*max* are the worst and the best round. Systems that hold a connection for each lock have 50 of them. The two limits are
no lock systems: *limit-batch* is a bare loop that sends the largest useful batches on one connection, *limit-pgbench* is
PostgreSQL's own load generator.

`

// Markdown writes the page for docs/.
func (r Report) Markdown(w io.Writer) error {
	if len(r.Sections) == 0 {
		return errors.New("the runs have no figure in common")
	}
	var b strings.Builder
	reading := markdownReading
	if len(r.Runs) > 1 {
		words := []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
		count := fmt.Sprint(len(r.Runs))
		if len(r.Runs) < len(words) {
			count = words[len(r.Runs)]
		}
		fmt.Fprintf(&b, mergedHead, count, strings.TrimSpace("--json "+r.Arguments))
		reading = mergedReading + reading
	} else {
		arguments := ""
		if r.Arguments != "" {
			arguments = " BENCH_ARGS='" + r.Arguments + "'"
		}
		fmt.Fprintf(&b, markdownHead, arguments)
	}
	r.circumstances(&b)
	for _, warning := range r.Warnings() {
		b.WriteString("**" + strings.ToUpper(warning[:1]) + warning[1:] + "**\n\n")
	}
	if len(r.Targets) > 0 {
		b.WriteString("## Targets\n\n")
		writeTable(&b, r.targetTable())
	}
	b.WriteString("## How to read the tables\n\n" + reading)
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "## %s\n\n%s.\n\n", s.Name, strings.ToUpper(s.Text[:1])+s.Text[1:])
		if len(s.Table) > 0 {
			writeTable(&b, s.Table)
		}
		for _, note := range s.Notes {
			fmt.Fprintf(&b, "- %s\n", escape(note))
		}
		if len(s.Notes) > 0 {
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

// circumstances writes a table of what the runs were made with. What is not known is left out.
func (r Report) circumstances(b *strings.Builder) {
	var dates, switches []string
	var cost span
	for _, run := range r.Runs {
		dates = append(dates, fmt.Sprintf("%s, %v", run.Date.Format("2006-01-02 15:04"), run.Took))
		for _, s := range run.Switch {
			cost = cost.with(s.Ratio())
		}
		switches = append(switches, run.SwitchLines()...)
	}
	when, each, cell := "date", "", ""
	if len(r.Runs) > 1 {
		when, each = "runs", " in each run"
	}
	if len(switches) > 0 {
		cell = cost.show(ratio) + " (" + strings.Join(switches, "; ") + ")"
	}
	b.WriteString("|  |  |\n|---|---|\n")
	for _, line := range [][2]string{
		{when, strings.Join(dates, "; ")},
		{"rounds", fmt.Sprintf("%d of %v s%s", r.Rounds, r.Seconds, each)},
		{"lockkeeper", strings.Join(r.distinct(func(r Run) string { return r.Commit }), ", ")},
		{"baseline", r.BaselineCommit},
		{"machine", r.Machine.String() + "; client and servers share it"},
		{"Go", r.Machine.Go},
		{"servers", strings.Join(r.Servers, ", ")},
		{"libraries", strings.Join(r.distinct(func(r Run) string { return strings.Join(r.Libraries, ", ") }), "; ")},
		{"a switch", cell},
	} {
		if line[1] != "" {
			fmt.Fprintf(b, "| %s | %s |\n", line[0], escape(line[1]))
		}
	}
	b.WriteByte('\n')
	if len(switches) > 0 {
		b.WriteString(switchReading + "\n\n")
	}
}

func writeTable(b *strings.Builder, table [][]string) {
	for i, line := range table {
		b.WriteByte('|')
		for _, cell := range line {
			b.WriteString(" " + escape(cell) + " |")
		}
		b.WriteByte('\n')
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("--:|", len(line)-1) + "\n")
		}
	}
	b.WriteByte('\n')
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
