package summary

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/internal/page"
)

// The measures of the picture, in pixels.
const (
	faultHeight       = 40
	rowHeight, rowGap = 16, 2
	levels            = 4 // of opacity: how many grants a cell stands for
)

// drawing is the picture of a run.
type drawing struct {
	*page.Timeline
	total time.Duration
}

// rowTop is the upper edge of a key's row.
func rowTop(key int) float64 { return float64(faultHeight + key*(rowHeight+rowGap)) }

// drawTimeline draws the grants of each key over the faults.
func (r *Report) drawTimeline() template.HTML {
	t := r.Timeline
	if t == nil || r.Seconds <= 0 {
		return ""
	}
	bottom := rowTop(len(t.Grants))
	d := &drawing{page.NewTimeline(r.total(), int(bottom), "grants of each key over the faults"), r.total()}
	d.faults(r, bottom)
	for key := range t.Grants {
		d.Name(rowTop(key)+rowHeight-4, fmt.Sprintf("key %d", key))
		d.row(t, key)
	}
	d.marks(r, len(t.Grants))
	return d.HTML()
}

// faults draws a band for each fault over all keys, and its number above.
func (d *drawing) faults(r *Report, bottom float64) {
	last := [2]float64{-100, -100}
	for _, f := range r.Schedule {
		x := d.X(f.Began)
		width := max(1.5, d.X(f.Ended)-x)
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
		d.Put(`<g class="fault %s"><title>%s</title><rect x="%.1f" y="%d" width="%.1f" height="%.1f"/>`,
			f.Kind.About().Class, text, x, faultHeight-6, width, bottom-faultHeight+6)
		lane := 0
		if x-last[0] < 16 { // two rows of numbers, so that they stay legible
			lane = 1
		}
		if x-last[lane] >= 12 {
			last[lane] = x
			d.Put(`<text x="%.1f" y="%d">%d</text>`, x, faultHeight-10-lane*14, f.N)
		}
		d.Put(`</g>`)
	}
}

// row draws the grants of a key: a cell for each column in the colour of the process that had most of them.
func (d *drawing) row(t *history.Timeline, key int) {
	paths := make([][levels]strings.Builder, t.Processes+1)
	width := d.X(t.Width) - d.X(0)
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
		fmt.Fprintf(&paths[who][level], "M%.1f %.1fh%.1fv%dh-%.1fz", d.X(at), rowTop(key), width, rowHeight, width)
	}
	for p := range paths {
		for level := range levels {
			if path := paths[p][level].String(); path != "" {
				d.Put(`<path fill="%s" opacity="%.2f" d="%s"/>`, processColour(p), 0.35+0.65*float64(level)/(levels-1), path)
			}
		}
	}
}

// maxMarks bounds what is drawn one by one.
const maxMarks = 4000

// marks draws losses, overlaps and violations.
func (d *drawing) marks(r *Report, rows int) {
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
		d.Put(`<path class="%s" d="M%.1f %.1fl4 8h-8z"><title>%s</title></path>`, class, d.X(l.At), rowTop(l.Key)+4, text)
	}
	for _, o := range r.OverlapList {
		if o.Key < rows {
			d.Put(`<circle class="overlap" cx="%.1f" cy="%.1f" r="5"><title>%s</title></circle>`, d.X(o.At), rowTop(o.Key)+rowHeight/2,
				fmt.Sprintf("key %d: processes %d and %d overlapped at %.3f s for %v, fault %d (%s)", o.Key,
					o.Processes[0], o.Processes[1], o.At.Seconds(), o.For, o.Fault, o.Kind))
		}
	}
	for _, v := range r.Found {
		if v.Key < rows {
			d.Put(`<path class="violation" d="M%.1f %.1fl10 10m0 -10l-10 10"><title>%s</title></path>`, d.X(v.At)-5, rowTop(v.Key)+3,
				v.Kind+": "+v.Text)
		}
	}
}
