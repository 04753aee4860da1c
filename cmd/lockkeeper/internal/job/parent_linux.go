package job

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// endWithParent has the kernel kill the command when this process is killed, also where the watchdog is killed with it. The kernel goes by the
// thread that starts the command: Run keeps it.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// stillEndWithParent is for the thread that becomes the command: the kernel has the wish for each thread.
func stillEndWithParent() { _ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) }
