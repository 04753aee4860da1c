package summary

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/page"
)

func (r *Report) total() time.Duration { return time.Duration(r.Seconds * float64(time.Second)) }

// charts show what the worker processes used over time, a line for each process.
func (r *Report) charts() []page.Lines {
	return []page.Lines{
		r.chart("Memory of each worker process (resident, MB)", func(s Sample) float64 { return float64(s.Resident) / (1 << 20) }),
		r.chart("Goroutines of each worker process", func(s Sample) float64 { return float64(s.Goroutines) }),
		r.chart("File descriptors of each worker process", func(s Sample) float64 { return float64(s.Descriptors) }),
	}
}

func (r *Report) chart(label string, of func(Sample) float64) page.Lines {
	lines := page.Lines{Label: label, Total: r.total()}
	for i, samples := range r.Samples {
		series := page.Series{Name: fmt.Sprintf("process %d", i+1), Colour: processColour(i + 1)}
		for j, s := range samples {
			// A new generation is another process: no line joins the two.
			series.Points = append(series.Points, page.Point{At: s.At, Value: of(s), Gap: j > 0 && samples[j-1].Generation != s.Generation})
		}
		lines.Series = append(lines.Series, series)
	}
	return lines
}
