package screen

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/fleet"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

func snapshot() fleet.Snapshot {
	return fleet.Snapshot{
		Counts:  wire.Counts{Acquired: 12345, Cancelled: 67},
		Elapsed: 2500 * time.Millisecond, PerSecond: 4938, Waiting: 700, Held: 50, Sessions: 80,
		P50: 48 * time.Millisecond, P99: 1200 * time.Millisecond,
	}
}

func TestPlainLinesWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	s := New(&out)
	for range 2 {
		if err := s.Show(snapshot(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 || strings.ContainsAny(out.String(), "\x1b\r") {
		t.Fatalf("want two plain lines, got %q", out.String())
	}
	for _, want := range []string{"2.5 s of 10s", "4,938/s", "acquired 12,345", "waiting 700", "p50 48.0 ms", "p99 1.20 s", "sessions 80", "cancelled 67"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %q in %q", want, lines[0])
		}
	}
	if strings.Contains(lines[0], "failed") {
		t.Errorf("a failure is named where there is none: %q", lines[0])
	}
	if s.Interval() != time.Second || s.Style().Colour {
		t.Errorf("interval %v, colour %v", s.Interval(), s.Style().Colour)
	}
}

func TestLiveLinesFitTheTerminal(t *testing.T) {
	s := &Screen{}
	for _, width := range []int{1, 5, 20, 40, 80, 200} {
		for _, line := range s.live(snapshot(), 10*time.Second, width) {
			if len(line) >= width {
				t.Errorf("width %d: the line %q has %d characters", width, line, len(line))
			}
		}
	}
	all := strings.Join(s.live(snapshot(), 10*time.Second, 100), "\n")
	for _, want := range []string{"[==========", "per second", "4,938", "700   holding 50", "p50 48.0 ms   p99 1.20 s", "80 in use", "cancelled 67"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
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
