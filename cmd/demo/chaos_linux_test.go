package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/summary"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// shortChaos is a run with times that a busy machine keeps, and at a pace that leaves something of it to other tests.
func shortChaos(faults, duration string, more ...string) []string {
	return append([]string{"chaos", "--processes", "3", "--workers", "4", "--keys", "6", "--seed", "1", "--interval", "700ms",
		"--timeout", "800ms", "--calm", "100ms", "--hold", "20ms", "--faults", faults, "--duration", duration}, more...)
}

func decodeChaos(t *testing.T, p *program) summary.Report {
	t.Helper()
	var r summary.Report
	if err := json.Unmarshal([]byte(p.stdout.String()), &r); err != nil {
		t.Fatalf("standard output is not one object (%v):\n%s\n%s", err, p.stdout, p.stderr)
	}
	return r
}

// interfaces are those of a run's namespaces that are left on this side.
func (p *program) interfaces() []string {
	p.t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		p.t.Fatal(err)
	}
	var ours []string
	for _, i := range all {
		if strings.HasPrefix(i.Name, fmt.Sprintf("lk%d-", p.cmd.Process.Pid%1_000_000)) {
			ours = append(ours, i.Name)
		}
	}
	return ours
}

func TestChaosHolds(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "report.html")
	faults := "terminate,kill-backend,promote,kill-worker,partition-from-server,cancel-storm,outsider,keeper-panic"
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("the faults of the network need root")
		}
		t.Log("without root the faults of the network are left out")
	}
	p := start(t, shortChaos(faults, "16s", "--json", "--html", page)...)
	status := p.wait()
	r := decodeChaos(t, p)
	// Losses that no fault explains come of a machine that is too busy to answer within the health timeout: they are told,
	// and are no reason to fail here.
	if good := r.Good(); good != (status == 0) || !good && len(r.FalseLosses)+len(r.LateLosses) == 0 {
		t.Errorf("exit status %d\n%s\n%s", status, p.stdout, p.stderr)
	}
	if r.Violations != 0 || len(r.Problems) != 0 || r.Leaks() != 0 {
		t.Errorf("%d violations, problems %q, leaked %+v\n%s", r.Violations, r.Problems, r.Leaked, p.stdout)
	}
	if r.Grants == 0 || r.Checked != r.Grants || r.Windows == 0 || r.Losses == 0 || r.Operations.Write["ok"] == 0 {
		t.Errorf("%d grants, %d checked in %d windows, %d losses, %+v", r.Grants, r.Checked, r.Windows, r.Losses, r.Operations)
	}
	for _, about := range plan.Uses {
		if r.Operations.Grants[string(about.Use)] == 0 {
			t.Errorf("no %s lock was granted: %+v", about.Use, r.Operations.Grants)
		}
	}
	made := 0
	for _, f := range r.Faults {
		if made += f.Done; f.Planned != f.Done || f.Failed > 0 {
			t.Errorf("%s: %d planned, %d made, %d failed", f.Kind, f.Planned, f.Done, f.Failed)
		}
	}
	if made < 5 {
		t.Errorf("%d faults", made)
	}
	if (os.Geteuid() == 0) != (r.Without == "") {
		t.Errorf("left out: %q", r.Without)
	}
	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(html), "<!doctype html>", "Grants of each key over the faults", "pg_terminate_backend", "</svg>", "</html>", "--seed 1")
	if strings.Contains(string(html), "http") {
		t.Error("the page asks for something else")
	}
	p.mustBeClean(0)
	if left := p.interfaces(); len(left) > 0 {
		t.Errorf("interfaces are left: %v", left)
	}
}

// A check that cannot fail checks nothing. On a busy machine the processes hold so seldom that a short run may see no overlap.
func TestChaosFindsALiar(t *testing.T) {
	t.Parallel()
	var said string
	for _, duration := range []string{"4s", "10s", "30s"} {
		p := start(t, shortChaos("none", duration, "--lie", "--keys", "1", "--workers", "8", "--json")...) // so that most are in the way of others
		status := p.wait()
		r := decodeChaos(t, p)
		p.mustBeClean(0)
		kinds := map[string]bool{}
		for _, v := range r.Found {
			kinds[v.Kind] = true
		}
		if status != 0 && status != 1 || r.Leaks() != 0 {
			t.Errorf("exit status %d, %d leaks\n%s\n%s", status, r.Leaks(), p.stdout, p.stderr)
		}
		if status == 1 && kinds["overlap"] && kinds["not a lock"] && kinds["freed too early"] {
			return
		}
		said = fmt.Sprintf("exit status %d, %v\n%s\n%s", status, kinds, p.stdout, p.stderr)
	}
	t.Error(said)
}

func TestInterruptedChaosRemovesEverything(t *testing.T) {
	t.Parallel()
	p := start(t, shortChaos("freeze-worker", "10m", "--interval", "20s", "--timeout", "20s")...)
	p.until(p.stdout, "now|fault 1 of")
	p.signal(syscall.SIGINT)
	if status := p.wait(); status != 130 {
		t.Errorf("exit status %d, want 130\n%s\n%s", status, p.stdout, p.stderr)
	}
	contains(t, p.stdout.String(), "Interrupted", "HELD", "NOTHING LEFT BEHIND")
	p.mustBeClean(0)
	if left := p.interfaces(); len(left) > 0 {
		t.Errorf("interfaces are left: %v", left)
	}
}

// Killed in the middle of a fault, with a process and a server stopped, it leaves nothing for long.
func TestAKilledChaosLeavesNothingForLong(t *testing.T) {
	t.Parallel()
	faults := []string{"freeze-server"}
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		faults = append(faults, "freeze-worker")
	}
	for _, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p := start(t, shortChaos(fault, "10m", "--interval", "20s", "--timeout", "20s")...)
			p.until(p.stdout, fault+" *.*losses")
			p.signal(syscall.SIGKILL)
			p.wait()
			eventually(t, func() bool { return p.clean(0) && len(p.interfaces()) == 0 })
		})
	}
}

// The same behind a PgBouncer in transaction mode before each server.
func TestChaosBehindAPooler(t *testing.T) {
	t.Parallel()
	if _, err := pgserver.FindPgBouncer(); err != nil && os.Getenv("CI") != "true" {
		t.Skip("this test needs PgBouncer: ", err)
	}
	// Long holds: nearly all keys are held at any time, so that a fault meets holders.
	p := start(t, shortChaos("terminate,promote,kill-worker,freeze-worker", "12s", "--json", "--pooler", "transaction", "--hold", "200ms")...)
	status := p.wait()
	r := decodeChaos(t, p)
	if good := r.Good(); good != (status == 0) || !good && len(r.FalseLosses)+len(r.LateLosses) == 0 { // as in TestChaosHolds
		t.Errorf("exit status %d\n%s\n%s", status, p.stdout, p.stderr)
	}
	if r.Violations != 0 || len(r.Problems) != 0 || r.Leaks() != 0 || r.Losses == 0 || r.Pooler != "transaction" {
		t.Errorf("%+v", r)
	}
	eventually(t, func() bool { return p.clean(0) })
}

func TestChaosUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--processes 0":   "--processes is 0: it must be between 1 and 100",
		"--workers -1":    "--workers is -1",
		"--keys 0":        "--keys is 0",
		"--duration 0s":   "--duration is 0s: it must be between 1s and 720h0m0s",
		"--hold 0s":       "--hold is 0s",
		"--calm -1s":      "--calm is -1s",
		"--interval 1ms":  "--interval is 1ms",
		"--timeout 2h":    "--timeout is 2h0m0s",
		"--faults promot": `--faults: "promot" is none of the faults; see the list in 'demo chaos --help'`,
		"--faults=":       "is none of the faults",
		"--wait hint":     `--wait is "hint": it must be one of hints, queue, mixed`,
		"--kinds reads":   `--kinds: "reads" is none of the kinds of locks; see the list in 'demo chaos --help'`,
		"--kinds none":    "leaves none of the kinds of locks",
		"--pooler any":    `--pooler is "any"`,
		"--seed -1":       "invalid argument",
		"--html=":         "--html is empty",
		"more":            "takes no arguments",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			p := start(t, append([]string{"chaos"}, strings.Fields(args)...)...)
			if status := p.wait(); status != 2 || p.stdout.String() != "" {
				t.Errorf("exit status %d, on standard output: %q", status, p.stdout)
			}
			contains(t, p.stderr.String(), "Error: ", want, "--help'.")
			p.mustBeClean(0)
		})
	}
	p := start(t, "chaos", "--help")
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	contains(t, p.stdout.String(), "Examples:", "What is checked.", "What is allowed.", "--seed", "--faults", "--kinds", "shared-tx", "--html", "--json", "promote",
		"partition-to-server", "keeper-panic", "demo chaos --lie")
}
