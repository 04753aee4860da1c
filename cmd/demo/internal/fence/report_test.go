package fence

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

func TestReport(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Report)
		status int
		want   string
	}{
		{"all well", func(*Report) {}, report.ExitOK, "Guard      10 rounds of a holder that is stopped past its loss: NOTHING LOST"},
		{"lost", func(r *Report) { r.Ways[1].Lost = 1 }, report.ExitFailed, "FAILED"},
		{"stale", func(r *Report) { r.Ways[1].Stale = 1 }, report.ExitFailed, "FAILED"},
		{"the holder could not write", func(r *Report) { r.Ways[1].Acknowledged = 9 }, report.ExitFailed, "FAILED"},
		{"nothing is shown", func(r *Report) { r.Ways[0].Lost = 0 }, report.ExitFailed, "FAILED"},
		{"left", func(r *Report) { r.Leaked.ServerLocks = 1 }, report.ExitFailed, "server locks 1"},
		{"interrupted", func(r *Report) { r.Interrupted = true }, report.ExitInterrupted, "Interrupted"},
	} {
		r := &Report{Server: "PostgreSQL 15", Ways: []Result{{None, 10, 20, 10, 10}, {Guard, 10, 10, 0, 0}}}
		row.change(r)
		var text bytes.Buffer
		if err := r.Text(&text, report.Style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), row.want) || r.ExitStatus() != row.status {
			t.Errorf("%s: status %d, and\n%s", row.name, r.ExitStatus(), text.String())
		}
	}
}
