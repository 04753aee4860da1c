package storm

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
)

func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Report)
		status int
		want   string
	}{
		{"all well", func(*Report) {}, report.ExitOK, "returned   all within 1.20 s of the end of their contexts (bound 2s)"},
		{"late", func(r *Report) { r.Rounds[0].ReturnedMS = 2500 }, report.ExitFailed, "the last call returned after 2.50 s, and the bound is 2s"},
		{"never", func(r *Report) { r.Rounds[0].NotReturned = 3 }, report.ExitFailed, "3 calls never returned"},
		{"granted", func(r *Report) { r.Rounds[0].Granted = 1 }, report.ExitFailed, "1 waiter got a lock that another held"},
		{"wrong error", func(r *Report) { r.Rounds[0].WrongErrors, r.Rounds[0].Example = 2, "too many" }, report.ExitFailed, "2 waiters got an error other than its context's, for example: too many"},
		{"slow to retake", func(r *Report) { r.Rounds[0].RetakeMS = 9000 }, report.ExitFailed, "taking a key again took 9.00 s"},
		{"leak", func(r *Report) { r.Rounds[0].Leaked.Goroutines = 4 }, report.ExitFailed, "left behind: server locks 0 · connections 0 · goroutines 4"},
		{"interrupted", func(r *Report) { r.Interrupted = true }, report.ExitInterrupted, "Interrupted"},
		{"interrupted, and late", func(r *Report) { r.Interrupted, r.Rounds[0].NotReturned = true, 1 }, report.ExitFailed, "1 call never returned"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Report{Server: "PostgreSQL 15.18", BoundMS: 2000, Rounds: []Round{{
				Waiters: 100_000, Keys: 1, QueuedMS: 800, ReturnedMS: 1200, RetakeMS: 1,
				MemoryMiB: Memory{Before: 5, Peak: 505, After: 52},
			}}}
			tt.change(r)
			var out bytes.Buffer
			if err := r.Text(&out, report.Style{}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(tt.want), " ")) {
				t.Errorf("no %q in\n%s", tt.want, out.String())
			}
			if good := strings.Contains(out.String(), "EVERY CALL RETURNED"); good == (tt.status == report.ExitFailed) {
				t.Errorf("the verdict does not fit the exit status:\n%s", out.String())
			}
			if got := r.ExitStatus(); got != tt.status {
				t.Errorf("the exit status is %d, want %d", got, tt.status)
			}
		})
	}
}
