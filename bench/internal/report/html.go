package report

import (
	_ "embed" // the page's template
	"html/template"
	"io"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// HTML writes one page that needs no other file.
func (r Report) HTML(w io.Writer) error { return page.Execute(w, r) }

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
