// Package job runs a command in a process group of its own, for as long as a lock is held, and sees to it that none of the group
// is left when the lock is not.
//
// One goroutine, that of Run, has the whole state of a job: it receives signals, changes of the child's state, the loss of the
// lock, and the ticks of two clocks. Another waits for the child and tells it of the changes.
package job

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Ends reports whether a signal ends a program that does not catch it, as it is meant to: HUP, INT, QUIT or TERM.
func Ends(s os.Signal) bool {
	switch s {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM:
		return true
	}
	return false
}

// Command is what is run.
type Command struct {
	Path string // of the program, as exec.LookPath finds it
	Args []string
	Env  []string
	// Grace is between TERM and KILL when the lock is lost. With 0 it is KILL at once.
	Grace time.Duration
	// Signals are those that lockkeeper gets: they go on to the group. Sent by os/signal; received by Run; never closed.
	Signals <-chan os.Signal
	// Settle is called when this process goes on after a stop. It returns when what has happened to the lock meanwhile is known, or
	// cannot be found out.
	Settle func()
	// Tell tells the user something, on standard error. It does not wait for that to take it: the loop would neither end the command of a lost
	// lock nor tell the watchdog that it runs.
	Tell func(format string, args ...any)
}

// Hold is the lock that the command runs under.
type Hold interface {
	// Done is closed when the hold has ended.
	Done() <-chan struct{}
	// Err says why, and looks at the clock first: after this process was stopped for a while, the lock may be lost.
	Err() error
}

// Result is how the command ended.
type Result struct {
	// Status is that of the command: its own, or 128 and the number of the signal that ended it.
	Status int
	// Lost: the hold ended before all of the group had.
	Lost bool
	// EndedBy is a signal that ends a program, HUP, INT, QUIT or TERM: one that went on to the group, or INT or QUIT that has ended the command, as
	// Ctrl-C does in a terminal without this process's seeing it. It is nil where there was none.
	EndedBy os.Signal
}

// ErrUnsupported is returned where the system has no process groups.
var ErrUnsupported = errors.New("lockkeeper run needs process groups, which this system does not have")
