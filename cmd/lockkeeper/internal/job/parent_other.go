//go:build unix && !linux

package job

import "syscall"

// endWithParent does nothing: this system has no such wish. The watchdog alone ends the command.
func endWithParent(*syscall.SysProcAttr) {}

func stillEndWithParent() {}
