package report

import (
	_ "embed" // the page's text
	"html/template"
	"io"
	"strings"

	"github.com/lockkeeper/lockkeeper/internal/page"
)

//go:embed page.html
var pageText string

var pageTemplate = page.New(pageText, template.FuncMap{"switchReading": func() string { return switchReading }})

// HTML writes one page that needs no other file.
func (r Report) HTML(w io.Writer) error { return pageTemplate.Execute(w, r) }

// Summary counts the targets by their verdicts.
func (r Report) Summary() map[string]int {
	counts := map[string]int{"aim": 0, "floor": 0, "missed": 0}
	for _, t := range r.Targets {
		counts[t.Verdict]++
	}
	return counts
}

// The widths of the figures beside a bar: without a second ratio in brackets, and what that takes.
const figureWidth, secondRatio = 150, 60

// Chart shows a scenario's figures, with whiskers from the worst to the best round.
func (s Section) Chart() template.HTML {
	chart := page.Bars{Label: s.Name, Room: figureWidth}
	if s.Baseline != "" {
		chart.Room += secondRatio
	}
	for _, r := range s.Rows {
		f := r.headline()
		chart.Rows = append(chart.Rows, page.Bar{Name: r.System, Class: class(r.System), Label: r.label(),
			Value: f.Median, Low: f.Min, High: f.Max})
	}
	return chart.SVG()
}

// label is the figure with its ratios in brackets. A system's ratio to itself says nothing.
func (r Row) label() string {
	text := cells([]Row{r})[1]
	var ratios []string
	if r.Ratio > 0 && r.System != reference {
		ratios = append(ratios, ratio(float64(r.Ratio)))
	}
	if r.ToBaseline > 0 && r.System == ours {
		ratios = append(ratios, ratio(float64(r.ToBaseline)))
	}
	if len(ratios) == 0 {
		return text
	}
	return text + "  (" + strings.Join(ratios, "; ") + ")"
}

// class is the colour's name.
func class(system string) string {
	switch {
	case system == ours:
		return "ours"
	case strings.HasPrefix(system, ours+"@"):
		return "before"
	case strings.HasPrefix(system, "limit-"):
		return "limit"
	case elsewhere(system):
		return "elsewhere"
	default:
		return "postgres"
	}
}

// RatioChart shows the targets that are ratios to pgx, on a logarithmic scale, each with its floor and its aim.
func (r Report) RatioChart() template.HTML {
	chart := page.Bars{Label: "ratios to pgx", Room: figureWidth, Decade: ratio}
	for _, t := range r.Targets {
		if t.Text == pairsToPgx {
			chart.Rows = append(chart.Rows, page.Bar{Name: t.Scenario, Class: t.Verdict, Label: ratio(t.value.low), Value: t.value.low,
				Floor: t.floor, Aim: t.aim})
		}
	}
	return chart.SVG()
}
