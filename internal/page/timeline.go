package page

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// Timeline is a drawing whose horizontal axis is the time of a run. Timelines of one run have the same axis, so that they
// can be compared when they stand below each other.
type Timeline struct {
	*Drawing
	total  time.Duration
	bottom float64
}

// The measures of a timeline, in pixels: what lies to the left and to the right of the plot, and below it.
const (
	scaleWidth, plotWidth, plotMargin = 64, 1120, 16
	axisHeight                        = 24
)

// NewTimeline begins a timeline over a run's duration. Below the height it has an axis.
func NewTimeline(total time.Duration, height int, label string) *Timeline {
	return &Timeline{NewDrawing(scaleWidth+plotWidth+plotMargin, height+axisHeight, label), total, float64(height)}
}

// X is the place of a time. Times before the run or after it are put at its ends.
func (t *Timeline) X(at time.Duration) float64 {
	return scaleWidth + plotWidth*min(1, max(0, at.Seconds()/t.total.Seconds()))
}

// Name writes what a row or a line of the grid stands for, to the left of the plot.
func (t *Timeline) Name(y float64, text string) {
	t.Put(`<text class="scale" x="%d" y="%.1f" text-anchor="end">%s</text>`, scaleWidth-8, y, text)
}

// HTML ends the drawing with its axis, and returns it.
func (t *Timeline) HTML() template.HTML {
	step := time.Second
	for _, seconds := range []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600} {
		if step = time.Duration(seconds) * time.Second; t.total/step <= 16 {
			break
		}
	}
	for at := time.Duration(0); at <= t.total; at += step {
		t.Put(`<g class="tick"><line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text></g>`,
			t.X(at), t.X(at), t.bottom, t.bottom+4, t.X(at), t.bottom+16, clock(at))
	}
	return t.Drawing.HTML()
}

func clock(at time.Duration) string {
	if at >= 2*time.Minute {
		return fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60)
	}
	return fmt.Sprintf("%d s", int(at.Seconds()))
}

// Lines is a chart of values over the time of a run, a line for each series.
type Lines struct {
	Label  string // says what the chart shows
	Total  time.Duration
	Series []Series
}

// Series is one line.
type Series struct {
	Name, Colour string
	Points       []Point
}

// Point is a value at a time. After a gap, no line joins it to the point before.
type Point struct {
	At    time.Duration
	Value float64
	Gap   bool
}

const linesHeight = 140

// SVG draws the chart, or nothing where no value is above zero.
func (l Lines) SVG() template.HTML {
	most := 0.0
	for _, s := range l.Series {
		for _, p := range s.Points {
			most = max(most, p.Value)
		}
	}
	if most == 0 || l.Total <= 0 {
		return ""
	}
	most *= 1.1
	t := NewTimeline(l.Total, linesHeight+8, l.Label)
	y := func(v float64) float64 { return 8 + linesHeight*(1-v/most) }
	for i := range 4 {
		v := most * float64(i) / 3.3
		t.Put(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, scaleWidth, scaleWidth+plotWidth, y(v), y(v))
		t.Name(y(v)+4, fmt.Sprintf("%.0f", v))
	}
	for _, s := range l.Series {
		var path strings.Builder
		for i, p := range s.Points {
			command := "L"
			if i == 0 || p.Gap {
				command = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, t.X(p.At), y(p.Value))
		}
		t.Put(`<path class="line" stroke="%s" d="%s"><title>%s</title></path>`, s.Colour, path.String(), s.Name)
	}
	return t.HTML()
}
