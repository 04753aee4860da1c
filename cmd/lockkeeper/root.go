package main

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

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

const rootHelp = `Lockkeeper runs commands under distributed locks on the PostgreSQL that you already run: flock for
a fleet. The locks are those of the Go library of the same name, and advisory locks to everybody
else.

The connection string comes from --dsn, $LOCKKEEPER_DSN, $DATABASE_URL, or PGHOST, PGSERVICE and
the other variables of psql, in this order. A password is not taken from --dsn, since other users
of the machine can read it there: put it into the environment, ~/.pgpass or a service file.
PGHOSTADDR is refused: put the address into PGHOST.
Behind a pooler in transaction mode give --transaction-pooler, or LOCKKEEPER_TRANSACTION_POOLER=1.

Exit status: 0 it is so; 1 it is not, or it failed; 2 a mistake on the command line; 130
interrupted. That of "lockkeeper run" is CMD's own: see its help.`

const rootExamples = `  export LOCKKEEPER_DSN=postgres://app@db.internal/app
  lockkeeper doctor                                does this server serve for locks?
  lockkeeper run deploy -- ./deploy.sh             one of all machines at a time
  lockkeeper run --try backup -- pg_dump app       now or not at all
  lockkeeper run --once 5m report -- ./report.sh   from every replica's crontab
  lockkeeper ls deploy                             who holds it, who waits?`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:                        "lockkeeper",
		Short:                      "Runs commands under distributed locks on PostgreSQL, and shows who holds them",
		Long:                       rootHelp,
		Example:                    rootExamples,
		Version:                    commandline.Version(),
		SuggestionsMinimumDistance: 2,

		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate(fmt.Sprintf("lockkeeper {{.Version}} (%s, %s/%s)\n", runtime.Version(), runtime.GOOS, runtime.GOARCH))
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(), newList(), newID(), newTerminate(), newMigrate(), newDoctor(), newProve(), newMan(), newWatch(), newBecome(), newProveWorker())
	return root
}

// flagError tells of a flag that is not understood. What may be a connection string is not repeated: it may hold a password.
func flagError(cmd *cobra.Command, err error) error {
	if commandline.MayHoldPassword(commandline.Given(err)) {
		return usage(cmd, "a flag or its value is not understood, and not repeated here, as it may hold a password; a connection "+
			"string goes into LOCKKEEPER_DSN, or without a password after --dsn, with two dashes")
	}
	return usage(cmd, "%w", err)
}

var dsnURL = regexp.MustCompile(`^postgres(ql)?://`)

// noArguments refuses arguments. It repeats none that may hold a password.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if commandline.MayHoldPassword(args[0]) {
		return usage(cmd, "%q takes no arguments; a connection string goes into LOCKKEEPER_DSN", cmd.CommandPath())
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

// checkKeys refuses what is no key but a mistake.
func checkKeys(cmd *cobra.Command, keys []string) error {
	for _, key := range keys {
		switch {
		case key == "":
			return usage(cmd, "a key is empty: most often this is a variable that was not set")
		case dsnURL.MatchString(key), secretInDSN.MatchString(key):
			return usage(cmd, "a connection string is no key; it goes into LOCKKEEPER_DSN, or without a password after --dsn")
		}
	}
	return nil
}

// trimName takes the library's name off an error, since the program's stands before it.
func trimName(text string) string { return strings.TrimPrefix(text, "lockkeeper: ") }
