package summary

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// chart is what the worker processes used over time, a line for each.
type chart struct {
	Title string
	SVG   template.HTML
}

const chartHeight = 140

func (r *Report) charts() []chart {
	var out []chart
	for _, c := range []struct {
		title string
		of    func(Sample) float64
	}{
		{"Memory of each worker process (resident, MB)", func(s Sample) float64 { return float64(s.Resident) / (1 << 20) }},
		{"Goroutines of each worker process", func(s Sample) float64 { return float64(s.Goroutines) }},
		{"File descriptors of each worker process", func(s Sample) float64 { return float64(s.Descriptors) }},
	} {
		if svg := r.drawChart(c.title, c.of); svg != "" {
			out = append(out, chart{c.title, svg})
		}
	}
	return out
}

func (r *Report) drawChart(title string, of func(Sample) float64) template.HTML {
	most := 0.0
	for _, samples := range r.Samples {
		for _, s := range samples {
			most = max(most, of(s))
		}
	}
	if most == 0 || r.Seconds <= 0 {
		return ""
	}
	most *= 1.1
	d := &drawing{total: time.Duration(r.Seconds * float64(time.Second))}
	y := func(v float64) float64 { return 8 + chartHeight*(1-v/most) }
	d.put(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, labelWidth+plotWidth+16, chartHeight+8+axisHeight, template.HTMLEscapeString(title))
	for i := range 4 {
		v := most * float64(i) / 3.3
		d.put(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="key" x="%d" y="%.1f">%.0f</text>`,
			labelWidth, labelWidth+plotWidth, y(v), y(v), labelWidth-8, y(v)+4, v)
	}
	for i, samples := range r.Samples {
		var path strings.Builder
		generation := -1
		for _, s := range samples {
			command := "L"
			if s.Generation != generation { // another process took its place: no line joins the two
				command, generation = "M", s.Generation
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, d.x(s.At), y(of(s)))
		}
		d.put(`<path class="line" stroke="%s" d="%s"><title>process %d</title></path>`, processColour(i+1), path.String(), i+1)
	}
	d.axis(chartHeight + 8)
	d.put(`</svg>`)
	return template.HTML(d.b.String()) //nolint:gosec // numbers and our own words
}
