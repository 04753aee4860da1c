package report

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

func TestJain(t *testing.T) {
	tests := []struct {
		shares []uint64
		want   float64
	}{
		{[]uint64{5, 5, 5, 5}, 1},
		{[]uint64{7}, 1},
		{[]uint64{9, 0, 0}, 1.0 / 3},
		{[]uint64{1, 2, 3}, 36.0 / (3 * 14)},
		{[]uint64{math.MaxUint32, math.MaxUint32}, 1},
		{[]uint64{0, 0}, 0},
		{nil, 0},
	}
	for _, tt := range tests {
		if got := Jain(tt.shares); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", tt.shares, got, tt.want)
		}
	}
}

// The names are what scripts rely on.
func TestJSONFields(t *testing.T) {
	encoded, err := json.Marshal(Load{Detail: Detail{Skew: "hidden", Problems: []string{"hidden"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Fatal(err)
	}
	same := func(what string, fields any, want string) {
		t.Helper()
		object, ok := fields.(map[string]any)
		if !ok {
			t.Fatalf("%s is %T, not an object", what, fields)
		}
		names := slices.Sorted(maps.Keys(object))
		sorted := strings.Fields(want)
		slices.Sort(sorted)
		if !slices.Equal(names, sorted) {
			t.Errorf("%s has the fields\n %v, want\n %v", what, names, sorted)
		}
	}
	same("the object", got, "server processes workers keys seconds acquired acquired_per_second cancelled failed lost "+
		"violations fairness_jain wait_ms sessions leaked")
	same("wait_ms", got["wait_ms"], "p50 p90 p99 p999 max")
	same("leaked", got["leaked"], "server_locks connections goroutines")
}

func good() *Load {
	return &Load{
		Server: "PostgreSQL 15.18", Processes: 2, Workers: 8, Keys: 3, Seconds: 2, Acquired: 1234, AcquiredPerSecond: 617,
		FairnessJain: 0.9991, WaitMS: WaitMS{P50: 1.5, P90: 20.25, P99: 300, P999: 1234, Max: 5000}, Sessions: 14,
		Detail: Detail{
			Throwaway: true, Skew: "zipf", Hold: time.Millisecond, Cancel: 0.2, PerProcess: []uint64{600, 634}, Withdrawn: 13, CutShort: 21,
			GrantsLocal: 900, GrantsServer: 300,
			Verdict: oracle.Verdict{Grants: 1234, Counted: 1234, Keys: 3, Complete: true},
		},
	}
}

func TestTextAndExitStatus(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Load)
		status int
		want   []string
	}{
		{"all well", func(*Load) {}, ExitOK, []string{
			"PostgreSQL 15.18, throwaway", "2 processes x 8 workers", "3 keys, zipf", "hold 1ms", "cancel 0.2",
			"EXCLUSION PROVEN  1,234 acquisitions, 0 violations", "The 3 counters add up to 1,234",
			"1,234, 617 per second", "75.0 % handed on within a process, 25.0 % by the server", "21 more were granted first", "13 still waiting",
			"p50 1.50 ms, p90 20.2 ms, p99 300 ms, p99.9 1.23 s, max 5.00 s",
			"0.9991 (Jain), even: 600 to 634 per process", "14 for locks at most, for 16 workers",
			"NOTHING LEFT BEHIND  server locks 0 · connections 0 · goroutines 0",
		}},
		{"violations", func(l *Load) {
			l.SetVerdict(oracle.Verdict{Grants: 1234, Counted: 1230, LostUpdates: 4, Torn: 4, Overlaps: 5, Violations: 5, BadKeys: 2, Keys: 3, Complete: true})
		}, ExitFailed, []string{
			"EXCLUSION VIOLATED  5 violations on 2 of 3 keys", "should add up to 1,234 and add up to 1,230: 4 updates swallowed",
			"stale when they arrived: 4", "neither's lock was lost: 5",
		}},
		{"violations of lost sessions", func(l *Load) {
			l.SetVerdict(oracle.Verdict{Grants: 9, Counted: 7, LostUpdates: 2, Violations: 2, Explained: 2, BadKeys: 1, Keys: 3, Complete: true})
		}, ExitFailed, []string{"EXCLUSION VIOLATED", "2 of the violations are on keys where a holder wrote while its lock was being lost", "fencing token"}},
		{"a leak", func(l *Load) { l.Leaked.Connections, l.Detail.Stacks = 2, "goroutine 7" }, ExitFailed, []string{
			"EXCLUSION PROVEN", "LEFT BEHIND  server locks 0 · connections 2 · goroutines 0", "goroutine 7",
		}},
		{"failures", func(l *Load) {
			l.Failed, l.Lost = 3, 1
			l.Detail.Reasons = []wire.Reason{{Kind: "rare", Count: 1, First: "x"}, {Kind: "common", Count: 2, First: "y\nz"}}
		}, ExitOK, []string{"failed     3", "lost       1", "2 x common\n    for example: y\n    z", "1 x rare"}},
		{"nothing granted", func(l *Load) { l.Acquired = 0 }, ExitFailed, []string{"EXCLUSION NOT SHOWN", "nothing was put to the test"}},
		{"a worker crashed", func(l *Load) {
			l.Detail.Problems = []string{"worker process 2 ended early: exit status 2"}
			l.Detail.Verdict.Complete = false
		}, ExitFailed, []string{"EXCLUSION NOT SHOWN", "PROBLEM  worker process 2 ended early", "LEFT BEHIND, AS FAR AS SEEN"}},
		{"interrupted", func(l *Load) { l.Detail.Interrupted = true }, ExitInterrupted, []string{"EXCLUSION PROVEN", "Interrupted: the figures are those up to then"}},
		{"interrupted, and a violation", func(l *Load) { l.Detail.Interrupted, l.Violations = true, 1 }, ExitFailed, []string{"1 violation on"}},
		{"writes in doubt", func(l *Load) {
			l.Detail.Verdict.Resolved, l.Detail.AfterLoss, l.Detail.SlowestNews = 1, 2, 3*time.Millisecond
		}, ExitOK, []string{
			"1 write whose answer never came turned out to have arrived", "2 holders met another one because a session had ended and its holder had yet to hear of it, which took up to 3.00 ms",
		}},
		{"uneven", func(l *Load) { l.FairnessJain = 0.9 }, ExitOK, []string{"0.9000 (Jain), UNEVEN"}},
		{"one process, one key", func(l *Load) {
			l.Processes, l.Detail.PerProcess, l.Detail.Verdict.Keys = 1, []uint64{1234}, 1
		}, ExitOK, []string{"1 process x", "The counter comes to 1,234", "one process has it all to itself"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := good()
			tt.change(l)
			var out bytes.Buffer
			if err := l.Text(&out, Style{}); err != nil {
				t.Fatal(err)
			}
			// Where a line is broken is of no interest here.
			text := strings.Join(strings.Fields(out.String()), " ")
			for _, want := range tt.want {
				if !strings.Contains(text, strings.Join(strings.Fields(want), " ")) {
					t.Errorf("the text has no %q", want)
				}
			}
			for line := range strings.SplitSeq(out.String(), "\n") {
				if utf8.RuneCountInString(line) > pageWidth {
					t.Errorf("wider than a terminal: %q", line)
				}
			}
			if strings.Contains(out.String(), "\x1b") {
				t.Error("the text has colours, and was asked to have none")
			}
			if t.Failed() {
				t.Log(out.String())
			}
			if got := l.ExitStatus(); got != tt.status {
				t.Errorf("the exit status is %d, want %d", got, tt.status)
			}
		})
	}
}

func TestColours(t *testing.T) {
	var out bytes.Buffer
	if err := good().Text(&out, Style{Colour: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[1;32mEXCLUSION PROVEN\x1b[0m") {
		t.Errorf("no green verdict in\n%q", out.String())
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 ms", 84 * time.Microsecond: "0.08 ms", 12345 * time.Microsecond: "12.3 ms", 999 * time.Millisecond: "999 ms",
		1200 * time.Millisecond: "1.20 s", 5 * time.Minute: "300 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
	for _, tt := range []struct{ got, want string }{{Of(1, "key"), "1 key"}, {Of(2, "process"), "2 processes"}, {Of(0, "key"), "0 keys"}} {
		if tt.got != tt.want {
			t.Errorf("Of gave %q, want %q", tt.got, tt.want)
		}
	}
}
