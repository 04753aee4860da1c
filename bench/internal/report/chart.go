package report

import (
	"math"
	"strings"
)

// Chart is horizontal bars, laid out in a drawing of a fixed width that scales with the page.
type Chart struct {
	Width, Height int
	Bars          []Bar
	// Axis is the x of zero, or of the left end where the scale is logarithmic; Ticks are its marks.
	Axis, Bottom float64
	Ticks        []Tick
}

// Bar is one line of a chart.
type Bar struct {
	Name, Class, Label string
	Y, Middle, W       float64
	Low, High          float64 // the ends of the whisker, equal where there is none
	LabelX             float64
	Floor, Aim         float64 // marks, 0 where there is none
}

const barHeight = 18

// Foot is the lower edge of the bar.
func (b Bar) Foot() float64 { return b.Y + barHeight }

// Tick is a mark of the axis.
type Tick struct {
	X     float64
	Label string
}

const (
	chartWidth  = 860
	nameWidth   = 130 // for names, to the left of the bars
	labelWidth  = 150 // for figures, to the right of the longest
	lineHeight  = 26
	letterWidth = 8 // the most that a name's letter takes
	nameMost    = 280
	secondRatio = 60 // for a second ratio in the label
)

// Chart shows a scenario's figures, with whiskers from the worst to the best round.
func (s Section) Chart() Chart {
	names, labels := float64(nameWidth), float64(labelWidth)
	most := 0.0
	for _, r := range s.Rows {
		most = max(most, r.Figure.Max)
		names = max(names, min(nameMost, float64(letterWidth*len(r.System))))
	}
	if s.Baseline != "" {
		labels += secondRatio
	}
	c := Chart{Width: chartWidth, Height: len(s.Rows)*lineHeight + 8, Axis: names, Bottom: float64(len(s.Rows) * lineHeight)}
	scale := func(v float64) float64 { return v / max(most, 1e-12) * (chartWidth - names - labels) }
	for i, r := range s.Rows {
		y := float64(i*lineHeight) + 4
		c.Bars = append(c.Bars, Bar{Name: clipped(r.System), Class: class(r.System), Label: r.label(), Y: y, Middle: y + barHeight/2,
			W: scale(r.Figure.Median), Low: names + scale(r.Figure.Min), High: names + scale(r.Figure.Max),
			LabelX: names + scale(max(r.Figure.Median, r.Figure.Max)) + 8})
	}
	return c
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

// clipped makes a name fit the space that there is for names.
func clipped(name string) string {
	const most = nameMost/letterWidth - 1
	if len(name) <= most {
		return name
	}
	return name[:most-3] + "..."
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
func (r Report) RatioChart() Chart {
	var shown []Checked
	low, high := 1.0, 1.0
	for _, t := range r.Targets {
		if t.Text == "pairs to pgx" {
			shown = append(shown, t)
			low, high = min(low, t.Value, t.Floor), max(high, t.Value, t.Aim)
		}
	}
	if len(shown) == 0 {
		return Chart{}
	}
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	x := func(v float64) float64 {
		return nameWidth + (math.Log10(v)-from)/(to-from)*(chartWidth-nameWidth-labelWidth)
	}
	c := Chart{Width: chartWidth, Height: len(shown)*lineHeight + 34, Axis: nameWidth, Bottom: float64(len(shown) * lineHeight)}
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		c.Ticks = append(c.Ticks, Tick{X: x(v), Label: ratio(v)})
	}
	for i, t := range shown {
		y := float64(i*lineHeight) + 4
		verdict := t.Verdict()
		c.Bars = append(c.Bars, Bar{Name: t.Scenario, Class: verdict, Label: ratio(t.Value), Y: y, Middle: y + barHeight/2,
			W: x(t.Value) - nameWidth, Floor: x(t.Floor), Aim: x(t.Aim), LabelX: max(x(t.Value), x(t.Aim)) + 8})
	}
	return c
}
