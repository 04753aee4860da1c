package job

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A lockkeeper that is killed together with its watchdog, as by the name of both, leaves no command behind.
func TestTheCommandDiesWithLockkeeperAndItsWatchdog(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "LOCKKEEPER_JOB_TEST_RUNS_UNGUARDED=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	if _, err := fmt.Fscanln(out, &pid); err != nil {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	if err := out.(*os.File).SetReadDeadline(time.Now().Add(time.Minute)); err != nil { //nolint:forcetypeassert // it is a pipe
		t.Error(err)
	}
	if _, err := io.ReadAll(out); err != nil { // it ends when the command has: that has the pipe too
		t.Error(err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = cmd.Wait()
}
