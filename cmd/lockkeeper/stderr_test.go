//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// startMute starts the program with a standard error that takes nothing: a pipe that is full, and that nobody reads.
func startMute(t *testing.T, d onServer, args ...string) *started {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		_ = w.Close()
	})
	fd := int(w.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, chunk := range [][]byte{make([]byte, 4096), make([]byte, 1)} { // what takes a page no more may take a byte
		for err = nil; err == nil; {
			_, err = syscall.Write(fd, chunk)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	s := &started{t: t, folder: t.TempDir()}
	s.cmd = exec.CommandContext(ctx, program(t), args...)
	s.cmd.Dir, s.cmd.Env = s.folder, environ(d.DSNOf(d.name))
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, w
	s.cmd.WaitDelay = bound / 3
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// A standard error that takes nothing does not keep the command of a lost lock from being ended.
func TestALossWithAStandardErrorThatTakesNothing(t *testing.T) {
	t.Parallel()
	for _, grace := range []string{"0s", "1h"} {
		d := newDatabase(t)
		s := startMute(t, d, "run", "--grace", grace, "deploy", "--", "sh", "-c", "exec 2>log; "+forks)
		child, grandchild := s.pid("child"), s.pid("grandchild")
		d.must(t, d.terminate("deploy"))
		s.wait(exitLost)
		mustEnd(t, child, grandchild)
	}
}

// Nor does it end the rest of a group whose lock is held: it is told of, and the watchdog hears the beats all the same.
func TestARestWithAStandardErrorThatTakesNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for tries := 1; ; tries++ {
		s := startMute(t, d, "run", "deploy", "--", "sh", "-c", `exec 2>log; (sleep 10; echo done >done) & exit 3`)
		_ = s.cmd.Wait()
		_, err := os.Stat(filepath.Join(s.folder, "done"))
		switch got := s.cmd.ProcessState.ExitCode(); {
		case got == 3 && err == nil:
			return
		case got != exitLost || tries == 4: // it is a machine that stands still which loses the lock
			t.Fatalf("the exit status is %d: %v", got, err)
		}
	}
}

// Nor does it keep a lock that is acquired from its command.
func TestAWaitWithAStandardErrorThatTakesNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	holder := start(t, d, "run", "deploy", "--", "sh", "-c", stays)
	holder.pid("child")
	s := startMute(t, d, "run", "--verbose", "deploy", "--", "sh", "-c", `exec 2>log; exit 3`)
	d.must(t, d.until("deploy", false, 1))
	holder.signal(syscall.SIGTERM)
	holder.wait(128 + int(syscall.SIGTERM))
	s.wait(3)
}

// Where "stty tostop" keeps what is in the background from the terminal, lockkeeper tells of a loss and is not stopped by that.
func TestTerminalTostop(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := shell(t, d)
	s.write("stty tostop; $LK run deploy -- sh -c 'echo be''gun; exec sleep 1000'\n")
	s.expect(`begun\r\n`)
	d.must(t, d.terminate("deploy"))
	s.expect(`the lock is lost`)
	s.expect(`ready> `)
	s.write("echo status $?\n")
	s.expect(`status 123\r\n`)
}
