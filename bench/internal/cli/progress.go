package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/report"
)

// progress writes to standard error: on a terminal one line that is replaced, else a line for each measurement.
type progress struct {
	w        io.Writer
	terminal bool
	began    time.Time
}

func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(file.Fd())), began: time.Now()}
}

func (p *progress) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.terminal {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		return
	}
	_, _ = fmt.Fprintln(p.w, text)
}

// Say tells of something beside the measurements.
func (p *progress) Say(text string) {
	p.line("%s", text)
}

// Begin is shown where the line is replaced afterwards.
func (p *progress) Begin(number, of int, m harness.Measurement) {
	if p.terminal {
		p.line("%d/%d %s %s, round %d ...", number, of, m.Scenario, m.System, m.Round)
	}
}

// End tells how a measurement ended, and when the run may be over.
func (p *progress) End(number, of int, m harness.Measurement) {
	took := time.Since(p.began)
	left := time.Duration(float64(took) / float64(number) * float64(of-number)).Round(time.Second)
	outcome := report.Brief(m.Result)
	p.line("%d/%d %s %s, round %d: %s (%v to go)", number, of, m.Scenario, m.System, m.Round, outcome, left)
	if p.terminal && (number == of || m.Result.Failed != "") {
		_, _ = fmt.Fprintln(p.w)
	}
}
