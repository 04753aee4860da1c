//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// envProgram makes the test binary be the program, so that the tests see real processes, signals and exit statuses.
const envProgram = "LOCKKEEPER_DEMO_TEST_IS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		os.Exit(execute(os.Args[1:]))
	}
	os.Exit(pgtest.Run(m))
}

// programBound is far more than any run here takes: a program that hangs fails its test instead of the whole suite.
const programBound = 3 * time.Minute

// program is the demo, started with arguments.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	temp   string // its folder for temporary files
	stdout *output
	stderr *output
}

// output is what a program writes, to be waited for.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newOutput() *output { return &output{grew: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grew <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts the program with an environment that names no server.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	return launch(t, nil, os.Args[0], args...)
}

// startGroup starts the program in a process group of its own, as a shell does in a terminal.
func startGroup(t *testing.T, args ...string) *program {
	t.Helper()
	return launch(t, &syscall.SysProcAttr{Setpgid: true}, os.Args[0], args...)
}

// startShell runs a shell script in which $0 is the program.
func startShell(t *testing.T, script string) *program {
	t.Helper()
	return launch(t, nil, "/bin/sh", "-c", script, os.Args[0])
}

func launch(t *testing.T, attributes *syscall.SysProcAttr, name string, args ...string) *program {
	t.Helper()
	if _, err := pgserver.FindBinaries(); errors.Is(err, pgserver.ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip("this test needs a PostgreSQL server: ", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), programBound)
	t.Cleanup(cancel)
	p := &program{t: t, temp: pgtest.Folder(t), stdout: newOutput(), stderr: newOutput()}
	p.cmd = exec.CommandContext(ctx, name, args...)
	p.cmd.Env = append(cleanEnv(), envProgram+"=1", "TMPDIR="+p.temp)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.WaitDelay = 10 * time.Second
	p.cmd.SysProcAttr = attributes
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func cleanEnv() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PG") && !strings.HasPrefix(entry, "DATABASE_URL=") && !strings.HasPrefix(entry, "NO_COLOR=") {
			env = append(env, entry)
		}
	}
	return env
}

// wait returns the exit status.
func (p *program) wait() int {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("%v\n%s\n%s", err, p.stdout, p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// until waits until the output matches.
func (p *program) until(o *output, pattern string) {
	p.t.Helper()
	late := time.After(programBound)
	for wanted := regexp.MustCompile(pattern); !wanted.MatchString(o.String()); {
		select {
		case <-o.grew:
		case <-late:
			p.t.Fatalf("nothing matches %q in\n%s\n%s", pattern, p.stdout, p.stderr)
		}
	}
}

func (p *program) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// postmaster is the process id of the throwaway server, from its pid file.
func (p *program) postmaster() int {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.temp, "*", "data", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		p.t.Fatalf("%d servers run in %s (%v), want one", len(files), p.temp, err)
	}
	file, err := os.Open(files[0])
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Scan()
	pid, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// clean reports whether nothing of the program is left: no file, no server, no worker process.
func (p *program) clean(postmaster int) bool {
	entries, err := os.ReadDir(p.temp)
	return err == nil && len(entries) == 0 && len(p.processes()) == 0 &&
		(postmaster == 0 || errors.Is(syscall.Kill(postmaster, 0), syscall.ESRCH))
}

// processes are those with this program's environment. Systems without /proc have none to show.
func (p *program) processes() []string {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []string
	for _, file := range files {
		if environ, err := os.ReadFile(file); err == nil && strings.Contains(string(environ), "TMPDIR="+p.temp+"\x00") {
			found = append(found, filepath.Base(filepath.Dir(file)))
		}
	}
	return found
}

// mustBeClean fails the test unless nothing is left.
func (p *program) mustBeClean(postmaster int) {
	p.t.Helper()
	if !p.clean(postmaster) {
		entries, _ := os.ReadDir(p.temp)
		p.t.Errorf("left behind: files %v, server process %d, processes %v", entries, postmaster, p.processes())
	}
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
