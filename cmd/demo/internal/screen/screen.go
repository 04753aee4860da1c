// Package screen shows a load's progress: lines that redraw themselves in a terminal, a plain line a second elsewhere.
package screen

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/fleet"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

// Screen is where progress goes.
type Screen struct {
	out      io.Writer
	terminal *os.File // nil where out is none
	style    report.Style
	lines    int // drawn last, to be drawn over
}

// New looks at what out is. NO_COLOR and TERM=dumb are respected.
func New(out io.Writer) *Screen {
	s := &Screen{out: out}
	if file, ok := out.(*os.File); ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		s.terminal = file
		s.style.Colour = os.Getenv("NO_COLOR") == ""
	}
	return s
}

// Style is what a text on this screen may have.
func (s *Screen) Style() report.Style { return s.style }

// Interval is how often Show should be called.
func (s *Screen) Interval() time.Duration {
	if s.terminal != nil {
		return 500 * time.Millisecond
	}
	return time.Second
}

// Say writes a line that stays.
func (s *Screen) Say(format string, args ...any) error {
	if err := s.Clear(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, format+"\n", args...)
	return err
}

// Show draws the progress.
func (s *Screen) Show(now fleet.Snapshot, duration time.Duration) error {
	return s.Draw(plain(now, duration), func(width int) []string { return s.live(now, duration, width) })
}

// Draw shows progress: a line where there is no terminal, else lines that take the place of those drawn before. None of
// these may be longer than the width; [Row] makes such.
func (s *Screen) Draw(plain string, live func(width int) []string) error {
	if s.terminal == nil {
		_, err := fmt.Fprintln(s.out, plain)
		return err
	}
	width, _, err := term.GetSize(int(s.terminal.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	lines := live(width)
	_, err = io.WriteString(s.out, s.rewind()+strings.Join(lines, "\n")+"\n")
	s.lines = len(lines)
	return err
}

// Row is a line of progress in plain ASCII: a label and what it is about.
func (s *Screen) Row(width int, label, format string, args ...any) string {
	text := cut(fmt.Sprintf("  %-12s ", label)+fmt.Sprintf(format, args...), width)
	head := min(len(text), 15)
	return s.style.Faint(text[:head]) + text[head:]
}

// Bar is a line that shows how much of the time has passed.
func (s *Screen) Bar(width int, elapsed, duration time.Duration) string {
	return cut("  "+bar(elapsed, duration, min(40, width-30))+fmt.Sprintf("  %.1f s of %v", elapsed.Seconds(), duration), width)
}

// Clear removes what Show drew, so that something else can be written.
func (s *Screen) Clear() error {
	if s.lines == 0 {
		return nil
	}
	_, err := io.WriteString(s.out, s.rewind())
	s.lines = 0
	return err
}

// rewind goes back to the first line that was drawn, and clears the screen from there.
func (s *Screen) rewind() string {
	if s.lines == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", s.lines)
}

func plain(n fleet.Snapshot, duration time.Duration) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%5.1f s of %v  %9s/s  acquired %s  waiting %s  wait p50 %s p99 %s  sessions %d",
		n.Elapsed.Seconds(), duration, report.Count(uint64(n.PerSecond)), report.Count(n.Acquired),
		report.Count(n.Waiting), report.Span(n.P50), report.Span(n.P99), n.Sessions)
	for _, extra := range []struct {
		name  string
		count uint64
	}{{"cancelled", n.Cancelled}, {"failed", n.Failed}, {"lost", n.Lost}} {
		if extra.count > 0 {
			fmt.Fprintf(&line, "  %s %s", extra.name, report.Count(extra.count))
		}
	}
	return line.String()
}

// live is the progress for a terminal. No line is longer than the terminal is wide, or going back up would miss.
func (s *Screen) live(n fleet.Snapshot, duration time.Duration, width int) []string {
	row := func(label, format string, args ...any) string { return s.Row(width, label, format, args...) }
	bad := func(name string, count uint64) string {
		if count == 0 {
			return ""
		}
		return "   " + name + " " + report.Count(count)
	}
	return []string{
		s.Bar(width, n.Elapsed, duration),
		row("per second", "%s", report.Count(uint64(n.PerSecond))),
		row("acquired", "%s%s%s%s", report.Count(n.Acquired), bad("cancelled", n.Cancelled), bad("FAILED", n.Failed), bad("LOST", n.Lost)),
		row("waiting", "%s   holding %s", report.Count(n.Waiting), report.Count(n.Held)),
		row("wait", "p50 %s   p99 %s", report.Span(n.P50), report.Span(n.P99)),
		row("sessions", "%d in use", n.Sessions),
	}
}

func bar(elapsed, duration time.Duration, width int) string {
	if width < 5 {
		return ""
	}
	full := min(int(float64(width)*elapsed.Seconds()/duration.Seconds()), width)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}

// cut shortens a line of plain ASCII.
func cut(line string, width int) string {
	if len(line) >= width {
		return line[:max(0, width-1)]
	}
	return line
}
