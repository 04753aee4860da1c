package summary

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// The timeline's measures, in pixels.
const (
	labelWidth, plotWidth = 64, 1120
	faultHeight           = 40
	rowHeight, rowGap     = 16, 2
	axisHeight            = 24
	levels                = 4 // of opacity: how many grants a cell stands for
)

// drawing is an SVG picture whose horizontal axis is the time of the run.
type drawing struct {
	b     strings.Builder
	total time.Duration
}

func (d *drawing) x(at time.Duration) float64 {
	return labelWidth + plotWidth*min(1, max(0, at.Seconds()/d.total.Seconds()))
}

func (d *drawing) put(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

// axis writes the seconds below a plot.
func (d *drawing) axis(y float64) {
	step := time.Second
	for _, seconds := range []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600} {
		if step = time.Duration(seconds) * time.Second; d.total/step <= 16 {
			break
		}
	}
	for at := time.Duration(0); at <= d.total; at += step {
		d.put(`<line class="tick" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="axis" x="%.1f" y="%.1f">%s</text>`,
			d.x(at), d.x(at), y, y+4, d.x(at), y+16, axisLabel(at))
	}
}

func axisLabel(at time.Duration) string {
	if at >= 2*time.Minute {
		return fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60)
	}
	return fmt.Sprintf("%d s", int(at.Seconds()))
}

// drawTimeline draws the grants of each key over the faults.
func (r *Report) drawTimeline() template.HTML {
	t := r.Timeline
	if t == nil || r.Seconds <= 0 {
		return ""
	}
	d := &drawing{total: time.Duration(r.Seconds * float64(time.Second))}
	height := faultHeight + len(t.Grants)*(rowHeight+rowGap) + axisHeight
	d.put(`<svg viewBox="0 0 %d %d" role="img" aria-label="grants of each key over the faults">`, labelWidth+plotWidth+16, height)
	d.faults(r, float64(height-axisHeight))
	for key := range t.Grants {
		y := float64(faultHeight + key*(rowHeight+rowGap))
		d.put(`<text class="key" x="%d" y="%.1f">key %d</text>`, labelWidth-8, y+rowHeight-4, key)
		d.row(t, key, y)
	}
	d.marks(r, len(t.Grants))
	d.axis(float64(height - axisHeight))
	d.put(`</svg>`)
	return template.HTML(d.b.String()) //nolint:gosec // numbers and our own words, and escaped texts
}

// faults draws a band for each fault over all keys, and its number above.
func (d *drawing) faults(r *Report, bottom float64) {
	last := [2]float64{-100, -100}
	for _, f := range r.Schedule {
		x := d.x(f.Began)
		width := max(1.5, d.x(f.Ended)-x)
		text := fmt.Sprintf("%d: %s", f.N, f.Kind)
		if f.Target > 0 {
			text += fmt.Sprintf(", process %d", f.Target)
		}
		text += fmt.Sprintf(", %.2f s to %.2f s", f.Began.Seconds(), f.Ended.Seconds())
		if f.Note != "" {
			text += ", " + f.Note
		}
		if f.Failed != "" {
			text += ", could not be made: " + f.Failed
		}
		class := classNames[plan.ClassOf(f.Kind)]
		d.put(`<g class="fault %s"><title>%s</title><rect x="%.1f" y="%d" width="%.1f" height="%.1f"/>`,
			class, template.HTMLEscapeString(text), x, faultHeight-6, width, bottom-faultHeight+6)
		lane := 0
		if x-last[0] < 16 { // two rows of numbers, so that they stay legible
			lane = 1
		}
		if x-last[lane] >= 12 {
			last[lane] = x
			d.put(`<text x="%.1f" y="%d">%d</text>`, x, faultHeight-10-lane*14, f.N)
		}
		d.put(`</g>`)
	}
}

// row draws the grants of a key: a cell for each column in the colour of the process that had most of them.
func (d *drawing) row(t *history.Timeline, key int, y float64) {
	paths := make([][levels]strings.Builder, t.Processes+1)
	width := d.x(t.Width) - d.x(0)
	for column := range t.Columns {
		at := time.Duration(column) * t.Width
		if at > d.total {
			break
		}
		all, most, who := uint32(0), uint32(0), 0
		for p := range t.Processes + 1 {
			n := t.Grants[key][column*(t.Processes+1)+p]
			if all += n; n > most {
				most, who = n, p
			}
		}
		if all == 0 {
			continue
		}
		level := 0
		for bound := uint32(2); level < levels-1 && all >= bound; bound *= 4 {
			level++
		}
		fmt.Fprintf(&paths[who][level], "M%.1f %.1fh%.1fv%dh-%.1fz", d.x(at), y, width, rowHeight, width)
	}
	for p := range paths {
		for level := range levels {
			if path := paths[p][level].String(); path != "" {
				d.put(`<path fill="%s" opacity="%.2f" d="%s"/>`, processColour(p), 0.35+0.65*float64(level)/(levels-1), path)
			}
		}
	}
}

// maxMarks bounds what is drawn one by one.
const maxMarks = 4000

// marks draws losses, overlaps and violations.
func (d *drawing) marks(r *Report, rows int) {
	y := func(key int) float64 { return float64(faultHeight + key*(rowHeight+rowGap)) }
	for i, l := range r.LossList {
		if l.Key >= rows || i > maxMarks {
			continue
		}
		text := fmt.Sprintf("key %d: process %d was told at %.3f s that its lock is lost: %s", l.Key, l.Process, l.At.Seconds(), l.Cause)
		if l.Fault > 0 {
			text += fmt.Sprintf(", %.1f ms after fault %d (%s)", float64(l.After.Microseconds())/1000, l.Fault, l.Kind)
		}
		class := "loss"
		if l.Fault == 0 {
			class = "loss false"
		}
		d.put(`<path class="%s" d="M%.1f %.1fl4 8h-8z"><title>%s</title></path>`, class, d.x(l.At), y(l.Key)+4, template.HTMLEscapeString(text))
	}
	for _, o := range r.OverlapList {
		if o.Key < rows {
			d.put(`<circle class="overlap" cx="%.1f" cy="%.1f" r="5"><title>%s</title></circle>`, d.x(o.At), y(o.Key)+rowHeight/2,
				template.HTMLEscapeString(fmt.Sprintf("key %d: processes %d and %d overlapped at %.3f s for %v, fault %d (%s)", o.Key,
					o.Processes[0], o.Processes[1], o.At.Seconds(), o.For, o.Fault, o.Kind)))
		}
	}
	for _, v := range r.Found {
		if v.Key < rows {
			d.put(`<path class="violation" d="M%.1f %.1fl10 10m0 -10l-10 10"><title>%s</title></path>`, d.x(v.At)-5, y(v.Key)+3,
				template.HTMLEscapeString(v.Kind+": "+v.Text))
		}
	}
}
