// Package cli is the command line of the harness.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenarios"
	"github.com/lockkeeper/lockkeeper/bench/internal/systems"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// Exit statuses.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// Program is what the command line runs.
type Program struct {
	// Package is the import path of the main package: --baseline builds it again.
	Package string
	// OpenEtcd opens etcd's client, and ServeEtcd is an etcd inside this binary, which a hidden command runs as a process of its own.
	// It ends when in does. Tests have neither, which take minutes to compile.
	OpenEtcd  func(ctx context.Context, e harness.Env) (harness.Client, error)
	ServeEtcd func(ctx context.Context, in io.Reader, out io.Writer) error
	// Out is for results, Err for progress and errors.
	Out, Err io.Writer
}

func (p Program) catalogue() harness.Catalogue {
	return harness.Catalogue{Systems: systems.All(p.OpenEtcd), Scenarios: scenarios.All()}
}

// Execute runs the program and returns its exit status.
func (p Program) Execute(args []string) int {
	// A reader that goes away must not kill the harness before it has removed its servers.
	signal.Ignore(syscall.SIGPIPE)
	ctx := context.Background()
	if len(args) == 0 || args[0] != harness.Command { // processes of the harness's own end with their standard input instead
		// The second Ctrl-C ends the program on the spot, and then the servers go by themselves.
		interruptible, stop := interrupt.Context(ctx, errInterrupted, func() { os.Exit(ExitInterrupted) })
		defer stop()
		ctx = interruptible
	}
	root := p.root()
	root.SetArgs(args)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(p.Err, "Interrupted; nothing was left behind.")
		return ExitInterrupted
	}
	fmt.Fprintf(p.Err, "Error: %v\n", err)
	if _, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintln(p.Err, "See 'bench --help'.")
		return ExitUsage
	}
	return ExitFailed
}

// usageError is a mistake on the command line, as opposed to a failure of what it asked for.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hidden are the commands that the program runs of itself.
func (p Program) hidden() (commands []*cobra.Command) {
	for name, run := range map[string]func(ctx context.Context, in io.Reader, out io.Writer) error{
		systems.EtcdCommand: p.ServeEtcd,
		harness.Command: func(ctx context.Context, in io.Reader, out io.Writer) error {
			return harness.Child(ctx, p.catalogue(), in, out)
		},
	} {
		commands = append(commands, &cobra.Command{Use: name, Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), os.Stdin, cmd.OutOrStdout()) }})
	}
	return commands
}
