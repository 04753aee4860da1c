package page

import (
	"encoding/xml"
	"errors"
	"html/template"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAPageNeedsNoOtherFile(t *testing.T) {
	page := New(`{{define "title"}}run {{.}}{{end}}{{define "style"}}:root { --ink: #123; }{{end}}{{define "body"}}<p>{{twice .}}</p>{{end}}`,
		template.FuncMap{"twice": func(s string) string { return s + s }})
	var b strings.Builder
	if err := page.Execute(&b, "<1>"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<title>run &lt;1&gt;</title>", "--ink: #123;", "<p>&lt;1&gt;&lt;1&gt;</p>"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	for _, bad := range []string{"<script", "http", "src=", "url(", "ZgotmplZ"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("%q is in\n%s", bad, b.String())
		}
	}
}

func TestTextInADrawingIsEscaped(t *testing.T) {
	type kind string
	d := NewDrawing(1, 2, `a "label"`)
	d.Put(`<text x="%.1f">%s %s</text>`, 1.25, "<b>", kind("&"))
	want := "<svg viewBox=\"0 0 1 2\" role=\"img\" aria-label=\"a &#34;label&#34;\">\n<text x=\"1.2\">&lt;b&gt; &amp;</text>\n</svg>"
	if got := string(d.HTML()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// element is what a test looks at in a drawing.
type element struct {
	name, class, text string
	at                map[string]float64 // the attributes that are numbers
	path              string
}

// elements parses a drawing and checks that nothing lies outside of it.
func elements(t *testing.T, svg template.HTML) []element {
	t.Helper()
	var all []element
	var width, height float64
	decoder := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, at: map[string]float64{}}
			for _, a := range token.Attr {
				switch a.Name.Local {
				case "class":
					e.class = a.Value
				case "d":
					e.path = a.Value
				case "viewBox":
					size := strings.Fields(a.Value)
					width, height = number(t, size[2]), number(t, size[3])
				case "x", "y", "x1", "x2", "y1", "y2", "width", "height":
					e.at[a.Name.Local] = number(t, a.Value)
				}
			}
			all = append(all, e)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1].text += strings.TrimSpace(string(token))
			}
		}
	}
	for _, e := range all {
		for _, x := range []float64{e.at["x"], e.at["x1"], e.at["x2"], e.at["x"] + e.at["width"]} {
			for _, y := range []float64{e.at["y"], e.at["y1"], e.at["y2"], e.at["y"] + e.at["height"]} {
				if !(x >= 0 && x <= width && y >= 0 && y <= height) {
					t.Errorf("%+v lies outside of %v x %v", e, width, height)
				}
			}
		}
	}
	return all
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ofClass(all []element, class string) []element {
	var out []element
	for _, e := range all {
		if strings.HasPrefix(e.class, class) {
			out = append(out, e)
		}
	}
	return out
}

func TestBarsFitTheirDrawing(t *testing.T) {
	const room = 150
	for name, chart := range map[string]Bars{
		"linear": {Room: room, Rows: []Bar{
			{Name: "ours", Class: "ours", Label: "300,000", Value: 300_000, Low: 100, High: 320_000},
			{Name: "theirs", Class: "theirs", Value: 3000, Low: 3000, High: 3000}, {Name: "nobody"}}},
		"logarithmic": {Room: room, Decade: func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }, Rows: []Bar{
			{Name: "ours", Value: 6, Floor: 5, Aim: 10}, {Name: "theirs", Value: 0.02, Floor: 0.5, Aim: 123}, {Name: "nobody", Floor: 1, Aim: 1}}},
		"logarithmic, nothing but one": {Room: room, Decade: func(float64) string { return "" }, Rows: []Bar{{Value: 1, Floor: 1, Aim: 1}}},
		"nothing but zero":             {Room: room, Rows: []Bar{{Name: "nobody"}}},
	} {
		all := elements(t, chart.SVG())
		bars := ofClass(all, "bar")
		if len(bars) != len(chart.Rows) {
			t.Errorf("%s: %d bars, want %d", name, len(bars), len(chart.Rows))
		}
		for _, e := range append(bars, append(ofClass(all, "whisker"), ofClass(all, "mark")...)...) {
			if e.at["x"]+e.at["width"] > chartWidth-room+1 || e.at["x2"] > chartWidth-room+1 {
				t.Errorf("%s: no room for the labels: %+v", name, e)
			}
		}
		if name == "linear" && bars[0].at["width"] <= 99*bars[1].at["width"] {
			t.Errorf("300,000 is %v wide, 3,000 is %v wide", bars[0].at["width"], bars[1].at["width"])
		}
		if whiskers := ofClass(all, "whisker"); name == "linear" && len(whiskers) != 1 {
			t.Errorf("%d whiskers, and only one row's ends differ", len(whiskers))
		}
	}
	if svg := (Bars{}).SVG(); svg != "" {
		t.Errorf("a chart without rows is %q", svg)
	}
}

func TestALongNameFitsItsChart(t *testing.T) {
	all := elements(t, Bars{Room: 210, Rows: []Bar{{Name: "lockkeeper@" + strings.Repeat("long", 20), Value: 3}, {Name: "pgx"}}}.SVG())
	name := ofClass(all, "name")[0]
	if letterWidth*float64(len(name.text)) > name.at["x"]+8 || !strings.HasSuffix(name.text, "...") {
		t.Errorf("%q does not fit %v", name.text, name.at["x"])
	}
}

func TestLinesShareTheAxisOfTime(t *testing.T) {
	second := func(n int, v float64) Point { return Point{At: time.Duration(n) * time.Second, Value: v} }
	replaced := second(3, 1)
	replaced.Gap = true
	chart := Lines{Label: "goroutines", Total: 4 * time.Second, Series: []Series{
		{Name: "process 1", Colour: "#123", Points: []Point{second(0, 2), second(2, 4), replaced, second(4, 1)}},
		{Name: "process 2", Colour: "#456"},
	}}
	all := elements(t, chart.SVG())
	var ticks []string
	for _, e := range all {
		if e.name == "text" && e.class == "" {
			ticks = append(ticks, e.text)
		}
	}
	if got, want := strings.Join(ticks, ","), "0 s,1 s,2 s,3 s,4 s"; got != want {
		t.Errorf("the axis reads %s, want %s", got, want)
	}
	line := ofClass(all, "line")[0]
	if got, want := line.path, "M64.0 84.4L624.0 20.7M904.0 116.2L1184.0 116.2"; got != want {
		t.Errorf("the line is %s, want %s", got, want)
	}
	if svg := (Lines{Total: time.Second, Series: []Series{{Points: []Point{{}}}}}).SVG(); svg != "" {
		t.Errorf("a chart of nothing is %q", svg)
	}
}

func TestAnAxisHasRoomForItsTicks(t *testing.T) {
	for total, want := range map[time.Duration]string{10 * time.Second: "10 s", 2 * time.Minute: "2:00", 90 * time.Minute: "90:00"} {
		all := elements(t, NewTimeline(total, 10, "").HTML())
		ticks := ofClass(all, "tick")
		if len(ticks) > 18 || all[len(all)-1].text != want {
			t.Errorf("%v has %d ticks, the last is %q, want %q", total, len(ticks), all[len(all)-1].text, want)
		}
	}
}
