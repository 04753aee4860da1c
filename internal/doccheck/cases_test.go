package doccheck

import (
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A13. README quotes the lower end of each range that docs/benchmarks.md has, for the pairs to pgx.
func TestA13ReadmeQuotesTheLowerEnd(t *testing.T) {
	_, speed, _ := strings.Cut(read(t, "README.md"), "\n## Speed\n")
	speed, _, _ = strings.Cut(speed, "\n## ")
	quoted := strings.Join(strings.Fields(speed), " ")
	for scenario, phrase := range map[string]string{
		"lone":              `([\d.]+) times as many with one goroutine`,
		"distinct-100":      `([\d.]+) with 100 keys`,
		"distinct-1000":     `([\d.]+) with 1,000 keys`,
		"distinct-1000-rtt": `([\d.]+) where the server is 0\.5 ms away`,
		"one-key-100":       `([\d.]+) with 100 goroutines on one key`,
	} {
		found := regexp.MustCompile(phrase).FindStringSubmatch(quoted)
		row := regexp.MustCompile(`(?m)^\| ` + scenario + `: pairs to pgx \| ([\d.]+) to [\d.]+ \|`).FindStringSubmatch(read(t, "docs/benchmarks.md"))
		if found == nil || row == nil {
			t.Errorf("%s: README has %q, docs/benchmarks.md %q", scenario, found, row)
			continue
		}
		said, err := strconv.ParseFloat(found[1], 64)
		lowest, err2 := strconv.ParseFloat(row[1], 64)
		if err != nil || err2 != nil || said > lowest {
			t.Errorf("%s: README says %v, the lowest of the runs is %v", scenario, found[1], row[1])
		}
	}
}

// A14. The library asks for a release of Go that is older than the last one.
func TestA14TheLibraryAsksForAnOlderGo(t *testing.T) {
	minor := func(version *regexp.Regexp, in string) int {
		found := version.FindStringSubmatch(in)
		if found == nil {
			t.Fatalf("no version of Go in %q", in)
		}
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	asks, has := minor(regexp.MustCompile(`(?m)^go 1\.(\d+)`), read(t, "go.mod")), minor(regexp.MustCompile(`go1\.(\d+)`), runtime.Version())
	if asks >= has {
		t.Errorf("go.mod asks for Go 1.%d, and this is Go 1.%d", asks, has)
	}
}
