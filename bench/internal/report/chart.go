package report

import (
	"html/template"
	"strings"

	"github.com/lockkeeper/lockkeeper/internal/page"
)

// The widths of the figures beside a bar: without a second ratio in brackets, and what that takes.
const figureWidth, secondRatio = 150, 60

// Chart shows a scenario's figures, with whiskers from the worst to the best round.
func (s Section) Chart() template.HTML {
	chart := page.Bars{Label: s.Name, Room: figureWidth}
	if s.Baseline != "" {
		chart.Room += secondRatio
	}
	for _, r := range s.Rows {
		chart.Rows = append(chart.Rows, page.Bar{Name: r.System, Class: class(r.System), Label: r.label(),
			Value: r.Figure.Median, Low: r.Figure.Min, High: r.Figure.Max})
	}
	return chart.SVG()
}

// label is the figure with its ratios in brackets. A system's ratio to itself says nothing.
func (r Row) label() string {
	text := thousands(r.Figure.Median)
	if r.Unit != "" {
		text = short(r.Figure.Median) + " " + r.Unit
	}
	var ratios []string
	if r.Ratio > 0 && r.System != Reference {
		ratios = append(ratios, ratio(r.Ratio))
	}
	if r.ToBaseline > 0 && r.System == ours {
		ratios = append(ratios, ratio(r.ToBaseline))
	}
	if len(ratios) == 0 {
		return text
	}
	return text + "  (" + strings.Join(ratios, "; ") + ")"
}

// Better says which end of a chart is the good one.
func (s Section) Better() string {
	if s.Headline == "" {
		return "pairs per second; longer is better"
	}
	return s.Headline + "; shorter is better"
}

// class is the colour's name.
func class(system string) string {
	switch {
	case system == ours:
		return "ours"
	case strings.HasPrefix(system, ours+"@"):
		return "before"
	case len(system) > 6 && system[:6] == "limit-":
		return "limit"
	case elsewhere(system):
		return "elsewhere"
	default:
		return "postgres"
	}
}

// Brackets says what is in a bar's brackets.
func (s Section) Brackets() string {
	if s.Baseline == "" {
		return "in brackets the ratio to pgx"
	}
	return "in brackets the ratio to pgx, and Lockkeeper's to " + s.Baseline
}

// RatioChart shows the targets that are ratios to pgx, on a logarithmic scale, each with its floor and its aim.
func (r Report) RatioChart() template.HTML {
	chart := page.Bars{Label: "ratios to pgx", Room: figureWidth, Decade: ratio}
	for _, t := range r.Targets {
		if t.Text == "pairs to pgx" {
			chart.Rows = append(chart.Rows, page.Bar{Name: t.Scenario, Class: t.Verdict(), Label: ratio(t.Value), Value: t.Value,
				Floor: t.Floor, Aim: t.Aim})
		}
	}
	return chart.SVG()
}
