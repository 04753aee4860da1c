// Package page writes reports as HTML pages: the frame of a page that needs no other file, the styles that all pages share,
// and charts as SVG drawings.
package page

import (
	_ "embed" // the frame
	"html/template"
)

//go:embed page.html
var frame string

// New returns the template of a page. The text defines three templates: "title", "style" (what the page adds to the shared
// style sheet, with the colours --ink, --soft, --line and --paper among it) and "body". New panics where the text is no
// template.
func New(text string, functions template.FuncMap) *template.Template {
	t := template.Must(template.New("page").Funcs(functions).Parse(frame))
	return template.Must(t.Parse(text))
}
