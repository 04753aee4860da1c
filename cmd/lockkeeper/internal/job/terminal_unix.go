//go:build unix

package job

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A terminal gives what is typed, and the signals of Ctrl-C and Ctrl-Z, to one process group, the one in the foreground; a process
// of another group that reads is stopped by SIGTTIN. The command has a group of its own, since it must be possible to end it without ending
// this process. So it is put into the foreground: at once where input and output are the terminal, and else when it
// asks for it; until then the foreground may be a pager's at the other end of a pipe.
//
// A nil *terminal is none.
type terminal struct{ file *os.File }

func openTerminal() *terminal {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil // a service, cron, a container
	}
	return &terminal{file}
}

func (t *terminal) close() {
	if t != nil {
		_ = t.file.Close()
	}
}

func (t *terminal) fd() int { return int(t.file.Fd()) }

// foreground is the group in the foreground, 0 if that is not known.
func (t *terminal) foreground() int {
	if t == nil {
		return 0
	}
	group, err := unix.IoctlGetInt(t.fd(), unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// writeFromBackground lets this process, which is in the background while the command is in the foreground, take the terminal back, and write messages
// where "stty tostop" is set: it would be stopped by either. A command that is started after this would inherit it.
func writeFromBackground() { signal.Ignore(syscall.SIGTTOU) }

func (t *terminal) set(group int) bool {
	return unix.IoctlSetPointerInt(t.fd(), unix.TIOCSPGRP, group) == nil
}

// interactive reports whether the command is to be in the foreground from the beginning.
func (t *terminal) interactive() bool {
	return t != nil && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) && t.foreground() == unix.Getpgrp()
}

// handOver puts the group into the foreground, if this process's own is there.
func (t *terminal) handOver(group int) bool {
	return t != nil && t.foreground() == unix.Getpgrp() && t.set(group)
}

// takeBack puts this process's own group into the foreground, if the given one is there.
func (t *terminal) takeBack(group int) bool {
	return t != nil && t.foreground() == group && t.set(unix.Getpgrp())
}

// jobControl reports whether a shell would let a stopped process go on: one that is the parent, in this session and another group.
func (t *terminal) jobControl() bool {
	if t == nil {
		return false
	}
	parent := os.Getppid()
	session, err := unix.Getsid(parent)
	if err != nil {
		return false
	}
	own, err := unix.Getsid(0)
	if err != nil || own != session {
		return false
	}
	group, err := unix.Getpgid(parent)
	return err == nil && group != unix.Getpgrp()
}
