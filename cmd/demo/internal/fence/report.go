package fence

import (
	"io"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

// Report is the result: one object in JSON.
type Report struct {
	Server string        `json:"server"`
	Ways   []Result      `json:"ways"`
	Leaked server.Leaked `json:"leaked"`

	Throwaway   bool `json:"-"`
	Interrupted bool `json:"-"`
}

// Result is what came of one way of writing.
type Result struct {
	Way          Way `json:"way"`
	Rounds       int `json:"rounds"`
	Acknowledged int `json:"acknowledged"` // writes that the database confirmed
	Stale        int `json:"stale"`        // of them by a process that was woken past its loss
	Lost         int `json:"lost"`         // increments that the counter lacks
}

// held reports whether the result is what it should be: without a fence it shows that writes are lost.
func (r *Result) held() bool {
	if r.Way == None {
		return r.Lost > 0
	}
	return r.Lost == 0 && r.Stale == 0 && r.Acknowledged == r.Rounds
}

// ExitStatus is 1 where a fence let something through.
func (r *Report) ExitStatus() int {
	for i := range r.Ways {
		if !r.Ways[i].held() {
			return report.ExitFailed
		}
	}
	switch {
	case r.Interrupted:
		return report.ExitInterrupted
	case r.Leaked.ServerLocks+r.Leaked.Connections > 0:
		return report.ExitFailed
	}
	return report.ExitOK
}

// Text writes the last screen.
func (r *Report) Text(w io.Writer, style report.Style) error {
	t := &report.Text{Style: style}
	name := r.Server
	if r.Throwaway {
		name += ", throwaway"
	}
	t.Printf("\n%s on %s\n\n", t.Bold("demo fence"), name)
	for i := range r.Ways {
		way := &r.Ways[i]
		verdict := t.Good("NOTHING LOST")
		switch {
		case way.Way == None && way.held():
			verdict = t.Bold("WRITES ARE LOST, as was to be shown")
		case !way.held():
			verdict = t.Bad("FAILED")
		}
		t.Printf("  %-10s %s of a holder that is stopped past its loss: %s\n", way.Way, report.Of(way.Rounds, "round"), verdict)
		t.Printf("             %s acknowledged, %s of a woken process, %s lost\n", report.Of(way.Acknowledged, "write"), report.Count(way.Stale), report.Count(way.Lost))
	}
	t.Printf("\n")
	t.Line("left", "%v", r.Leaked)
	if r.Interrupted {
		t.Printf("\nInterrupted: what had not been finished is not shown.\n")
	}
	_, err := io.WriteString(w, t.String())
	return err
}
