package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// Screen is where progress goes: lines that redraw themselves in a terminal, a plain line at each interval elsewhere.
type Screen struct {
	out      io.Writer
	terminal *os.File // nil where out is none
	style    Style
	lines    int // drawn last, to be drawn over
}

// NewScreen looks at what out is. NO_COLOR and TERM=dumb are respected.
func NewScreen(out io.Writer) *Screen {
	s := &Screen{out: out}
	if file, ok := out.(*os.File); ok && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		s.terminal = file
		s.style.Colour = os.Getenv("NO_COLOR") == ""
	}
	return s
}

// Style is what a text on this screen may have.
func (s *Screen) Style() Style { return s.style }

// Interval is how often Draw should be called.
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
	bar := ""
	if size := min(40, width-30); size >= 5 {
		full := min(int(float64(size)*elapsed.Seconds()/duration.Seconds()), size)
		bar = "[" + strings.Repeat("=", full) + strings.Repeat(" ", size-full) + "]"
	}
	return cut(fmt.Sprintf("  %s  %.1f s of %v", bar, elapsed.Seconds(), duration), width)
}

// Clear removes what Draw drew, so that something else can be written.
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

// cut shortens a line of plain ASCII.
func cut(line string, width int) string {
	if len(line) >= width {
		return line[:max(0, width-1)]
	}
	return line
}
