package doccheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var causeLine = regexp.MustCompile(`(?m)^\t(Cause\w+) +Cause = "(.+)"`)

// Each cause of a loss has a value from the beginning in the metrics, so that its first loss is an increase, and is on the page.
func TestCausesAreInTelemetry(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	all := causeLine.FindAllStringSubmatch(read("pg/errors.go"), -1)
	if len(all) < 5 {
		t.Errorf("only %q are found", all)
	}
	for _, m := range all {
		for _, name := range []string{"otel/watch.go", "prom/collector.go"} {
			if !strings.Contains(read(name), "pg."+m[1]+",") {
				t.Errorf("%s does not have pg.%s", name, m[1])
			}
		}
		if label := strings.ReplaceAll(m[2], " ", "_"); !strings.Contains(read("docs/telemetry.md"), "`"+label+"`") {
			t.Errorf("docs/telemetry.md does not have %s", label)
		}
	}
}
