package load

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
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
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
		if got := jain(tt.shares); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("jain(%v) = %v, want %v", tt.shares, got, tt.want)
		}
	}
}

// The names are what scripts rely on.
func TestJSONFields(t *testing.T) {
	decoded := func(r Report) (got map[string]any) {
		t.Helper()
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := decoded(Report{Plan: Plan{DSN: "hidden"}, Problems: []string{"hidden"}})
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
	same("the object", got, "server processes workers keys wait seconds acquired acquired_per_second cancelled failed lost "+
		"violations fairness_jain wait_ms sessions leaked")
	same("wait_ms", got["wait_ms"], "p50 p90 p99 p999 max")
	same("leaked", got["leaked"], "server_locks connections goroutines")
	mixed := decoded(*newReport(Plan{Work: worker.Work{Readers: 0.5}}, nil, 0))
	same("readers", mixed["readers"], "acquired wait_ms most_at_once")
	same("writers", mixed["writers"], "acquired wait_ms")
}

func good() *Report {
	return &Report{
		Server: "PostgreSQL 15.18", Processes: 2, Workers: 8, Keys: 3, Seconds: 2, Acquired: 1234, AcquiredPerSecond: 617,
		FairnessJain: 0.9991, WaitMS: WaitMS{P50: 1.5, P90: 20.25, P99: 300, P999: 1234, Max: 5000}, Sessions: 14,
		Throwaway: true, Plan: Plan{Work: worker.Work{Skew: "zipf", Hold: time.Millisecond, Cancel: 0.2}}, PerProcess: []uint64{600, 634},
		Total:   worker.Tally{Counts: worker.Counts{Withdrawn: 13, CutShort: 21}, GrantsLocal: 900, GrantsServer: 300},
		Verdict: oracle.Verdict{Grants: 1234, Counted: 1234, Keys: 3, Complete: true},
	}
}

func mixed(r *Report) {
	r.Plan.Readers, r.Total.Read = 0.95, 1200
	r.Readers = &Readers{Side: Side{Acquired: 1200, WaitMS: WaitMS{P50: 1, P99: 2, Max: 3}}, MostAtOnce: 37}
	r.Writers = &Side{Acquired: 34, WaitMS: WaitMS{P50: 4, P99: 5, Max: 6}}
}

func TestReadersAndWritersApart(t *testing.T) {
	tally := &worker.Tally{
		Counts: worker.Counts{Acquired: 10, Read: 7}, MostReaders: 5,
		Waits: worker.NewWaits(), ReaderWaits: worker.NewWaits(), WriterWaits: worker.NewWaits(),
	}
	tally.ReaderWaits.Record(2 * time.Millisecond)
	tally.WriterWaits.Record(4 * time.Millisecond)
	plan := Plan{Work: worker.Work{Readers: 0.5}}
	r := newReport(plan, []*worker.Tally{tally}, time.Second)
	if r.Readers.Acquired != 7 || r.Writers.Acquired != 3 || r.Readers.MostAtOnce != 5 || r.Readers.WaitMS.Max < 2 || r.Writers.WaitMS.P50 < 4 {
		t.Errorf("readers %+v, writers %+v", r.Readers, r.Writers)
	}
	plan.Readers = 0
	if r := newReport(plan, []*worker.Tally{tally}, time.Second); r.Readers != nil || r.Writers != nil {
		t.Error("readers and writers are told apart, and nobody asked for readers")
	}
}

func TestTextAndExitStatus(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Report)
		status int
		want   []string
	}{
		{"all well", func(*Report) {}, report.ExitOK, []string{
			"PostgreSQL 15.18, throwaway", "2 processes x 8 workers", "3 keys, zipf", "hold 1ms", "cancel 0.2",
			"EXCLUSION PROVEN  1,234 acquisitions, 0 violations", "The 3 counters add up to 1,234",
			"1,234, 617 per second", "75.0 % handed on within a process, 25.0 % by the server", "21 more were granted first", "13 still waiting",
			"p50 1.50 ms, p90 20.2 ms, p99 300 ms, p99.9 1.23 s, max 5.00 s",
			"0.9991 (Jain), even: 600 to 634 per process", "14 for locks at most, for 16 workers",
			"NOTHING LEFT BEHIND  server locks 0 · connections 0 · goroutines 0",
		}},
		{"violations", func(l *Report) {
			l.setVerdict(oracle.Verdict{Grants: 1234, Counted: 1230, LostUpdates: 4, Torn: 4, Overlaps: 5, Violations: 5, BadKeys: 2, Keys: 3, Complete: true})
		}, report.ExitFailed, []string{
			"EXCLUSION VIOLATED  5 violations on 2 of 3 keys", "should add up to 1,234 and add up to 1,230: 4 updates swallowed",
			"stale when they arrived: 4", "neither's lock was lost: 5",
		}},
		{"violations of lost sessions", func(l *Report) {
			l.setVerdict(oracle.Verdict{Grants: 9, Counted: 7, LostUpdates: 2, Violations: 2, Explained: 2, BadKeys: 1, Keys: 3, Complete: true})
		}, report.ExitFailed, []string{"EXCLUSION VIOLATED", "2 of the violations are on keys where a holder wrote while its lock was being lost", "fencing token"}},
		{"a leak", func(l *Report) { l.Leaked.Connections, l.Total.Stacks = 2, "goroutine 7" }, report.ExitFailed, []string{
			"EXCLUSION PROVEN", "LEFT BEHIND  server locks 0 · connections 2 · goroutines 0", "goroutine 7",
		}},
		{"failures", func(l *Report) {
			l.Failed, l.Lost = 3, 1
			l.Total.Reasons = []worker.Reason{{Kind: "rare", Count: 1, First: "x"}, {Kind: "common", Count: 2, First: "y\nz"}}
		}, report.ExitOK, []string{"failed     3", "lost       1", "2 x common\n    for example: y\n    z", "1 x rare"}},
		{"nothing granted", func(l *Report) { l.Acquired = 0 }, report.ExitFailed, []string{"EXCLUSION NOT SHOWN", "nothing was put to the test"}},
		{"a worker crashed", func(l *Report) {
			l.Problems = []string{"worker process 2 ended early: exit status 2"}
			l.Verdict.Complete = false
		}, report.ExitFailed, []string{"EXCLUSION NOT SHOWN", "PROBLEM  worker process 2 ended early", "LEFT BEHIND, AS FAR AS SEEN"}},
		{"interrupted", func(l *Report) { l.Interrupted = true }, report.ExitInterrupted, []string{"EXCLUSION PROVEN", "Interrupted: the figures are those up to then"}},
		{"interrupted, and a violation", func(l *Report) { l.Interrupted, l.Violations = true, 1 }, report.ExitFailed, []string{"1 violation on"}},
		{"writes in doubt", func(l *Report) {
			l.Verdict.Resolved, l.Total.AfterLoss, l.Total.SlowestNews = 1, 2, 3*time.Millisecond
		}, report.ExitOK, []string{
			"1 write whose answer never came turned out to have arrived", "2 holders met another one because a session had ended and its holder had yet to hear of it, which took up to 3.00 ms",
		}},
		{"uneven", func(l *Report) { l.FairnessJain = 0.9 }, report.ExitOK, []string{"0.9000 (Jain), UNEVEN"}},
		{"readers", mixed, report.ExitOK, []string{
			"readers 0.95", "EXCLUSION PROVEN", "Each writer did an unguarded", "Each reader read the counter at the beginning and at the end",
			"75.0 % handed on or shared within a process",
			"readers 1,200, wait p50 1.00 ms, p99 2.00 ms, max 3.00 ms; at most 37 held one key at one time",
			"writers 34, wait p50 4.00 ms, p99 5.00 ms, max 6.00 ms",
		}},
		{"readers that met writers", func(l *Report) {
			mixed(l)
			l.setVerdict(oracle.Verdict{Grants: 34, Counted: 34, Overlaps: 3, Changed: 2, Violations: 3, BadKeys: 1, Keys: 3, Complete: true})
		}, report.ExitFailed, []string{"EXCLUSION VIOLATED 3 violations", "neither's lock was lost: 3", "Readers whose counter changed while they held: 2."}},
		{"readers alone", func(l *Report) {
			mixed(l)
			l.Total.Read = l.Acquired
		}, report.ExitFailed, []string{"EXCLUSION NOT SHOWN", "Only readers were granted a lock"}},
		{"one process, one key", func(l *Report) {
			l.Processes, l.PerProcess, l.Verdict.Keys = 1, []uint64{1234}, 1
		}, report.ExitOK, []string{"1 process x", "The counter comes to 1,234", "one process has it all to itself"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := good()
			tt.change(l)
			var out bytes.Buffer
			if err := l.Text(&out, report.Style{}); err != nil {
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
				if utf8.RuneCountInString(line) > 80 {
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
	if err := good().Text(&out, report.Style{Colour: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[1;32mEXCLUSION PROVEN\x1b[0m") {
		t.Errorf("no green verdict in\n%q", out.String())
	}
}
