package report

import (
	"fmt"
	"io"
	"strings"
)

var columns = []string{"system", "median", "min", "max", "to pgx", "to baseline", "p50", "p99", "client", "server", "memory", "conns", "slowest"}

const legend = `median, min, max: of the rounds, pairs (acquire and release) per second where no unit is given. p50, p99: of an
acquisition. client, server: CPU seconds per million pairs. memory: the client's peak. slowest: the slowest goroutine's
share of the mean.`

// Text writes tables for a terminal, one for each scenario.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "%s: %s\n", s.Name, s.Text)
		if len(s.Rows) > 0 {
			align(&b, s.Table())
		}
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
		b.WriteString(switchReading + "\n")
		for _, line := range r.SwitchLines() {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		b.WriteByte('\n')
	}
	if len(r.Targets) > 0 {
		b.WriteString("Targets:\n")
		align(&b, r.TargetTable())
	}
	if r.Cut > 0 {
		fmt.Fprintf(&b, "\n%d measurements were left out, since the time of a quick run was over.\n", r.Cut)
	}
	if warning := r.Disturbed(); warning != "" {
		b.WriteString("\n" + warning + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Row) cells() []string {
	unit := ""
	if r.Unit != "" {
		unit = " " + r.Unit
	}
	figure := func(v float64) string {
		if unit == "" {
			return thousands(v)
		}
		return short(v) + unit
	}
	return []string{r.System, figure(r.Figure.Median), figure(r.Figure.Min), figure(r.Figure.Max), ratio(r.Ratio),
		ratio(r.ToBaseline), duration(r.P50), duration(r.P99), short(r.ClientCPU), short(r.ServerCPU), size(r.RSS), short0(r.Conns), r.slowest()}
}

// slowest may well be zero: where there are parties, each of them counts.
func (r Row) slowest() string {
	if r.Fairness == 0 {
		return none
	}
	return fmt.Sprintf("%.2f", r.MinShare)
}

func short0(v float64) string {
	if v == 0 {
		return none
	}
	return thousands(v)
}

// align writes a table whose first column is left-aligned, and the others right.
func align(b *strings.Builder, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, line := range table {
		for i, cell := range line {
			if i == 0 {
				fmt.Fprintf(b, "  %-*s", widths[i], cell)
			} else {
				fmt.Fprintf(b, "  %*s", widths[i], cell)
			}
		}
		b.WriteByte('\n')
	}
}
