package job

import "syscall"

// endWithParent has the kernel kill the command when this process is killed, also where that comes before the watchdog knows of the group. The
// kernel goes by the thread that starts the command: Run keeps it.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
