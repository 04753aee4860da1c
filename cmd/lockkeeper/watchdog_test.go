//go:build linux

package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// untilIgnored waits until a process ignores signals.
func untilIgnored(t *testing.T, pid int, signals []syscall.Signal) {
	t.Helper()
	var want uint64
	for _, s := range signals {
		want |= 1 << (s - 1)
	}
	for began := time.Now(); ; {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "SigIgn:\t")
		mask, _, _ := strings.Cut(rest, "\n")
		got, err := strconv.ParseUint(mask, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got&want == want {
			return
		}
		if time.Since(began) > bound/3 {
			t.Fatalf("process %d ignores %x, want %x", pid, got, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Signals for all processes of this name, as those of pkill or of a service manager, do not end the watchdog while the command goes on.
func TestTheWatchdogOutlivesSignals(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	s := start(t, d, "run", "deploy", "--", "sh", "-c", stubbornForks)
	child, grandchild := s.pid("child"), s.pid("grandchild")
	watchdogs := slices.DeleteFunc(children(s.cmd.Process.Pid), func(pid int) bool { return pid == child })
	if len(watchdogs) != 1 {
		t.Fatalf("the watchdog is one of %v", watchdogs)
	}
	signals := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}
	untilIgnored(t, watchdogs[0], signals)
	for _, number := range signals {
		if err := syscall.Kill(watchdogs[0], number); err != nil {
			t.Fatal(err)
		}
	}
	s.signal(syscall.SIGKILL)
	s.wait(-1)
	mustEnd(t, child, grandchild, watchdogs[0])
}
