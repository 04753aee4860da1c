package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// child is another process: this test binary, started again to play one of the parts below.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end of its output
}

// startChild starts a part. It ends with its input, and is killed with the test if it has not.
func startChild(t *testing.T, part string, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), lines: make(chan string, 1000)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+strings.Join(append([]string{part}, args...), "\n"))
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

func (c *child) line(t *testing.T) string {
	t.Helper()
	return ended(t, "a line of the child", c.lines)
}

func (c *child) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// stop freezes the child, and returns when it stands still.
func (c *child) stop(t *testing.T) {
	t.Helper()
	c.signal(t, syscall.SIGSTOP)
	eventually(t, "the child has stopped", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
		if err != nil {
			return true // a system without /proc: the signal has to do
		}
		_, state, _ := strings.Cut(string(status), ") ")
		return strings.HasPrefix(state, "T")
	})
}

// playChild is the whole of such a process.
func playChild(call string) int {
	words := strings.Split(call, "\n")
	parts := map[string]func(args []string) error{"forward": forward, "look": look}
	play, ok := parts[words[0]]
	if !ok {
		fmt.Fprintln(os.Stderr, "no such part:", words[0])
		return 2
	}
	go func() { // the test is over, or was killed
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := play(words[1:]); err != nil {
		fmt.Fprintln(os.Stderr, words[0], "failed:", err)
		return 1
	}
	return 0
}

// forward is a middlebox: it carries bytes between its own address and another.
func forward(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "forwarding")
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		server, err := net.Dial("tcp", args[1])
		if err != nil {
			client.Close()
			continue
		}
		carry := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			to.Close()
			from.Close()
		}
		go carry(server, client)
		go carry(client, server)
	}
}

// look holds a lock and looks at it without a pause. Where two looks are further apart than the lease, the process was
// stopped in between: it says what the first look after that saw.
func look(args []string) error {
	ctx := context.Background()
	m, err := manager.Open(ctx, args[0], short.options()...)
	if err != nil {
		return err
	}
	for {
		lock, err := m.Acquire(ctx, args[1], manager.WithRetryPolicy(patient()))
		if err != nil {
			return err
		}
		held := lock.Context()
		last := time.Now() // before the word, since it may be stopped in the middle of that
		fmt.Fprintln(os.Stdout, "held")
		for {
			seen := errors.Join(lock.Err(), held.Err())
			now := time.Now()
			if gap := now.Sub(last); gap > short.interval+short.timeout {
				if seen == nil { // it may have been stopped after it had looked
					seen = errors.Join(lock.Err(), held.Err())
				}
				fmt.Fprintln(os.Stdout, "woken", seen != nil)
			} else if seen != nil {
				fmt.Fprintln(os.Stdout, "lost")
			}
			if last = now; seen != nil {
				break
			}
		}
		if !errors.Is(lock.Err(), manager.ErrLost) {
			return lock.Err()
		}
	}
}
