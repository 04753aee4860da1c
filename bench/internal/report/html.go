package report

import (
	_ "embed" // the page's text
	"io"

	"github.com/lockkeeper/lockkeeper/internal/page"
)

//go:embed page.html
var pageText string

var pageTemplate = page.New(pageText, nil)

// HTML writes one page that needs no other file.
func (r Report) HTML(w io.Writer) error { return pageTemplate.Execute(w, r) }

// Summary is the targets by how far they were reached.
func (r Report) Summary() (s struct{ Aim, Floor, Missed int }) {
	for _, t := range r.Targets {
		switch t.Verdict() {
		case "aim":
			s.Aim++
		case "floor":
			s.Floor++
		default:
			s.Missed++
		}
	}
	return s
}
