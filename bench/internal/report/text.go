package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

var columns = []string{"system", "median", "min", "max", "to pgx", "p50", "p99", "client", "server", "memory", "conns", "slowest"}

const legend = `median, min, max: of the rounds, pairs (acquire and release) per second where no unit is given. p50, p99: of an
acquisition. client, server: CPU seconds per million pairs. memory: the client's peak. slowest: the slowest goroutine's
share of the mean.`

// Text writes tables for a terminal, one for each scenario.
func Text(w io.Writer, c harness.Catalogue, o harness.Outcome) error {
	var b strings.Builder
	rows := Rows(c, o.Measurements)
	for _, sc := range c.Scenarios {
		table := [][]string{}
		var notes []string
		for _, r := range rows {
			if r.Scenario != sc.Name {
				continue
			}
			switch {
			case r.Failed != "":
				notes = append(notes, fmt.Sprintf("%s FAILED: %s", r.System, r.Failed))
			case r.NotApplicable != "":
				notes = append(notes, fmt.Sprintf("%s: not applicable: %s", r.System, r.NotApplicable))
			default:
				table = append(table, r.cells())
				notes = append(notes, r.extras()...)
			}
		}
		if len(table)+len(notes) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", sc.Name, sc.Text)
		if len(table) > 0 {
			align(&b, append([][]string{columns}, table...))
		}
		for _, note := range notes {
			fmt.Fprintf(&b, "  %s\n", note)
		}
		b.WriteByte('\n')
	}
	b.WriteString(legend + "\n\n")
	writeTargets(&b, Check(rows))
	if o.Cut > 0 {
		fmt.Fprintf(&b, "\n%d measurements were left out, since the time of a quick run was over.\n", o.Cut)
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
		duration(r.P50), duration(r.P99), short(r.ClientCPU), short(r.ServerCPU), size(r.RSS), short0(r.Conns), short(r.MinShare)}
}

func short0(v float64) string {
	if v == 0 {
		return "-"
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
