// Demo shows the lock manager at work under load, and proves with a throwaway PostgreSQL or with yours that it keeps
// its promises. Start with `demo --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs the program and returns its exit status.
func execute(args []string) int {
	// A reader that goes away (`demo load | head`) must not kill the program before it has removed its server; the
	// write's error ends the load instead.
	signal.Ignore(syscall.SIGPIPE)

	status := report.ExitOK
	root := newRoot(&status)
	root.SetArgs(args)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	ctx := context.Background()
	switch part := append(args, "")[0]; part {
	case chaosPartName:
	case workerName, fencePartName:
		// A Ctrl-C in the terminal reaches a worker too. Its parent tells it to stop, in order.
		signal.Ignore(os.Interrupt, syscall.SIGHUP)
	default:
		// The second Ctrl-C ends the program on the spot: the worker processes go when they hear no more of their parent, and
		// so does a throwaway server.
		interruptible, stop := interrupt.Context(ctx, report.ErrInterrupted, func() {
			fmt.Fprintln(os.Stderr, "Interrupted again: leaving at once. A throwaway server is removed in the background;"+
				" in a database of yours a table named lockkeeper_demo_... may be left.")
			os.Exit(report.ExitInterrupted)
		})
		defer stop()
		ctx = interruptible
	}
	err := root.ExecuteContext(ctx)
	if err == nil {
		return status
	}
	if errors.Is(context.Cause(ctx), report.ErrInterrupted) {
		fmt.Fprintln(os.Stderr, "Interrupted; nothing was left behind.")
		return report.ExitInterrupted
	}
	fmt.Fprintf(os.Stderr, "Error: %v\n", err)
	if usage, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(os.Stderr, "See '%s --help'.\n", usage.command)
		return report.ExitUsage
	}
	return max(status, report.ExitFailed)
}
