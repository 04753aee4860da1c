package load

import (
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

// Outcome is a load's end for a watcher.
type Outcome struct {
	OK          bool     `json:"ok"` // proven, nothing left behind, no problem; an interrupted load can be
	Heading     string   `json:"heading"`
	Detail      string   `json:"detail"`
	Left        string   `json:"left,omitempty"` // what was left behind, in a line
	LeftOK      bool     `json:"left_ok"`
	Interrupted bool     `json:"interrupted"`
	Problems    []string `json:"problems,omitempty"`
	Report      *Report  `json:"report,omitempty"`  // the object that --json prints; none where the load never began
	Figures     []Figure `json:"figures,omitempty"` // the same in words
	Text        string   `json:"text,omitempty"`    // what the terminal shows without --json
}

// OutcomeOf is what became of a load. Both what Run returned go in.
func OutcomeOf(r *Report, err error) Outcome {
	if r == nil {
		o := Outcome{Heading: "THE LOAD DID NOT BEGIN"}
		if err != nil {
			o.Detail = err.Error()
		}
		return o
	}
	o := Outcome{Interrupted: r.Interrupted, Report: r, Figures: figuresOf(r), Problems: r.Problems, Left: r.left() + ": " + r.Leaked.String(), LeftOK: r.left() == nothingLeft}
	o.Heading, o.Detail = r.claim()
	if err != nil {
		o.Problems = append(slices.Clip(o.Problems), err.Error())
	}
	o.OK = o.Heading == proven && o.LeftOK && len(o.Problems) == 0
	var text strings.Builder
	if r.Text(&text, report.Style{}) == nil { // which a strings.Builder never fails
		o.Text = strings.TrimSpace(text.String())
	}
	return o
}
