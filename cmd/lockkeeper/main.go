// Lockkeeper runs commands under distributed locks on PostgreSQL, and shows who holds them. Start with `lockkeeper --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lockkeeper/lockkeeper/cmd/lockkeeper/internal/job"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

func main() { os.Exit(execute(os.Args[1:])) }

// The exit statuses. Those of run are like those of env and timeout, since CMD's own come before them.
const (
	exitOK          = 0
	exitFailed      = 1   // a command but run: what was asked for did not happen, or is not so
	exitUsage       = 2   // a command but run: a mistake on the command line
	exitLost        = 123 // run: the lock was lost while CMD ran, and CMD was ended
	exitNotAcquired = 124 // run: the lock was not acquired, and CMD was not run
	exitTrouble     = 125 // run: a mistake on the command line, no connection, or another failure; CMD was not run, or nobody knows how it ended
	exitCannotRun   = 126 // run: CMD is there and cannot be run
	exitNoCommand   = 127 // run: there is no CMD
	exitSignal      = 128 // and the signal's number: CMD, or lockkeeper while it waited, was ended by it
)

// errInterrupted is the cause of the context's end at Ctrl-C, termination or hang-up.
var errInterrupted = errors.New("interrupted")

// exitError is a failure that has a status of its own. Without a text it was told already.
type exitError struct {
	status int
	err    error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// execute runs the program and returns its exit status.
func execute(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	ctx := context.Background()
	switch append(args, "")[0] {
	case runName, becomeName: // these have their own use for signals
	case watchName: // it ends with its parent, also where all processes of this name, or of a service, get a signal
		signal.Ignore(job.ForwardedSignals()...)
	case proveWorkerName: // a Ctrl-C in the terminal reaches it too; its parent tells it to stop
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	default:
		interruptible, stop := interrupt.Context(ctx, errInterrupted, func() { os.Exit(exitSignal + 2) })
		defer stop()
		ctx = interruptible
	}
	err := root.ExecuteContext(ctx)
	exit, hasStatus := errors.AsType[exitError](err)
	switch {
	case err == nil:
		return exitOK
	case !hasStatus && errors.Is(context.Cause(ctx), errInterrupted):
		return exitSignal + 2
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "lockkeeper:", trimName(text))
	}
	usage, isUsage := errors.AsType[usageError](err)
	if isUsage {
		fmt.Fprintf(os.Stderr, "See '%s --help'.\n", usage.command)
	}
	switch {
	case hasStatus:
		return exit.status
	case isUsage && usage.command == "lockkeeper "+runName:
		return exitTrouble
	case isUsage:
		return exitUsage
	}
	return exitFailed
}
