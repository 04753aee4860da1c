package pg

import (
	"syscall"
	"testing"
)

// signal sends a signal to one backend of a test's server.
func signal(t testing.TB, pid uint32, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(int(pid), sig); err != nil {
		t.Fatal(err)
	}
}

const stoppedVariable = "LOCKKEEPER_TEST_STOPPED"

func beStopped(string) int { return 0 }
