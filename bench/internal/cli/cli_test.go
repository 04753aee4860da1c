package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// envProgram makes the test binary be the program, so that the tests see real processes, signals and exit statuses.
const envProgram = "LOCKKEEPER_BENCH_TEST_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		os.Exit(program(os.Stdout, os.Stderr).Execute(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func program(out, err *os.File) Program {
	return Program{Out: out, Err: err, Package: "github.com/lockkeeper/lockkeeper/bench/internal/cli/testdata/program"}
}

// run is the program with arguments and a folder of its own for temporary files.
type run struct {
	cmd      *exec.Cmd
	temp     string
	out, err bytes.Buffer
}

func command(t *testing.T, args ...string) *run {
	t.Helper()
	temp := pgtest.Folder(t)
	r := &run{cmd: exec.CommandContext(t.Context(), os.Args[0], args...), temp: temp}
	r.cmd.Env = append(os.Environ(), envProgram+"=1", "TMPDIR="+temp, "GORACE=atexit_sleep_ms=0")
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.err
	r.cmd.WaitDelay = 10 * time.Second
	return r
}

func (r *run) status(t *testing.T) int {
	t.Helper()
	var exit *exec.ExitError
	if err := r.cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode()
}

func needServer(t *testing.T) {
	t.Helper()
	if _, err := pgserver.FindBinaries(); errors.Is(err, pgserver.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip("this test needs a PostgreSQL server: ", err)
	}
}

func (r *run) mustBeClean(t *testing.T) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(r.temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environs {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte("TMPDIR="+r.temp+"\x00")) {
			t.Errorf("process %s is left", file)
		}
	}
}

func TestASmallRunFromEndToEnd(t *testing.T) {
	needServer(t)
	pages := t.TempDir()
	html, markdown := filepath.Join(pages, "bench.html"), filepath.Join(pages, "bench.md")
	r := command(t, "--only", "lone,lone-rtt", "--systems", "lockkeeper,pgx", "--rounds", "1", "--seconds", "1", "--json",
		"--html", html, "--markdown", markdown)
	if status := r.status(t); status != ExitOK {
		t.Fatalf("status %d\n%s\n%s", status, &r.out, &r.err)
	}
	r.mustBeClean(t)
	var seen []string
	decoder := json.NewDecoder(&r.out)
	for decoder.More() {
		var line struct {
			Scenario, System string
			Pairs            float64 `json:"pairs_per_second"`
			P50              float64 `json:"p50_us"`
			P99              float64 `json:"p99_us"`
			Connections      float64 `json:"connections"`
			RSS              float64 `json:"rss_bytes"`
			Ratio            float64 `json:"ratio_to_pgx"`
		}
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, line.Scenario+" "+line.System)
		if line.Pairs <= 0 || line.P50 <= 0 || line.P99 < line.P50 || line.RSS < 1<<20 || line.Ratio <= 0 {
			t.Errorf("got %+v", line)
		}
		if line.System == "pgx" && (line.Ratio != 1 || line.Connections != 1) {
			t.Errorf("pgx has a connection for its one lock, and is the baseline: got %+v", line)
		}
		// The wire is there in both directions: no acquisition is faster than a round trip over it.
		if line.Scenario == "lone-rtt" && line.P50 < 500 {
			t.Errorf("half of the acquisitions took less than the round trip: %+v", line)
		}
	}
	if got, want := strings.Join(seen, ", "), "lone lockkeeper, lone pgx, lone-rtt lockkeeper, lone-rtt pgx"; got != want {
		t.Errorf("measured %s; want %s", got, want)
	}
	for file, want := range map[string]string{html: "<svg", markdown: "--rounds 1"} {
		if text, err := os.ReadFile(file); err != nil || !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s: no %q in %d bytes, %v", file, want, len(text), err)
		}
	}
}

// watch ends the program when it has written a line that contains something.
type watch struct {
	text bytes.Buffer
	want string
	then func()
}

func (w *watch) Write(b []byte) (int, error) {
	w.text.Write(b)
	if w.then != nil && strings.Contains(w.text.String(), w.want) {
		w.then()
		w.then = nil
	}
	return len(b), nil
}

func TestCtrlCLeavesNothing(t *testing.T) {
	needServer(t)
	r := command(t, "--only", "lone,distinct-100", "--systems", "lockkeeper,pgx", "--rounds", "1000", "--seconds", "0.05")
	w := &watch{want: "distinct-100 lockkeeper, round 1"}
	w.then = func() {
		if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
	}
	r.cmd.Stderr = w
	if status := r.status(t); status != ExitInterrupted || !strings.Contains(w.text.String(), "nothing was left behind") {
		t.Errorf("status %d\n%s", status, &w.text)
	}
	// What was measured until then is shown.
	if !strings.Contains(r.out.String(), "lone: 1 goroutine") {
		t.Errorf("no tables in\n%s", &r.out)
	}
	r.mustBeClean(t)
}

func TestMistakesAreSaidBeforeAnythingStarts(t *testing.T) {
	for want, args := range map[string][]string{
		`there is no scenario "lonely"; there are: lone,`: {"--only", "lone,lonely"},
		`there is no system "valkey"; there are:`:         {"--systems", "valkey"},
		"--rounds is 0":              {"--rounds", "0"},
		"--seconds is NaN":           {"--seconds", "NaN"},
		"--seconds is 0.01":          {"--seconds", "0.01"},
		"unknown flag: --fast":       {"--fast"},
		`"lone" was given`:           {"lone"},
		"which --systems leaves out": {"--baseline", "HEAD", "--systems", "pgx"},
		`unknown revision "-x"`:      {"--baseline=-x"},
		`unknown revision ""`:        {"--baseline", ""},
		"merge needs the files":      {"merge"},
	} {
		r := command(t, args...)
		if status := r.status(t); status != ExitUsage || !strings.Contains(r.err.String(), want) {
			t.Errorf("%v: status %d, no %q in\n%s", args, status, want, &r.err)
		}
		r.mustBeClean(t)
	}
}

func TestHelpAndListNeedNoServer(t *testing.T) {
	for want, args := range map[string][]string{
		"--quick": {"--help"}, "bench --baseline HEAD~1": {"--help"}, "its lower end first": {"merge", "--help"}, "distinct-1000-rtt": {"--list"}, "on PostgreSQL": {"--list"},
	} {
		r := command(t, args...)
		r.cmd.Env = append(r.cmd.Env, pgserver.EnvBin+"=/nowhere")
		if status := r.status(t); status != ExitOK || !strings.Contains(r.out.String(), want) {
			t.Errorf("%v: status %d, no %q in\n%s%s", args, status, want, &r.out, &r.err)
		}
	}
}

// A folder that holds no server is what a machine without one looks like.
func TestWithoutAServerItsSystemsFailWithTheReason(t *testing.T) {
	r := command(t, "--only", "lone", "--systems", "pgx", "--rounds", "1", "--json")
	r.cmd.Env = append(r.cmd.Env, pgserver.EnvBin+"=/nowhere")
	if status := r.status(t); status != ExitFailed || !strings.Contains(r.out.String(), `"failed":"starting a throwaway PostgreSQL`) {
		t.Errorf("status %d\n%s%s", status, &r.out, &r.err)
	}
}
