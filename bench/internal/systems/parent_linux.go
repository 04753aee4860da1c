package systems

import "syscall"

// endWithParent has the kernel end the server when this process dies, however it dies.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
