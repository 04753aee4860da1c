package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

  demo load     many processes fight for a few locks, and every grant is checked
  demo storm    100,000 waiters are cancelled at once
  demo chaos    servers, network and processes are broken on purpose (Linux)

None needs any set-up: without --dsn and without DATABASE_URL they start a PostgreSQL
of their own in a temporary folder, and remove it at the end, after a Ctrl-C too.

Exit status: 0 all held; 1 something did not, or the run failed; 2 a mistake on the
command line; 130 interrupted, after everything was closed and removed.`

const rootExamples = `  demo load                          a first look: ten seconds, a server of its own
  demo load --no-locks               the same without locks, to see the proof fail
  demo storm                         a hundred thousand cancellations at one moment
  demo chaos --seed 1                a minute of faults, the same ones each time
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
	addChaos(root, status)
	root.AddCommand(newVersion(), newWorker())
	return root
}

// flagError tells of a flag that is not understood. What may be a connection string, after a single dash say, is not
// repeated: it may hold a password.
func flagError(cmd *cobra.Command, err error) error {
	var given string
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		given = e.GetValue()
	} else if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		given = e.GetSpecifiedName() + e.GetSpecifiedShortnames()
	} else if e, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		given = e.GetSpecifiedFlag()
	} else if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		given = e.GetSpecifiedName() + e.GetSpecifiedShortnames()
	}
	if strings.ContainsAny(given, ":=@/") {
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
	if strings.ContainsAny(args[0], ":=@/") {
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

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Prints the versions of this program and of Go",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "demo %s (%s, %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// version is what the Go tool stamped into the program: a release's number, or the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = ", modified"
			}
		}
	}
	if revision == "" {
		return "development"
	}
	return "development, commit " + revision + modified
}
