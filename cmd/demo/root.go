package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/commandline"
)

// usageError is a mistake on the command line, as opposed to a failure of what it asked for.
type usageError struct {
	command string
	err     error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return usageError{command: cmd.CommandPath(), err: fmt.Errorf(format, args...)}
}

const rootHelp = `Lockkeeper gives Go programs distributed locks on the PostgreSQL they already run.
This program puts it under load and looks for what must never happen: two holders of
one lock, a call that does not return, something left behind.

  demo load     many processes take the same few locks, and every grant is checked
  demo storm    100,000 waiters are cancelled at once
  demo fence    a holder is stopped past its loss and woken: its write must not count
  demo chaos    servers, network and processes are broken on purpose (Linux)
  demo server   no load: a server to try the command lockkeeper on

None needs any set-up: without --dsn and without DATABASE_URL they start a PostgreSQL
of their own in a temporary folder, and remove it at the end, after a Ctrl-C too.

Exit status: 0 all held; 1 something did not, or the run failed; 2 a mistake on the
command line; 130 interrupted, after everything was closed and removed.`

const rootExamples = `  demo load                          a first look: ten seconds, a server of its own
  demo load --no-locks               the same without locks, to see the proof fail
  demo storm                         a hundred thousand cancellations at one moment
  demo fence                         half a minute
  demo chaos --seed 1                a minute of faults, the same ones each time
  demo server                        a PostgreSQL to try things on, until Ctrl-C
  demo load --help                   all that can be set`

func newRoot(status *int) *cobra.Command {
	root := &cobra.Command{
		Use:     "demo",
		Short:   "Puts Lockkeeper under load and proves that its locks exclude",
		Long:    rootHelp,
		Example: rootExamples,
		// How many letters a mistyped command may be off to be recognised.
		SuggestionsMinimumDistance: 2,

		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newLoad(status), newStorm(status))
	addFence(root, status)
	addChaos(root, status)
	root.AddCommand(newServer(), newVersion(), newWorker())
	return root
}

// flagError tells of a flag that is not understood. What may be a connection string, after a single dash say, is not
// repeated: it may hold a password.
func flagError(cmd *cobra.Command, err error) error {
	if commandline.MayHoldPassword(commandline.Given(err)) {
		return usage(cmd, "a flag or its value is not understood, and not repeated here, as it may hold a password; a connection "+
			"string goes after --dsn, with two dashes, or into DATABASE_URL")
	}
	return usage(cmd, "%w", err)
}

// noArguments refuses arguments without repeating them where they may be a connection string with a password.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if commandline.MayHoldPassword(args[0]) {
		return usage(cmd, "%q takes no arguments; a connection string goes after --dsn, or into DATABASE_URL", cmd.CommandPath())
	}
	if !cmd.HasParent() {
		message := fmt.Sprintf("unknown command %q", args[0])
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			message += fmt.Sprintf("; did you mean %q?", near[0])
		}
		return usage(cmd, "%s", message)
	}
	return usage(cmd, "%q takes no arguments, and was given %q", cmd.CommandPath(), args[0])
}

func addDSN(flags *pflag.FlagSet, dsn *string) {
	flags.StringVar(dsn, "dsn", "", "connection string of the server (default: $DATABASE_URL, else a throwaway server)")
}

// serverOf checks the flag, and takes the environment's word where there is none.
func serverOf(cmd *cobra.Command, dsn *string) error {
	if !cmd.Flags().Changed("dsn") {
		*dsn = os.Getenv("DATABASE_URL")
	} else if *dsn == "" {
		return usage(cmd, "--dsn is empty: leave it out for a throwaway server")
	}
	return nil
}

func addJSON(flags *pflag.FlagSet, asJSON *bool) {
	flags.BoolVar(asJSON, "json", false, "print one JSON object on standard output; progress goes to standard error")
}

// progressOf is where a command shows its progress.
func progressOf(cmd *cobra.Command, asJSON bool) *report.Screen {
	if asJSON {
		return report.NewScreen(cmd.ErrOrStderr())
	}
	return report.NewScreen(cmd.OutOrStdout())
}

// result is what a command ends with. As JSON it is one object.
type result interface {
	ExitStatus() int
	Text(w io.Writer, style report.Style) error
}

// finish writes the result. runErr is what else went wrong.
func finish(cmd *cobra.Command, r result, asJSON bool, status *int, runErr error) error {
	*status = r.ExitStatus()
	out := cmd.OutOrStdout()
	var err error
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		err = r.Text(out, report.NewScreen(out).Style())
	}
	return cmp.Or(err, runErr)
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Prints the versions of this program and of Go",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "demo %s (%s, %s/%s)\n", commandline.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
