//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pid waits for a process that the command has written down.
func (s *screen) pid(name string) int {
	s.t.Helper()
	written := &started{t: s.t, folder: s.cmd.Dir}
	return written.pid(name)
}

// untilStopped waits until a process is stopped, or is not.
func untilStopped(t *testing.T, pid int, want bool) {
	t.Helper()
	for began := time.Now(); ; {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") T ") == want {
			return
		}
		if time.Since(began) > bound/3 {
			t.Fatalf("stopped: want %v: %s", want, stat)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// killProcess ends a process that is part of a test.
func killProcess(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// goesOnAfterStop waits until the shell's job has been stopped with a process that is a part of it, and lets both go on. The job ends when that process
// is killed, with a status.
func (s *screen) goesOnAfterStop(rest int, job string, status int) {
	s.t.Helper()
	s.expect(`Stopped`)
	s.expect(`ready> `)
	untilStopped(s.t, rest, true)
	s.write("fg\n")
	s.expect(job)
	untilStopped(s.t, rest, false)
	killProcess(s.t, rest)
	s.expect(`ready> `)
	s.write("echo status $?\n")
	s.expect(fmt.Sprintf(`status %d\r\n`, status))
}

// Ctrl-Z stops also what the command has left in the background, and waits for.
func TestTerminalCtrlZAfterTheCommand(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'sleep 1000 & echo $! >rest; exit 4'\n")
	s.expect(`the lock is held until the rest of its process group`)
	s.write("\x1a")
	s.goesOnAfterStop(s.pid("rest"), `run deploy`, 4)
}

// Ctrl-Z stops also those of the group that ignore it.
func TestTerminalCtrlZThatSomeIgnore(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c '(trap \"\" TSTP; exec sh -c \"echo \\$\\$ >rest; exec sleep 1000\") & wait; exit 5'\n")
	rest := s.pid("rest")
	s.write("\x1a")
	s.goesOnAfterStop(rest, `run deploy`, 5)
}

// A STOP of the command by somebody else stops the rest of the group too.
func TestTerminalStopOfTheCommandAlone(t *testing.T) {
	t.Parallel()
	s := shell(t, newDatabase(t))
	s.write("$LK run deploy -- sh -c 'sleep 1000 & echo $! >rest; echo $$ >child; wait; exit 6'\n")
	rest, child := s.pid("rest"), s.pid("child")
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.goesOnAfterStop(rest, `run deploy`, 6)
}

// Ctrl-Z in the grace after a loss: the command goes on afterwards, and ends in its own way.
func TestTerminalCtrlZInTheGrace(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := shell(t, d)
	s.write("$LK run --grace 1h deploy -- sh -c 'trap \"\" TERM; sleep 1000 & echo $! >rest; trap \"echo en\"\"ding; wait; echo >tidy tidy; exit 7\" TERM; echo be''gun; wait'\n")
	s.expect(`begun\r\n`)
	rest := s.pid("rest")
	d.must(t, d.terminate("deploy"))
	s.expect(`ending\r\n`)
	s.write("\x1a")
	s.goesOnAfterStop(rest, `run --grace 1h deploy`, exitLost)
	if _, err := os.Stat(filepath.Join(s.cmd.Dir, "tidy")); err != nil {
		t.Error(err)
	}
}
