package report

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// then is the system with the library at another commit.
const then = "lockkeeper@then"

func compared() harness.Catalogue {
	return catalogue("lockkeeper", "pgx").WithVariant(harness.System{Name: then, Of: "lockkeeper", Commit: "0123 the <commit>"}, "")
}

// against is a run with a baseline, whose figures are factor times as high.
func against(began time.Time, factor float64) Report {
	o := harness.Outcome{Began: began, Took: time.Minute, Versions: []string{"PostgreSQL 15"},
		Switch: []harness.SwitchCost{{When: "start", One: 20_000, Many: 20_000 * factor}}}
	for system, pairs := range map[string]float64{"lockkeeper": 30_000 * factor, then: 20_000, "pgx": 5000} {
		o.Measurements = append(o.Measurements, harness.Measurement{Scenario: "distinct-1000", System: system, Round: 1,
			Result: harness.Result{PairsPerSecond: pairs, P50: 100 * factor, P99: 200, ServerCPU: 1, Fairness: 0.5}})
	}
	o.Measurements = append(o.Measurements, harness.Measurement{Scenario: "wake", System: "lockkeeper", Round: 1,
		Result: harness.Result{Extra: map[string]float64{"wake_p99_us": 40 * factor, "p99_to_raw": 1.4 * factor}}})
	return New(compared(), harness.Plan{Rounds: 1, Duration: time.Second}, o, "--baseline then", "abc-dirty")
}

var morning = time.Date(2026, 11, 28, 8, 0, 0, 123, time.UTC)

func TestTheRatioToTheBaselineIsBesideThatToPgx(t *testing.T) {
	r := against(morning, 1)
	if ours := r.row(t, "distinct-1000", "lockkeeper"); ours.Ratio != 6 || ours.ToBaseline != 1.5 {
		t.Errorf("got %+v", ours)
	}
	if before := r.row(t, "distinct-1000", then); before.Ratio != 4 || before.ToBaseline != 1 {
		t.Errorf("the baseline: got %+v", before)
	}
	for _, c := range r.Targets {
		if c.Text == "pairs to pgx" && (c.value.low != 6 || c.Before != "4.00") {
			t.Errorf("got %+v", c)
		}
	}
	for name, c := range map[string]struct {
		write func(w *strings.Builder) error
		want  []string
	}{
		"text": {func(w *strings.Builder) error { return r.Text(w) },
			[]string{"to pgx  to baseline", "6.00 x       1.50 x", "measured  baseline", "lockkeeper@then is the library at 0123 the <commit>",
				"start: 20,000 with 50 clients, 20,000 with one: 1.00 x"}},
		"HTML": {func(w *strings.Builder) error { return r.HTML(w) },
			[]string{"(6.00 x; 1.50 x)", "<th>baseline</th>", "and Lockkeeper's to lockkeeper@then", `class="bar before"`,
				"0123 the &lt;commit&gt;", "20,000 with 50 clients", "abc-dirty"}},
		"Markdown": {func(w *strings.Builder) error { return r.Markdown(w) },
			[]string{"| 6.00 x | 1.50 x |", "| baseline | 0123 the <commit> |", "| lockkeeper | abc-dirty |",
				"20,000 with 50 clients"}},
		"JSON": {func(w *strings.Builder) error { return r.JSON(w) },
			[]string{`"ratio_to_pgx":6,"ratio_to_baseline":1.5`, `"switch":[{"when":"start","tps_1":20000,"tps_50":20000}]`,
				`"baseline":"lockkeeper@then"`}},
	} {
		text := written(t, c.write)
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
	}
	// Without a baseline no report says a word of it.
	plain := run()
	for _, text := range []string{written(t, func(w *strings.Builder) error { return plain.Text(w) }),
		written(t, func(w *strings.Builder) error { return plain.Markdown(w) })} {
		if strings.Contains(text, "baseline") || strings.Contains(text, "A switch") {
			t.Errorf("no baseline and no switch was measured:\n%s", text)
		}
	}
}
