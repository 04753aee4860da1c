//go:build !linux

package systems

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }
