package lockprom_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The folder of the documentation is another module's. By a link in this one, the go command sees that it has changed and runs the tests again.
const (
	dashboards = "testdata/docs/dashboards"
	page       = "testdata/docs/telemetry.md"
)

// A query is an expression of PromQL, and where it stands.
type query struct{ where, text string }

// onDashboard are the queries of the dashboard, and the labels that its legends use.
func onDashboard(t *testing.T) (queries []query, legends []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dashboards, "lockkeeper.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	var walk func(v any, title string)
	walk = func(v any, title string) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e, title)
			}
		case map[string]any:
			for _, key := range []string{"name", "title"} {
				if text, is := v[key].(string); is {
					title = text
				}
			}
			if expr, is := v["expr"].(string); is {
				queries = append(queries, query{"the dashboard's " + title, expr})
			}
			if legend, is := v["legendFormat"].(string); is {
				legends = append(legends, legend)
			}
			for _, e := range v {
				walk(e, title)
			}
		}
	}
	walk(all, "")
	return queries, legends
}

var (
	alertLine   = regexp.MustCompile(`^ +- alert: (\w+)$`)
	exprLine    = regexp.MustCompile(`^ +expr: (.+)$`)
	runbookLine = regexp.MustCompile(`^ +runbook: docs/telemetry.md#(\w+)$`)
)

// inAlerts are the rules' expressions. Each rule has one, on one line, and a heading of the page that tells more.
func inAlerts(t *testing.T) (queries []query) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dashboards, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text, alert, runbooks := pageText(t), "", 0
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\n")
		if m := alertLine.FindStringSubmatch(line); m != nil {
			alert = m[1]
			if !strings.Contains(text, "\n### "+alert+"\n") {
				t.Errorf("docs/telemetry.md has no heading %s", alert)
			}
		}
		if m := exprLine.FindStringSubmatch(line); m != nil {
			queries = append(queries, query{alert, m[1]})
		}
		if m := runbookLine.FindStringSubmatch(line); m != nil {
			runbooks++
			if m[1] != strings.ToLower(alert) {
				t.Errorf("the runbook of %s is %s", alert, m[1])
			}
		}
	}
	if alerts := strings.Count(string(raw), "- alert:"); alerts < 5 || len(queries) != alerts || runbooks != alerts {
		t.Errorf("%d alerts, %d expressions, %d runbooks", alerts, len(queries), runbooks)
	}
	return queries
}

func pageText(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// scraped are the labels of each name that a scrape gives: a histogram has three.
func scraped(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	inBubble(t, nil, []string{"scheduler"}, func(r *rig) {
		families, err := r.registry.Gather()
		if err != nil {
			r.Fatal(err)
		}
		for _, f := range families {
			labels := []string{"job", "instance"} // of the scrape
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			if f.GetType().String() == "HISTOGRAM" {
				found[f.GetName()+"_sum"], found[f.GetName()+"_count"] = labels, labels
				found[f.GetName()+"_bucket"] = append(slices.Clone(labels), "le")
				continue
			}
			found[f.GetName()] = labels
		}
	})
	return found
}

var (
	selector = regexp.MustCompile(`([a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+) *(?:=~|!~|!=|=) *"`)
	grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)
	legend   = regexp.MustCompile(`\{\{ *(\w+) *\}\}`)
	ours     = regexp.MustCompile(`lockkeeper_[a-z_]+`)
)

// The dashboard and the alerts use metrics and labels that there are, and the dashboard uses each.
func TestQueriesUseWhatThereIs(t *testing.T) {
	known := scraped(t)
	var labels []string
	for _, of := range known {
		labels = append(labels, of...)
	}
	used := map[string]bool{}
	queries, legends := onDashboard(t)
	for _, q := range append(queries, inAlerts(t)...) {
		names := 0
		for _, m := range selector.FindAllStringSubmatch(q.text, -1) {
			of, is := known[m[1]]
			if strings.HasPrefix(m[1], "lockkeeper_") {
				names++
				used[m[1]] = true
				if !is {
					t.Errorf("%s: there is no %s", q.where, m[1])
					continue
				}
			} else if m[2] != "" {
				t.Errorf("%s: %s is not ours", q.where, m[1])
			}
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(of, l[1]) {
					t.Errorf("%s: %s has no label %s", q.where, m[1], l[1])
				}
			}
		}
		if names == 0 {
			t.Errorf("%s has no metric of ours: %s", q.where, q.text)
		}
		for _, m := range grouping.FindAllStringSubmatch(q.text, -1) {
			for l := range strings.SplitSeq(m[1], ",") {
				if !slices.Contains(labels, strings.TrimSpace(l)) {
					t.Errorf("%s: no metric has the label %s", q.where, l)
				}
			}
		}
	}
	for _, text := range legends {
		for _, m := range legend.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("the legend %q: no metric has the label %s", text, m[1])
			}
		}
	}
	for name := range known {
		if !used[name] {
			t.Errorf("neither the dashboard nor an alert shows %s", name)
		}
	}
}

// The page has each metric, and no others.
func TestThePageHasEachMetric(t *testing.T) {
	text, known := pageText(t), scraped(t)
	histogram := func(name string) string { return strings.TrimSuffix(name, "_bucket") }
	for name := range known {
		if strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count") {
			continue
		}
		if !strings.Contains(text, "`"+histogram(name)+"`") {
			t.Errorf("docs/telemetry.md does not have %s", histogram(name))
		}
	}
	for _, name := range ours.FindAllString(text, -1) {
		if known[name] == nil && known[name+"_bucket"] == nil {
			t.Errorf("docs/telemetry.md has %s, which there is not", name)
		}
	}
}

// promtool is Prometheus' own; scripts/ensure-promtool brings it.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		path, err = filepath.Abs("../.bin/promtool")
		if err == nil {
			_, err = os.Stat(path)
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no promtool: scripts/ensure-promtool")
		}
		t.Skip("no promtool: scripts/ensure-promtool")
	}
	cmd := exec.CommandContext(t.Context(), path, args...) //nolint:gosec // found above
	cmd.Dir = dashboards
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Prometheus takes the rules, and in the cases of alerts_test.yml they fire when they should and not otherwise.
func TestAlertsFire(t *testing.T) {
	promtool(t, "check", "rules", "--lint-fatal", "alerts.yml")
	promtool(t, "test", "rules", "alerts_test.yml")
}

// Prometheus takes the dashboard's queries: as rules, with Grafana's variables filled in.
func TestTheDashboardsQueriesParse(t *testing.T) {
	queries, _ := onDashboard(t)
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", ".*", "$instance", ".*")
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, q := range queries {
		text, err := json.Marshal(variables.Replace(q.text))
		if err != nil {
			t.Fatal(err)
		}
		rules += fmt.Sprintf("  - { record: query_%d, expr: %s }\n", i, text)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
