package manager_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// child is another process: this test binary, started again to play one of the parts below.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end of its output
}

// startChild starts a part on a database. The child is killed when the test is over, if it has not ended by itself.
func startChild(t *testing.T, part, dsn string, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), lines: make(chan string, 100)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+strings.Join(append([]string{part, dsn}, args...), "\n"))
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
		_ = c.cmd.Wait()
		<-read
	})
	return c
}

// line is the next line that the child prints.
func (c *child) line(t *testing.T) string {
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

func (c *child) say(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		t.Fatal(err)
	}
}

func (c *child) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// wait lets the child end by itself and wants it to have gone well.
func (c *child) wait(t *testing.T) {
	t.Helper()
	if err := c.in.Close(); err != nil {
		t.Error(err)
	}
	for line := range c.lines {
		t.Errorf("the child says more: %s", line)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the child: %v", err)
	}
}

// playChild is the whole of such a process.
func playChild(call string) int {
	words := strings.Split(call, "\n")
	parts := map[string]func(dsn string, args []string) error{"ids": childIDs, "count": childCount, "hold": childHold}
	play, ok := parts[words[0]]
	if !ok || len(words) < 2 {
		fmt.Fprintln(os.Stderr, "no such part:", words[0])
		return 2
	}
	if err := play(words[1], words[2:]); err != nil {
		fmt.Fprintln(os.Stderr, words[0], "failed:", err)
		return 1
	}
	return 0
}

// childIDs prints what ids it computes.
func childIDs(dsn string, _ []string) error {
	ids, err := idsOf(func(opts ...manager.Option) (*manager.Manager, error) {
		return manager.Open(context.Background(), dsn, opts...)
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(ids)
}

// childCount adds one to a counter in the database n times from each of a few goroutines: it reads, then writes, and
// nothing but the lock keeps another from doing so in between.
func childCount(dsn string, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := manager.Open(ctx, dsn)
	if err != nil {
		return err
	}
	const workers = 4
	errs := make(chan error, workers)
	for range workers {
		go func() { errs <- countUp(ctx, m, dsn, n) }()
	}
	for range workers {
		err = errors.Join(err, <-errs)
	}
	return errors.Join(err, m.Close(ctx))
}

func countUp(ctx context.Context, m *manager.Manager, dsn string, n int) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	for range n {
		err = errors.Join(err, m.Do(ctx, "counter", func(ctx context.Context) error {
			var value int
			if err := conn.QueryRow(ctx, "SELECT value FROM lk_counter").Scan(&value); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "UPDATE lk_counter SET value = $1", value+1)
			return err
		}))
	}
	return errors.Join(err, conn.Close(ctx))
}

// childHold takes a lock, says so, and with each line that it is sent says what it thinks of it.
func childHold(dsn string, args []string) error {
	ctx := context.Background()
	m, err := manager.Open(ctx, dsn, manager.WithHealth(300*time.Millisecond, 300*time.Millisecond),
		manager.WithSessionTimeout(1500*time.Millisecond))
	if err != nil {
		return err
	}
	lock, err := m.Acquire(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "held")
	for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
		// Nothing comes before this: it is what a process sees first when it is woken.
		switch err := lock.Err(); {
		case err == nil:
			fmt.Fprintln(os.Stdout, "held")
		case errors.Is(err, manager.ErrLost):
			fmt.Fprintln(os.Stdout, "lost")
		default:
			fmt.Fprintln(os.Stdout, err)
		}
	}
	return m.Close(ctx)
}
