package doccheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var causeLine = regexp.MustCompile(`(?m)^\t(Cause\w+) +Cause = "(.+)"`)

// reasonLine is a value of error.type.
var reasonLine = regexp.MustCompile(`(?m)^\t\{[\w.]+, "(\w+)"\},`)

// causesList is the one list of causes.
var causesList = regexp.MustCompile(`var causes = \[...\]Cause\{.*\}`)

// read is the text of a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each cause of a loss has a value from the beginning in the metrics, so that its first loss is an increase, and is on the page.
func TestCausesAreInTelemetry(t *testing.T) {
	reasons := reasonLine.FindAllStringSubmatch(read(t, "otel/reason.go"), -1)
	if len(reasons) < 20 {
		t.Errorf("only %q are found", reasons)
	}
	for _, m := range reasons {
		if !strings.Contains(read(t, "docs/telemetry.md"), "`"+m[1]+"`") {
			t.Errorf("docs/telemetry.md does not have error.type %s", m[1])
		}
	}
	all := causeLine.FindAllStringSubmatch(read(t, "pg/errors.go"), -1)
	if len(all) < 5 {
		t.Errorf("only %q are found", all)
	}
	listed := causesList.FindString(read(t, "pg/stats.go"))
	for _, m := range all {
		if !regexp.MustCompile(m[1] + `[,}]`).MatchString(listed) {
			t.Errorf("pg.Causes, of which otel and prom make their metrics, does not have %s", m[1])
		}
		if label := strings.ReplaceAll(m[2], " ", "_"); !strings.Contains(read(t, "docs/telemetry.md"), "`"+label+"`") {
			t.Errorf("docs/telemetry.md does not have %s", label)
		}
	}
}
