package job

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process of the group that has ended, and for which nobody waits, is not waited for. This process is here what the first of many a container is: what
// others leave becomes its child, and it does not wait for that.
func TestAZombieDoesNotKeepTheLock(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), "LOCKKEEPER_JOB_TEST_LEAVES_ONE=1")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 4 {
		t.Errorf("%v: %s", err, out)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
		t.Error(err)
	}
	if _, err := unix.Wait4(-1, nil, 0, nil); err != nil { // it was left until now
		t.Error(err)
	}
}

// The living of a group are told from those that have ended, and from others.
func TestMembers(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := cmd.Process.Pid
	var m members
	if m.allEnded(group) || m.found != group {
		t.Errorf("it lives: %+v", m)
	}
	if (&members{}).allEnded(1<<30) || (&members{found: os.Getpid()}).allEnded(1<<30) {
		t.Error("nobody is no group that has ended")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !m.allEnded(group); { // it is a zombie until Wait
		if time.Since(began) > time.Minute {
			t.Fatalf("%+v", m)
		}
		<-time.After(5 * time.Millisecond)
	}
	_ = cmd.Wait()
	if m.allEnded(group) {
		t.Error("it has gone")
	}
}
