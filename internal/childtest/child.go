//go:build unix

package childtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// variable is in a child's environment: the name of its part, and its arguments, one a line.
const variable = "LOCKKEEPER_TEST_CHILD"

// patience bounds every wait for a child. It says nothing about how fast one is.
const patience = time.Minute

// Parts are what children can play. What a part prints is for the test.
type Parts map[string]func(args []string) error

// Play comes first in TestMain: in a child it plays the part, and ends the process. Elsewhere it does nothing.
func Play(parts Parts) {
	call := os.Getenv(variable)
	if call == "" {
		return
	}
	words := strings.Split(call, "\n")
	play, ok := parts[words[0]]
	if !ok {
		fmt.Fprintln(os.Stderr, "there is no part", words[0])
		os.Exit(2)
	}
	if err := play(words[1:]); err != nil {
		fmt.Fprintln(os.Stderr, words[0], "failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// EndWithInput is for parts that do not read their input and go on for ever: the process ends when the test has closed it,
// or was killed.
func EndWithInput() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}

// Child is the other process, as its test sees it.
type Child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end of its output
}

// Start starts a part. The child is killed when the test is over, if it has not ended by itself.
func Start(t testing.TB, part string, args ...string) *Child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &Child{cmd: exec.CommandContext(t.Context(), exe), lines: make(chan string, 1000)}
	c.cmd.Env = append(os.Environ(), variable+"="+strings.Join(append([]string{part}, args...), "\n"))
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(c.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			c.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-read
		_ = c.cmd.Wait()
	})
	return c
}

// Line is the next line that the child prints.
func (c *Child) Line(t testing.TB) string {
	t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			t.Fatal("the child has ended")
		}
		return line
	case <-time.After(patience):
		t.Fatalf("the child said nothing for %v", patience)
		return ""
	}
}

// Quiet reports whether the child has said nothing that has not been read.
func (c *Child) Quiet() bool { return len(c.lines) == 0 }

// Say sends the child a line.
func (c *Child) Say(t testing.TB, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		t.Fatal(err)
	}
}

// Kill kills the child, as kill -9 does.
func (c *Child) Kill(t testing.TB) {
	t.Helper()
	c.signal(t, syscall.SIGKILL)
}

// Died returns what a child that was killed has still said, once it has ended.
func (c *Child) Died(t testing.TB) (rest []string) {
	t.Helper()
	bound := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				_ = c.cmd.Wait()
				return rest
			}
			rest = append(rest, line)
		case <-bound:
			t.Fatalf("the child has not died within %v", patience)
		}
	}
}

// Freeze stops the child, and returns when it stands still.
func (c *Child) Freeze(t testing.TB) {
	t.Helper()
	c.signal(t, syscall.SIGSTOP)
	again, bound := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer again.Stop()
	defer bound.Stop()
	for !c.frozen() {
		select {
		case <-again.C:
		case <-bound.C:
			t.Fatalf("the child has not stopped within %v", patience)
		}
	}
}

// Wake lets a frozen child go on.
func (c *Child) Wake(t testing.TB) {
	t.Helper()
	c.signal(t, syscall.SIGCONT)
}

func (c *Child) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (c *Child) frozen() bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return true // a system without /proc: the signal has to do
	}
	_, state, _ := strings.Cut(string(status), ") ")
	return strings.HasPrefix(state, "T")
}

// End closes the child's input, lets it end by itself, which has to go well, and returns what it still said.
func (c *Child) End(t testing.TB) (rest []string) {
	t.Helper()
	if err := c.in.Close(); err != nil {
		t.Error(err)
	}
	bound := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if ok {
				rest = append(rest, line)
				continue
			}
			if err := c.cmd.Wait(); err != nil {
				t.Errorf("the child: %v", err)
			}
			return rest
		case <-bound:
			t.Fatalf("the child has not ended within %v", patience)
		}
	}
}
