package report

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func saved(t *testing.T, reports ...Report) []Saved {
	t.Helper()
	var text strings.Builder
	for _, r := range reports {
		if err := r.JSON(&text); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := Read(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

func TestMergedRunsGiveRangesWithTheLowerEndFirst(t *testing.T) {
	runs := saved(t, against(morning.Add(6*time.Hour), 0.9), against(morning, 1), against(morning.Add(12*time.Hour), 0.5))
	if len(runs) != 3 || len(runs[0].Rows) != 4 {
		t.Fatalf("%d runs were read: %+v", len(runs), runs)
	}
	m, err := Merge(compared(), runs)
	if err != nil {
		t.Fatal(err)
	}
	text := written(t, func(w *strings.Builder) error { return m.Markdown(w) })
	for _, want := range []string{
		"in three runs", "| runs | 2026-11-28 08:00, 1m0s; 2026-11-28 14:00, 1m0s; 2026-11-28 20:00, 1m0s |",
		"| a switch | 0.50 x to 1.00 x (start: 20,000 with 50 clients",
		"| lockkeeper | 15,000 to 30,000 | 15,000 | 30,000 | 3.00 x to 6.00 x | 0.75 x to 1.50 x | 50.0 us to 100 us | 200 us |",
		"| lockkeeper@then | 20,000 | 20,000 | 20,000 | 4.00 x | 1.00 x |",
		"| lockkeeper | 20.0 us to 40.0 us |", "lockkeeper: p99_to_raw 0.70 to 1.40, wake_p99_us 20.0 to 40.0",
		// The worst run decides: 3 is below the floor of 7, and 1.4 above the aim of 1.2.
		"| distinct-1000: pairs to pgx | 3.00 to 6.00 | 4.00 | >= 7.00 | >= 10.0 | missed |",
		"| wake: p99 to that of a raw waiting session | 0.70 to 1.40 | - | <= 1.50 | <= 1.20 | floor |",
		"BENCH_ARGS='--json --baseline then'",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestRunsThatCannotBeComparedAreNotMerged(t *testing.T) {
	other := func(change func(*Report)) Report {
		r := against(morning.Add(time.Hour), 1)
		change(&r)
		return r
	}
	for want, second := range map[string]Report{
		"machine":            other(func(r *Report) { r.Machine.CPU = "1 x something" }),
		"servers":            other(func(r *Report) { r.Servers = []string{"PostgreSQL 14"} }),
		"rounds":             other(func(r *Report) { r.Seconds = 2 }),
		"arguments":          other(func(r *Report) { r.Arguments = "" }),
		"baseline":           other(func(r *Report) { r.BaselineCommit = "4567" }),
		`a scenario "other"`: other(func(r *Report) { r.Rows[0].Scenario = "other" }),
	} {
		if _, err := Merge(compared(), saved(t, against(morning, 1), second)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	one := saved(t, against(morning, 1))
	if _, err := Merge(compared(), append(one, one...)); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("one run twice: %v", err)
	}
	if _, err := Merge(compared(), one); err == nil || !strings.Contains(err.Error(), "at least 2") {
		t.Errorf("one run: %v", err)
	}
}

func TestMergedPagesTellWhatIsMissing(t *testing.T) {
	first, second := against(morning, 1), against(morning.Add(time.Hour), 1)
	for i, r := range second.Rows {
		switch r.System {
		case "pgx":
			second.Rows[i] = Row{Scenario: r.Scenario, System: r.System, Failed: "it broke"}
		case then:
			second.Rows[i].Scenario = "wake"
		}
	}
	second.Others, second.Commit = 0.5, "def"
	m, err := Merge(compared(), saved(t, first, second))
	if err != nil {
		t.Fatal(err)
	}
	text := written(t, func(w *strings.Builder) error { return m.Markdown(w) })
	for _, want := range []string{"- pgx FAILED in 1 of 2 runs: it broke", "- lockkeeper@then: measured in 1 of 2 runs",
		"The run of 2026-11-28 09:00:00: Other programs used 50 %", "different commits of the library: abc-dirty, def"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "| pgx |") {
		t.Errorf("figures of what failed in one run are in\n%s", text)
	}
}

func TestReadRefusesWhatIsNoRun(t *testing.T) {
	for text, want := range map[string]error{"": nil, "{": nil, `{"scenario":"lone"}`: ErrNoRun} {
		if _, err := Read(strings.NewReader(text)); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestJSONIsReadAsItWas(t *testing.T) {
	r := run()
	r.Date = morning.Add(time.Hour)
	got := saved(t, against(morning, 1), r)[1].Rows
	for i, row := range r.Rows {
		got[i].Run = nil
		want, _ := json.Marshal(row)
		if len(row.Extra) == 0 {
			want, _ = json.Marshal(func() Row { row.Extra = nil; return row }())
		}
		if have, _ := json.Marshal(got[i]); string(have) != string(want) {
			t.Errorf("got  %s\nwant %s", have, want)
		}
	}
}
