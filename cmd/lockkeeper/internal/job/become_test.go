//go:build unix

package job

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A lockkeeper that is stopped, or killed, as soon as its command runs has its group killed all the same, with what the command has started: it
// need not have told its watchdog of the group. Here it tells nothing.
func TestTheWatchdogKnowsTheGroupBeforeTheCommandRuns(t *testing.T) {
	w := startWatchdog(t)
	out, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	process, reason, err := w.start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 1000 & echo $$; exec sleep 1000"}}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{nil, theirs, os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	_ = theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	line, err := reader.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != strconv.Itoa(process.Pid) {
		t.Errorf("the process is %d, the command %q: %v", process.Pid, line, err)
	}
	_ = w.pipe.Close()
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Error(err)
	}
	if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) { // the end comes when both have ended
		t.Error("the group goes on: ", err)
		_ = syscall.Kill(-process.Pid, syscall.SIGKILL)
	}
	state, err := process.Wait()
	if status, ok := state.Sys().(syscall.WaitStatus); err != nil || !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("%v: %v", state, err)
	}
	if err := whyNotBegun(reason); err != nil {
		t.Error(err)
	}
	w.Close()
}

// What keeps the process from becoming the command is Run's error, as where it could not be started.
func TestBecome(t *testing.T) {
	held := fakeHold{nil, func() error { return nil }}
	folder := t.TempDir()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"no format":      {"neither a script nor a program", syscall.ENOEXEC},
		"no interpreter": {"#!/nowhere/interpreter\n", syscall.ENOENT},
		"a script":       {"#!/bin/sh\nexit 7\n", nil},
	} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(test.text), 0o700); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
		w := startWatchdog(t)
		r, err := Run(Command{Path: path, Args: []string{name}, Env: os.Environ(), Tell: func(string, ...any) {}}, held, w)
		if !errors.Is(err, test.want) || (test.want == nil) != (r.Status == 7) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		w.Close()
	}
	for _, args := range [][]string{nil, {"3", "4", "/bin/sh"}, {"1", "2", "/bin/sh", "sh"}, {"x", "4", "/bin/sh", "sh"}} {
		if err := Become(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

// A command has the files that lockkeeper was given, under their numbers, and not its pipe to the watchdog.
func TestTheCommandHasTheFilesThatLockkeeperWasGiven(t *testing.T) {
	w := startWatchdog(t)
	defer w.Close()
	given, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = given.Close() }()
	number, err := keepOverExec(given)
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := keepOverExec(w.pipe)
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("[ -e /dev/fd/%d ] || exit 1; [ ! -e /dev/fd/%d ] || exit 2", number, pipe)
	r, _ := run(t, fakeHold{nil, func() error { return nil }}, script, w)
	if r.Status != 0 {
		t.Errorf("%+v", r)
	}
}
