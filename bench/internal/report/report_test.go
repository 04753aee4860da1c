package report

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

func catalogue(systems ...string) harness.Catalogue {
	c := harness.Catalogue{Scenarios: []harness.Scenario{
		{Name: "distinct-1000", Text: "a thousand"},
		{Name: "wake", Text: "until it wakes", Headline: "wake_p99_us", Unit: "us"},
		{Name: "never-run", Text: "not in this run"},
	}}
	for _, name := range systems {
		c.Systems = append(c.Systems, harness.System{Name: name})
	}
	return c
}

// run is three rounds: ours, the baseline, one that fails, one that has no answer, and one on another server.
func run() Report {
	var all []harness.Measurement
	add := func(sc, system string, results ...harness.Result) {
		for i, r := range results {
			all = append(all, harness.Measurement{Scenario: sc, System: system, Round: i + 1, Result: r})
		}
	}
	pairs := func(v, server float64) harness.Result {
		return harness.Result{PairsPerSecond: v, P50: 1500, P99: 2.5e6, ClientCPU: 3, ServerCPU: server, Connections: 4,
			RSSBytes: 20 << 20, Fairness: 0.9, MinShare: 0}
	}
	add("distinct-1000", "lockkeeper", pairs(300_000, 2), pairs(100, 2), pairs(320_000, 2))
	add("distinct-1000", "pgx", pairs(50_000, 20), pairs(55_000, 20), pairs(40_000, 20))
	add("distinct-1000", "broken|one", pairs(900_000, 1), harness.Result{Failed: "it <broke>"})
	add("distinct-1000", "limit-pgbench", harness.Result{NotApplicable: "not applicable: so it is"})
	add("distinct-1000", "etcd", pairs(3000, 9))
	for _, system := range []string{"lockkeeper", "pgx"} {
		add("wake", system, harness.Result{Extra: map[string]float64{"wake_p99_us": float64(len(system)), "p99_to_raw": 1.4}})
	}
	o := harness.Outcome{Measurements: all, Versions: []string{"PostgreSQL 15"}, Took: time.Minute, Cut: 7}
	return New(catalogue("lockkeeper", "pgx", "broken|one", "limit-pgbench", "etcd"), harness.Plan{Rounds: 3, Duration: time.Second}, o,
		"--rounds 3", "")
}

func (r Report) row(t *testing.T, scenario, system string) Row {
	t.Helper()
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Scenario == scenario && row.System == system })
	if i < 0 {
		t.Fatalf("no row of %s in %s", system, scenario)
	}
	return r.Rows[i]
}

func TestARunOnABusyMachineSaysSo(t *testing.T) {
	for part, want := range map[float64]string{0.01: "", 0.42: "used 42 %"} {
		o := harness.Outcome{Measurements: []harness.Measurement{
			{Scenario: "distinct-1000", System: "pgx", Others: part, Result: harness.Result{PairsPerSecond: 5}}}}
		r := New(catalogue("pgx"), harness.Plan{}, o, "", "")
		for _, write := range []func(w *strings.Builder) error{
			func(w *strings.Builder) error { return r.Text(w) },
			func(w *strings.Builder) error { return r.HTML(w) },
			func(w *strings.Builder) error { return r.Markdown(w) },
		} {
			if text := written(t, write); strings.Contains(text, "figures mean little") != (want != "") || !strings.Contains(text, want) {
				t.Errorf("others used %v:\n%s", part, text)
			}
		}
	}
}

func TestMediansAndRatiosToTheBaseline(t *testing.T) {
	r := run()
	ours := r.row(t, "distinct-1000", "lockkeeper")
	if ours.headline().Median != 300_000 || ours.headline().Min != 100 || ours.headline().Max != 320_000 || ours.Ratio != 6 || ours.Rounds != 3 {
		t.Errorf("got %+v", ours)
	}
	if pgx := r.row(t, "distinct-1000", "pgx"); pgx.Ratio != 1 {
		t.Errorf("the baseline's ratio is %v", pgx.Ratio)
	}
	if woken := r.row(t, "wake", "lockkeeper"); woken.headline().Median != 10 || woken.Ratio != 10.0/3 {
		t.Errorf("a headline: got %+v", woken)
	}
	broken := r.row(t, "distinct-1000", "broken|one")
	if broken.Failed != "it <broke>" || broken.Ratio != 0 || broken.headline().Median != 0 {
		t.Errorf("a failure in one round: got %+v", broken)
	}
}

func TestTargetsFindTheirFigures(t *testing.T) {
	got := map[string]string{}
	values := map[string]float64{}
	for _, c := range run().Targets {
		got[c.Scenario+": "+c.Text] = c.Verdict
		values[c.Text] = c.value.low
	}
	want := map[string]string{
		"distinct-1000: pairs to pgx":                          "missed", // 6, of 7 and 10
		"distinct-1000: pairs to the fastest on Redis or etcd": "aim",    // 100
		"distinct-1000: server's CPU a pair to pgx's":          "aim",    // 0.1
		"wake: p99 to that of a raw waiting session":           "floor",  // 1.4
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if v := values["pairs to the fastest on Redis or etcd"]; v != 100 {
		t.Errorf("to the fastest on etcd: %v, want 100", v)
	}
	if v := values["server's CPU a pair to pgx's"]; math.Abs(v-0.1) > 1e-12 {
		t.Errorf("server's CPU: %v, want 0.1", v)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		value, floor, aim float64
		less              bool
		want              string
	}{
		{1, 1, 2, false, "floor"}, {0.99, 1, 2, false, "missed"}, {2, 1, 2, false, "aim"}, {3, 3, 3, false, "aim"},
		{1, 1, 0.5, true, "floor"}, {1.01, 1, 0.5, true, "missed"}, {0.5, 1, 0.5, true, "aim"}, {0, 1, 0.5, true, "aim"},
	} {
		if got := (goal{floor: c.floor, aim: c.aim, less: c.less}).verdict(c.value); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestEveryTargetHasAFloorThatIsNotBeyondItsAim(t *testing.T) {
	for _, g := range goals {
		if g.less == (g.floor < g.aim) && g.floor != g.aim {
			t.Errorf("%s, %s: floor %v, aim %v", g.Scenario, g.Text, g.floor, g.aim)
		}
	}
}

func written(t *testing.T, write func(w *strings.Builder) error) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestJSONHasOneObjectALineWithTheKeysOfTheContract(t *testing.T) {
	text := written(t, func(w *strings.Builder) error { return run().JSON(w) })
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines, want 7:\n%s", len(lines), text)
	}
	for i, line := range lines {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"scenario", "system", "pairs_per_second", "p50_us", "p99_us", "cpu_s_per_million",
			"connections", "rss_bytes", "ratio_to_pgx"} {
			if _, there := object[key]; !there {
				t.Errorf("line %d has no %s: %s", i+1, key, line)
			}
		}
		switch {
		case i == 0 && (object["pairs_per_second"] != 300_000.0 || object["ratio_to_pgx"] != 6.0 || object["cpu_s_per_million"] != 5.0):
			t.Errorf("ours: %s", line)
		case i == 2 && (object["failed"] != "it <broke>" || object["pairs_per_second"] != nil):
			t.Errorf("what failed has to say so, and no figure: %s", line)
		case i == 3 && object["not_applicable"] != "so it is":
			t.Errorf("what makes no sense has to say so: %s", line)
		}
	}
}

func TestTextShowsFiguresFailuresAndTargets(t *testing.T) {
	text := written(t, func(w *strings.Builder) error { return run().Text(w) })
	for _, want := range []string{"300,000", "6.00 x", "1.50 ms", "2.50 s", "20 MiB", "broken|one FAILED: it <broke>",
		"limit-pgbench: not applicable: so it is", "10.0 us", "p99_to_raw 1.40", "7 measurements were left out",
		"distinct-1000: pairs to pgx"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "never-run") {
		t.Errorf("a scenario that did not run is in\n%s", text)
	}
}

func TestHTMLIsOnePageThatNeedsNoOther(t *testing.T) {
	text := written(t, func(w *strings.Builder) error { return run().HTML(w) })
	for _, want := range []string{"it &lt;broke&gt;", "<svg", "300,000", "BENCH_ARGS='--rounds 3'",
		"2 at their aim, 1 above their floor, 1 missed"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "src=", "NaN", "Inf", "ZgotmplZ", "<broke>"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q is in\n%s", bad, text)
		}
	}
}

func TestMarkdownIsATableADocumentCanHold(t *testing.T) {
	text := written(t, func(w *strings.Builder) error { return run().Markdown(w) })
	for _, want := range []string{"    make bench BENCH_ARGS='--rounds 3'\n", "| lockkeeper | 300,000 | 100 | 320,000 | 6.00 x |",
		`- broken\|one FAILED: it <broke>`, "## wake\n\nUntil it wakes.", "PostgreSQL 15"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var bars int
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			bars = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
		if bars != 0 && n != bars {
			t.Errorf("a line of a table has %d bars, the one before %d: %s", n, bars, line)
		}
		bars = n
	}
}

func TestNumbersForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": thousands(1_234_567.4), "999": thousands(999), "-1,000": thousands(-1000), "0": thousands(0),
		"-": short(0), "0.0012": short(0.00123), "0.12": short(0.123), "4.56": short(4.56), "78.9": short(78.91), "12,345": short(12345),
		"12.3 us": duration(12.3), "1.50 ms": duration(1500), "2.00 s": duration(2e6),
		"512 B": size(512), "20 KiB": size(20 << 10), "20 MiB": size(20 << 20), "1.50 x": ratio(1.5),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
