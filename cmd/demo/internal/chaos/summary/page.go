package summary

import (
	_ "embed" // the page's text
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/page"
)

//go:embed page.html
var pageText string

var pageTemplate = page.New(pageText, template.FuncMap{
	"count":   func(n int) string { return report.Count(n) },
	"span":    span,
	"seconds": func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) },
	"outcome": outcomes,
	"colour":  processColour,
	"class":   func(k plan.Kind) string { return classNames[plan.ClassOf(k)] },
	"about": func(k plan.Kind) string {
		for _, about := range plan.Kinds {
			if about.Kind == k {
				return about.Text
			}
		}
		return ""
	},
})

// classNames are the style sheet's words.
var classNames = map[plan.Class]string{
	plan.Harmless: "harmless", plan.ServerEnds: "server", plan.Silence: "silence", plan.Death: "death", plan.KeeperFails: "keeper",
}

// processColours tell the processes apart, the outsider first; they are told apart by people who see no red, too.
var processColours = []string{"#777777", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8d6cab", "#b8a800"}

func processColour(process int) string {
	if process == 0 {
		return processColours[0]
	}
	return processColours[1+(process-1)%(len(processColours)-1)]
}

// failureLine is one kind of failure.
type failureLine struct {
	Text  string
	Count int
}

// pageData is what the page shows.
type pageData struct {
	*Report
	Verdict, Settings, Command string
	OK                         bool
	Players                    []int // the processes, with the outsider
	Picture                    template.HTML
	Charts                     []page.Lines
	FailureLines               []failureLine
}

// HTML writes the report as a page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	data := pageData{Report: r, Settings: r.settings(), OK: r.Good(), Picture: r.drawTimeline(), Charts: r.charts()}
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
	for p := range r.Processes + 1 {
		data.Players = append(data.Players, p)
	}
	for _, text := range slices.SortedFunc(maps.Keys(r.Failures), func(x, y string) int { return r.Failures[y] - r.Failures[x] }) {
		data.FailureLines = append(data.FailureLines, failureLine{text, r.Failures[text]})
	}
	return pageTemplate.Execute(w, data)
}
