package summary

import (
	_ "embed" // the page's text
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/page"
)

//go:embed page.html
var pageText string

var pageTemplate = page.New(pageText, template.FuncMap{
	"count":   func(n int) string { return report.Count(n) },
	"span":    report.Millis,
	"seconds": func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) },
	"outcome": outcomes,
	"colour":  processColour,
})

// processColours tell the processes apart, the outsider first; they are told apart by people who see no red, too.
var processColours = []string{"#777777", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8d6cab", "#b8a800"}

func processColour(process int) string {
	if process == 0 {
		return processColours[0]
	}
	return processColours[1+(process-1)%(len(processColours)-1)]
}

// pageData is what the page shows.
type pageData struct {
	*Report
	Verdict, Settings, Command string
	OK                         bool
	Players                    []int // the processes, with the outsider
	Picture                    template.HTML
	Charts                     []page.Lines
	FailureKinds               []string
}

// HTML writes the report as a page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	data := pageData{Report: r, Settings: r.settings(), OK: r.Good(), Picture: r.drawTimeline(), Charts: r.charts(),
		FailureKinds: r.failureKinds()}
	switch {
	case r.Violations > 0:
		data.Verdict = report.Of(r.Violations, "violation")
	case len(r.FalseLosses) > 0:
		data.Verdict = fmt.Sprintf("%d losses that no fault explains", len(r.FalseLosses))
	case len(r.LateLosses) > 0:
		data.Verdict = fmt.Sprintf("%d losses were told too late", len(r.LateLosses))
	case !data.OK:
		data.Verdict = "Not shown"
	default:
		data.Verdict = "Held: 0 violations"
	}
	data.Command = fmt.Sprintf("demo chaos --seed %d --duration %v --processes %d --workers %d --keys %d --interval %v --timeout %v",
		r.Seed, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second), r.Processes, r.Workers, r.Keys, r.Interval, r.Timeout)
	if len(r.Uses) < len(plan.Uses) {
		data.Command += " --kinds " + strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Uses), " ", ","), "[]")
	}
	if r.Wait != plan.Mixed {
		data.Command += " --wait " + r.Wait
	}
	for p := range r.Processes + 1 {
		data.Players = append(data.Players, p)
	}
	return pageTemplate.Execute(w, data)
}

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
