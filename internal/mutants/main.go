// Mutants puts realistic bugs back, one after the other, into a copy of the tree, and looks which check finds each: first
// the test that is named for the bug, if there is one, then the simulation, and where neither finds it all tests. It prints
// a table, and fails where a bug is not found.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func main() {
	names := flag.String("run", ".", "which bugs: a regular expression on their names")
	span := flag.Duration("for", 20*time.Second, "how long each simulation looks for a bug; with 0 there is none")
	seed := flag.Uint64("seed", 1, "seed of the simulations")
	first := flag.Bool("first", true, "look first whether all is well without any bug")
	tests := flag.Bool("tests", true, "ask the ordinary tests too: first the one that is named for a bug")
	all := flag.Bool("all", true, "where neither that test nor the simulation finds a bug, ask all tests")
	own := flag.Bool("own", true, "run the regression test that is named for a bug too, which must fail")
	jobs := flag.Int("jobs", max(1, runtime.NumCPU()/2), "how many bugs are tried at one time")
	flag.Parse()
	b := bench{span: *span, seed: *seed, tests: *tests, all: *all, own: *own}
	if err := run(b, os.Stdout, *names, *first, max(1, *jobs)); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run tries the bugs with these names, some at one time, and prints what finds each, in the order of the lists.
func run(b bench, out io.Writer, names string, first bool, jobs int) error {
	pattern, err := regexp.Compile(names)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !pattern.MatchString(m.name) })
	benches := make([]bench, min(jobs, max(1, len(chosen))))
	for i := range benches {
		benches[i] = b
		if benches[i].dir, err = os.MkdirTemp("", "lockkeeper-mutants-"); err != nil {
			return err
		}
		defer os.RemoveAll(benches[i].dir)
		if err := copyTree(benches[i].dir); err != nil {
			return err
		}
	}
	if first && b.span > 0 {
		if found, err := benches[0].simulate([]string{"TestKeepers", "TestStack"}); err != nil || found != nil {
			return fmt.Errorf("without any bug put back the simulation should be green: %v %w", found, err)
		}
	}
	// Sent by whoever tried a bug; received by run; never closed; capacity 1: one result each.
	results := make([]chan result, len(chosen))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	var next atomic.Int64
	for i := range benches { // joined by the results
		go func() {
			for at := next.Add(1) - 1; int(at) < len(chosen); at = next.Add(1) - 1 {
				results[at] <- benches[i].look(chosen[at])
			}
		}()
	}
	fmt.Fprintf(out, "| bug | found by | check | histories | steps | made short to | its own test |\n|---|---|---|---|---|---|---|\n")
	var missed []string
	for _, each := range results {
		r := <-each
		fmt.Fprint(out, r.row)
		missed = append(missed, r.missed...)
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d bugs were not found: %s", len(missed), strings.Join(missed, "; "))
	}
	return nil
}

// result is a row of the table, and what was not as it should be.
type result struct {
	row    string
	missed []string
}

// look tries one bug.
func (b *bench) look(m mutant) (r result) {
	row, err := b.try(m)
	own, failed := "", false
	if err == nil {
		own, failed, err = b.regression(m)
	}
	switch {
	case err != nil: // the others are tried all the same
		r.missed = append(r.missed, m.name+": "+err.Error())
		row = &finding{by: "**not tried**"}
	case row == nil && !b.asked(m):
		row = &finding{by: "not asked"}
	case row == nil:
		r.missed = append(r.missed, m.name)
		row = &finding{by: "**nothing**"}
	}
	if own != "" && !failed {
		r.missed = append(r.missed, m.name+" (by "+own+")")
		own += " **passes**"
	}
	r.row = fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", m.name, row.by, row.check, row.histories, row.steps, row.short, own)
	return r
}

// asked reports whether any check was asked.
func (b *bench) asked(m mutant) bool { return b.span > 0 || b.tests && (b.all || m.test != "") }

// copyTree copies what git knows, and what it would know.
func copyTree(to string) error {
	list, err := exec.Command("git", "ls-files", "-co", "--exclude-standard").Output() //nolint:noctx // a moment's work
	if err != nil {
		return err
	}
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		if target, err := os.Readlink(name); err == nil {
			if err := os.Symlink(target, filepath.Join(to, name)); err != nil {
				return err
			}
			continue
		}
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and git has yet to be told
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil { //nolint:gosec // a copy of what is public
			return err
		}
	}
	return nil
}

// bench is where bugs are tried.
type bench struct {
	dir   string // the copy
	span  time.Duration
	seed  uint64
	tests bool
	all   bool
	own   bool
}

// finding says what found a bug.
type finding struct{ by, check, histories, steps, short string }

// put puts a bug in; the function that it returns takes it out again.
func (b *bench) put(m mutant) (back func(), err error) {
	write := func(file, text string) error {
		return os.WriteFile(filepath.Join(b.dir, file), []byte(text), 0o644) //nolint:gosec // the whole copy is thrown away soon
	}
	changes, err := m.apply(func(file string) ([]byte, error) { return os.ReadFile(filepath.Join(b.dir, file)) })
	if err != nil {
		return func() {}, err
	}
	back = func() {
		for file, c := range changes {
			_ = write(file, c.before)
		}
	}
	for file, c := range changes {
		if err := write(file, c.after); err != nil {
			return back, err
		}
	}
	return back, nil
}

// regression runs the test that is named for a bug, if there is one, and says whether it failed.
func (b *bench) regression(m mutant) (name string, failed bool, err error) {
	number := bugNumber.FindStringSubmatch(m.name)
	if !b.own || number == nil {
		return "", false, nil
	}
	back, err := b.put(m)
	defer back()
	if err != nil {
		return "", false, err
	}
	name = "TestBug" + number[1]
	out, err := b.goCommand("test", "-v", "-vet=off", "-count=1", "-timeout", "200s", "./manager", "-run", "^"+name+"_")
	switch {
	case bytes.Contains(out, []byte("[build failed]")):
		return "", false, fmt.Errorf("it does not compile: %s", tail(out))
	case !bytes.Contains(out, []byte("=== RUN   "+name)):
		return "", false, fmt.Errorf("there is no %s_: %s", name, tail(out))
	}
	return name, err != nil, nil
}

// try puts a bug in, looks for it, and takes it out again.
func (b *bench) try(m mutant) (*finding, error) {
	back, err := b.put(m)
	defer back()
	if err != nil {
		return nil, err
	}
	if m.test != "" && b.tests {
		if found, err := b.named(m); found != nil || err != nil {
			return found, err
		}
	}
	found, err := b.simulate(m.simulations())
	if found != nil || err != nil || !b.tests || !b.all {
		return found, err
	}
	for _, tests := range []string{"actor", "pg", "manager"} {
		if out, err := b.goCommand("test", "-vet=off", "-failfast", "-timeout", "15m", "./"+tests); err != nil {
			if found, err := failure(tests, out); found != nil || err != nil {
				return found, err
			}
		}
	}
	return nil, nil
}

// named runs the test that is named for a bug.
func (b *bench) named(m mutant) (*finding, error) {
	tests, name, _ := strings.Cut(m.test, " ")
	args := []string{"test", "-v", "-vet=off", "-count=1", "-failfast", "-timeout", "100s", "./" + tests, "-run", "^" + name + "$"}
	if m.race {
		args = slices.Insert(args, 1, "-race")
	}
	out, err := b.goCommand(args...)
	switch {
	case err == nil && !bytes.Contains(out, []byte("=== RUN   "+name)):
		return nil, fmt.Errorf("there is no test %s: %s", m.test, tail(out))
	case err == nil:
		return nil, nil
	}
	return failure(tests, out)
}

// failure says which test of a package failed; nil where the time was over and no test had waited for long.
func failure(tests string, out []byte) (*finding, error) {
	found := &finding{by: "tests of " + tests}
	switch {
	case bytes.Contains(out, []byte("[build failed]")):
		return nil, fmt.Errorf("it does not compile: %s", tail(out))
	case bytes.Contains(out, []byte("WARNING: DATA RACE")):
		found.check = "data race in "
	case bytes.Contains(out, []byte("panic: test timed out")):
		if !waited(out) {
			return nil, nil
		}
		found.check = "no end of "
	}
	if m := failText.FindSubmatch(out); m != nil {
		found.check += string(m[1])
	} else if m := runningText.FindSubmatch(out); m != nil {
		found.check += string(m[1])
	} else if m := panicText.FindSubmatch(out); m != nil {
		found.check += "the process ends: " + string(m[1])
	} else {
		found.check += "the process ends: " + strings.Join(strings.Fields(tail(out)), " ") // a row is a line
	}
	return found, nil
}

// waited reports whether a test was running for so long that it would never have ended.
func waited(out []byte) bool {
	const tooLong = 90 * time.Second // each takes seconds
	for _, running := range runningText.FindAllSubmatch(out, -1) {
		if took, err := time.ParseDuration(string(running[2])); err == nil && took >= tooLong {
			return true
		}
	}
	return false
}

func (b *bench) goCommand(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...) //nolint:noctx,gosec // bounded by go test's own timeout
	cmd.Dir = b.dir
	return cmd.CombinedOutput()
}

var (
	foundText = regexp.MustCompile(`found by history (\d+), step (\d+) of it, (\d+) steps`)
	checkText = regexp.MustCompile(`explore_flags_test.go:\d+: ([^:]+): `)
	shortText = regexp.MustCompile(`made short: +(\d+) steps`)
	panicText = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.{1,100})`)
	bugNumber = regexp.MustCompile(`^old bug (\d):`)
	failText  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	// runningText is what go test says of the tests that ran when the time was over, or when the process ended by a panic.
	runningText = regexp.MustCompile(`(?m)^\s*(Test\S+) \((\d[^)]*)\)$`)
)

// simulate runs the simulations one after the other until one finds something.
func (b *bench) simulate(names []string) (*finding, error) {
	if b.span == 0 {
		return nil, nil
	}
	for _, name := range names {
		out, err := b.goCommand("test", "-v", "-vet=off", "-timeout", (b.span + 2*time.Minute).String(), "./internal/sim", "-run", "^"+name+"$",
			"-args", "-sim.seed="+strconv.FormatUint(b.seed, 10), "-sim.for="+b.span.String(), "-sim.workers=1")
		if err == nil {
			continue
		}
		found, check, short := foundText.FindSubmatch(out), checkText.FindAllSubmatch(out, -1), shortText.FindSubmatch(out)
		if bytes.Contains(out, []byte("[build failed]")) {
			return nil, fmt.Errorf("it does not compile: %s", tail(out))
		}
		if found == nil || len(check) == 0 || short == nil {
			if bytes.Contains(out, []byte("panic: test timed out")) {
				return &finding{by: "simulation " + name, check: "it hangs"}, nil
			}
			if panicked := panicText.FindSubmatch(out); panicked != nil {
				return &finding{by: "simulation " + name, check: "the process ends: " + string(panicked[1])}, nil
			}
			return nil, fmt.Errorf("the simulation failed in a way of its own: %s", tail(out))
		}
		return &finding{by: "simulation " + name, check: string(check[len(check)-1][1]), histories: string(found[1]), steps: string(found[3]),
			short: string(short[1]) + " steps"}, nil
	}
	return nil, nil
}

func tail(out []byte) string {
	const most = 600
	return string(out[max(0, len(out)-most):])
}
