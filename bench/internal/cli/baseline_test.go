package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/bench/internal/baseline"
)

// needRepository skips where there is no git, or no repository around the sources. In CI a repository that cannot be read is
// an error.
func needRepository(t *testing.T) {
	t.Helper()
	source, err := baseline.FindSource()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("git"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("a baseline needs git: ", err)
	}
	if _, err := os.Stat(filepath.Join(source, ".git")); err != nil {
		t.Skip("these sources are in no git repository: ", err)
	}
	if _, err := baseline.Resolve(t.Context(), source, "HEAD"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// line is what this test reads of a line of --json.
type line struct {
	Scenario, System string
	Failed           string
	ToBaseline       float64 `json:"ratio_to_baseline"`
	Run              struct {
		Baseline string
		Cut      int
		Switch   []struct {
			When string
			One  float64 `json:"tps_1"`
			Many float64 `json:"tps_50"`
		}
	}
}

// The library at HEAD is built and measured beside that of the files, with processes of a scenario's own too.
func TestABaselineIsBuiltAndMeasured(t *testing.T) {
	needServer(t)
	needRepository(t)
	r := command(t, "--only", "lone,wake,loss", "--systems", "lockkeeper", "--rounds", "1", "--seconds", "1", "--quick", "--json",
		"--baseline", "HEAD")
	if status := r.status(t); status != ExitOK {
		t.Fatalf("status %d\n%s\n%s", status, &r.out, &r.err)
	}
	r.mustBeClean(t)
	if !strings.Contains(r.err.String(), "built within") {
		t.Errorf("no progress in\n%s", &r.err)
	}
	checkLines(t, r.out.String())
	mergeWithOneOfAnotherDay(t, r.out.String())
}

func mergeWithOneOfAnotherDay(t *testing.T, text string) {
	t.Helper()
	folder := t.TempDir()
	files := []string{filepath.Join(folder, "1.json"), filepath.Join(folder, "2.json")}
	const began = `"began":"2`
	for file, text := range map[string]string{files[0]: text, files[1]: strings.ReplaceAll(text, began, `"began":"1`)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	markdown := filepath.Join(folder, "page.md")
	r := command(t, append([]string{"merge", "--markdown", markdown}, files...)...)
	status := r.status(t)
	page, err := os.ReadFile(markdown)
	if status != ExitOK || err != nil || !strings.Contains(string(page), "| lockkeeper@HEAD |") {
		t.Errorf("status %d, %v\n%s\n%s", status, err, &r.err, page)
	}
	if r := command(t, "merge", files[0], files[0]); r.status(t) != ExitFailed || !strings.Contains(r.err.String(), "given twice") {
		t.Errorf("one run twice: %s", &r.err)
	}
}

func checkLines(t *testing.T, text string) {
	t.Helper()
	var seen []string
	cut := 0 // on a slow machine the time of a quick run is over before the last measurements, and the run says so
	for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
		var l line
		if err := decoder.Decode(&l); err != nil {
			t.Fatal(err)
		}
		seen, cut = append(seen, l.Scenario+" "+l.System), max(cut, l.Run.Cut)
		alone := l.Run.Cut > 0 && l.System == "lockkeeper" && !decoder.More() // its baseline was to be next
		if l.Failed != "" || l.ToBaseline <= 0 && !alone || l.Run.Baseline != "lockkeeper@HEAD" {
			t.Errorf("got %+v", l)
		}
		if l.System == "lockkeeper@HEAD" && l.ToBaseline != 1 {
			t.Errorf("the baseline's ratio to itself is %v", l.ToBaseline)
		}
		if s := l.Run.Switch; len(s) == 1 && (s[0].One <= 0 || s[0].Many <= 0) || len(s) > 1 {
			t.Errorf("the cost of a switch in a quick run: %+v", s)
		}
	}
	want := "lone lockkeeper, lone lockkeeper@HEAD, wake lockkeeper, wake lockkeeper@HEAD, loss lockkeeper, loss lockkeeper@HEAD"
	if got := strings.Join(seen, ", "); got != want && (cut == 0 || !strings.HasPrefix(want, got+", ")) {
		t.Errorf("measured %s; want %s", got, want)
	}
}

func TestARevisionThatIsNotThereIsSaid(t *testing.T) {
	needRepository(t)
	r := command(t, "--baseline", "no-such-revision", "--systems", "lockkeeper")
	if status := r.status(t); status != ExitUsage || !strings.Contains(r.err.String(), `--baseline: unknown revision "no-such-revision"`) {
		t.Errorf("status %d\n%s", status, &r.err)
	}
	r.mustBeClean(t)
}

func TestMergeSaysWhichFileIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "old.json")
	if err := os.WriteFile(file, []byte(`{"scenario":"lone","system":"pgx"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{file + ": object 1": {"merge", file}, "nowhere.json": {"merge", "nowhere.json"}} {
		if r := command(t, args...); r.status(t) != ExitFailed || !strings.Contains(r.err.String(), want) {
			t.Errorf("%v: no %q in %s", args, want, &r.err)
		}
	}
}
