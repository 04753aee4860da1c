package report

import (
	"fmt"
	"io"
	"strings"
)

const markdownHead = `# Benchmarks

Lockkeeper beside what one could use instead, measured in one run on one machine, in turns. Written by the harness in
[bench/](../bench): do not edit. Ratios within the run are all that is claimed; absolute figures depend on the machine.

    make bench%s

`

const markdownReading = `A pair is an acquisition with its release. p50 and p99 are of acquisitions; *client* and *server* are CPU seconds per
million pairs; *memory* is the client process's peak; *slowest* is the slowest goroutine's share of the mean. *min* and
*max* are the worst and the best round. Systems that hold a connection for each lock have 50 of them. The two limits are
no lock systems: *limit-batch* is a bare loop that sends the largest useful batches on one connection, *limit-pgbench* is
PostgreSQL's own load generator.

`

// Markdown writes the page for docs/.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	arguments := ""
	if r.Arguments != "" {
		arguments = " BENCH_ARGS='" + r.Arguments + "'"
	}
	fmt.Fprintf(&b, markdownHead, arguments)
	r.circumstances(&b)
	if len(r.Switch) > 0 {
		b.WriteString(switchReading + "\n\n")
	}
	if warning := r.Disturbed(); warning != "" {
		b.WriteString("**" + warning + "**\n\n")
	}
	if len(r.Targets) > 0 {
		b.WriteString("## Targets\n\n")
		writeMarkdown(&b, r.TargetTable())
	}
	b.WriteString("## How to read the tables\n\n" + markdownReading)
	for _, s := range r.Sections {
		var table [][]string
		if len(s.Rows) > 0 {
			table = s.Table()
		}
		writeSection(&b, s.Name, s.Text, table, s.Notes)
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func writeSection(b *strings.Builder, name, text string, table [][]string, notes []string) {
	fmt.Fprintf(b, "## %s\n\n%s.\n\n", name, strings.ToUpper(text[:1])+text[1:])
	if len(table) > 0 {
		writeMarkdown(b, table)
	}
	for _, note := range notes {
		fmt.Fprintf(b, "- %s\n", escape(note))
	}
	if len(notes) > 0 {
		b.WriteByte('\n')
	}
}

func (r Report) circumstances(b *strings.Builder) {
	properties(b, [][2]string{
		{"date", r.Date.Format("2006-01-02") + ", " + r.Took.String()},
		{"rounds", fmt.Sprintf("%d of %v s", r.Rounds, r.Seconds)},
		{"lockkeeper", r.Commit},
		{"baseline", r.BaselineCommit},
		{"machine", r.Machine.String() + "; client and servers share it"},
		{"Go", r.Machine.Go},
		{"servers", strings.Join(r.Servers, ", ")},
		{"libraries", strings.Join(r.Libraries, ", ")},
		{"a switch", strings.Join(r.SwitchLines(), "; ")}})
}

// properties writes a table of names with what they stand for. What is not known is left out.
func properties(b *strings.Builder, lines [][2]string) {
	b.WriteString("|  |  |\n|---|---|\n")
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(b, "| %s | %s |\n", line[0], escape(line[1]))
		}
	}
	b.WriteByte('\n')
}

func writeMarkdown(b *strings.Builder, table [][]string) {
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
