package page

import (
	"html/template"
	"math"
)

// Bars is a chart of horizontal bars, one below the other.
type Bars struct {
	Label string // says what the chart shows
	Rows  []Bar
	// Room is the width for the rows' labels, to the right of the longest bar, in pixels.
	Room float64
	// Decade makes the scale logarithmic, and writes the label of each power of ten.
	Decade func(v float64) string
}

// Bar is one row of a chart.
type Bar struct {
	Name, Class, Label string
	Value              float64
	Low, High          float64 // the ends of the whisker, equal where there is none
	Floor, Aim         float64 // marks, 0 where there is none
}

// The measures of a chart, in pixels.
const (
	chartWidth  = 860
	barHeight   = 18
	lineHeight  = 26
	decadesRoom = 26
	nameLeast   = 130 // for names, to the left of the bars
	nameMost    = 280
	letterWidth = 8 // the most that a letter takes
)

// SVG draws the chart, or nothing where it has no rows.
func (b Bars) SVG() template.HTML {
	if len(b.Rows) == 0 {
		return ""
	}
	left := float64(nameLeast)
	for _, r := range b.Rows {
		left = max(left, min(nameMost, float64(letterWidth*len(r.Name))))
	}
	bottom := len(b.Rows) * lineHeight
	var x func(v float64) float64
	var d *Drawing
	if b.Decade == nil {
		d = NewDrawing(chartWidth, bottom+8, b.Label)
		x = b.linear(left)
	} else {
		d = NewDrawing(chartWidth, bottom+8+decadesRoom, b.Label)
		x = b.logarithmic(d, left, float64(bottom))
	}
	for i, r := range b.Rows {
		r.draw(d, x, left, float64(i*lineHeight)+4)
	}
	return d.HTML()
}

// linear returns the scale from zero to the longest bar or whisker.
func (b Bars) linear(left float64) func(float64) float64 {
	most := 1e-12
	for _, r := range b.Rows {
		most = max(most, r.Value, r.High)
	}
	return func(v float64) float64 { return left + v/most*(chartWidth-left-b.Room) }
}

// logarithmic returns the scale of the decades that hold one, the values and the marks, and draws its ticks.
func (b Bars) logarithmic(d *Drawing, left, bottom float64) func(float64) float64 {
	low, high := 1.0, 1.0
	for _, r := range b.Rows {
		for _, v := range []float64{r.Value, r.Floor, r.Aim} {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	from := math.Floor(math.Log10(low))
	to := max(math.Ceil(math.Log10(high)), from+1)
	x := func(v float64) float64 {
		return left + max(0, math.Log10(v)-from)/(to-from)*(chartWidth-left-b.Room)
	}
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		d.Put(`<g class="tick"><line x1="%.1f" x2="%.1f" y1="0" y2="%.0f"/><text x="%.1f" y="%.0f" text-anchor="middle">%s</text></g>`,
			x(v), x(v), bottom, x(v), bottom+18, b.Decade(v))
	}
	return x
}

// draw writes a row whose bar begins at left and y.
func (r Bar) draw(d *Drawing, x func(float64) float64, left, y float64) {
	middle := y + barHeight/2
	text := middle + 4.5
	d.Put(`<text class="name %s" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, r.Class, left-8, text, clipped(r.Name))
	d.Put(`<rect class="bar %s" x="%.1f" y="%.1f" width="%.1f" height="%d"/>`, r.Class, left, y, x(r.Value)-left, barHeight)
	if r.Low != r.High {
		d.Put(`<line class="whisker" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(r.Low), x(r.High), middle, middle)
	}
	if r.Floor > 0 {
		d.Put(`<line class="mark" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(r.Floor), x(r.Floor), y, y+barHeight)
		d.Put(`<line class="mark goal" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(r.Aim), x(r.Aim), y, y+barHeight)
	}
	d.Put(`<text x="%.1f" y="%.1f">%s</text>`, x(max(r.Value, r.High, r.Aim))+8, text, r.Label)
}

// clipped makes a name fit the space that there is for names.
func clipped(name string) string {
	const most = nameMost/letterWidth - 1
	if len(name) <= most {
		return name
	}
	return name[:most-3] + "..."
}
