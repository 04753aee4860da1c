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
)

// Exit statuses.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// Serve is a server inside this binary, which is run as a process of its own by a hidden command. It ends when in does.
type Serve func(ctx context.Context, in io.Reader, out io.Writer) error

// Program is what the command line runs.
type Program struct {
	Catalogue harness.Catalogue
	// Servers by the hidden command that runs each.
	Servers map[string]Serve
	// Versions of the libraries under test, for the page.
	Out, Err io.Writer
}

// Execute runs the program and returns its exit status.
func (p Program) Execute(args []string) int {
	// A reader that goes away must not kill the harness before it has removed its servers.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := interruptible(args)
	defer stop()
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

// interruptible returns a context that ends with the first Ctrl-C or its like; the second ends the program on the spot,
// and then the servers go by themselves. Processes of the harness's own end with their standard input instead.
func interruptible(args []string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	if len(args) > 0 && args[0] == harness.Command {
		return ctx, func() { cancel(nil) }
	}
	signals := make(chan os.Signal, 2) // the first and the second, should nobody have looked in between
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-signals:
			case <-done:
				return
			}
			if n > 0 {
				os.Exit(ExitInterrupted)
			}
			cancel(errInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// hidden are the commands that the program runs of itself.
func (p Program) hidden() []*cobra.Command {
	commands := []*cobra.Command{{
		Use: harness.Command, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return harness.Child(cmd.Context(), p.Catalogue, os.Stdin, cmd.OutOrStdout())
		},
	}}
	for name, serve := range p.Servers {
		commands = append(commands, &cobra.Command{
			Use: name, Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return serve(cmd.Context(), os.Stdin, cmd.OutOrStdout())
			},
		})
	}
	return commands
}
