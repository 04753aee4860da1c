package page

import (
	"fmt"
	"html/template"
	"reflect"
	"strings"
)

// Drawing is an SVG picture that is written element by element. It scales with the page.
type Drawing struct{ b strings.Builder }

// NewDrawing begins a picture of a size in pixels. The label says in words what it shows.
func NewDrawing(width, height int, label string) *Drawing {
	d := &Drawing{}
	d.Put(`<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, label)
	return d
}

// Put writes elements. Arguments whose type is a string are escaped, others are expected to be numbers.
func (d *Drawing) Put(format string, args ...any) {
	for i, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
			args[i] = template.HTMLEscapeString(v.String())
		}
	}
	fmt.Fprintf(&d.b, format+"\n", args...)
}

// HTML ends the picture and returns it.
func (d *Drawing) HTML() template.HTML {
	return template.HTML(d.b.String() + "</svg>") //nolint:gosec // Put escapes what is not a format of the program
}
