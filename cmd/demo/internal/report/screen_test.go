package report

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestPlainLinesWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	s := NewScreen(&out)
	for range 2 {
		if err := s.Draw("a line", func(int) []string { return []string{"live"} }); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "a line\na line\n" {
		t.Errorf("want two plain lines, got %q", out.String())
	}
	if s.Interval() != time.Second || s.Style().Colour {
		t.Errorf("interval %v, colour %v", s.Interval(), s.Style().Colour)
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	s := &Screen{}
	for _, width := range []int{1, 5, 20, 40, 80, 200} {
		for _, line := range []string{s.Bar(width, 2500*time.Millisecond, 10*time.Second), s.Row(width, "label", "%s", strings.Repeat("x", 300))} {
			if len(line) >= width {
				t.Errorf("width %d: the line %q has %d characters", width, line, len(line))
			}
		}
	}
}

func TestRedrawGoesBackOverWhatWasDrawn(t *testing.T) {
	var out bytes.Buffer
	s := &Screen{out: &out, lines: 6}
	if err := s.Say("done"); err != nil {
		t.Fatal(err)
	}
	if err := s.Say("again"); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[6A\r\x1b[Jdone\nagain\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}
