package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/load"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

const loadHelp = `Runs several worker processes, each with a lock manager of its own, that take the
same keys, and proves that the locks exclude.

The proof. Each key has a row with a counter in the database. Whoever holds the key's lock
reads the counter, holds on for --hold, and writes back what it read plus one, with nothing
to guard it but the lock. Two holders at one time would overwrite each other, and the counter
would stay behind. At the end every counter must equal the acquisitions that were granted.
A second detector, memory that all processes share, must agree.

With --readers some share the lock. A reader reads the counter at the beginning and at the
end of its hold, which is --hold long too: it must not have changed, and the second detector
must not show a writer in the meantime. Readers and writers are then told apart in the result.

What is left behind is counted after every manager has been closed, while the processes
still run: locks and connections on the server, goroutines in the processes. All must be 0.

Waiting. By default managers tell each other by NOTIFY when to try for a lock
(manager.WithNotify), so that a contended key needs no session. With --wait queue each
waits in the server's queue, on a session of its own, as is the library's default.

The page. With --ui a page at that address shows the run as it goes: throughput, waits, keys
by state, sessions, losses and faults, and at the end the verdict. A port alone, or auto for
a free one, serves this machine only. Another address, as 0.0.0.0:8080, shows the figures and
the texts of errors to everybody who reaches it. The page ends with the run: what an open
browser shows stays, and can be loaded again with --ui-keep 10m alone, which serves the page
for so long after the run. Slow browsers do not slow the load down.

The server. Without --dsn and DATABASE_URL a throwaway PostgreSQL is started and removed.
With one of them the load runs there, in a table of its own that is dropped at the end, and
with names of its own that no other program's locks meet. Prefer DATABASE_URL where the
string has a password: other users of a machine can read a program's arguments.`

const loadExamples = `  demo load
      a first look: 4 processes x 50 workers on 20 keys, for 10 seconds

  demo load --processes 4 --workers 200 --keys 50 --cancel 0.2 --duration 20s
      more of everything, and one acquisition in five is cancelled while it waits

  demo load --keys 1 --hold 0
      one key that all want: how fast is it handed from one holder to the next?

  demo load --keys 1000 --skew zipf
      many keys, a few of them hot, as it is in most services

  demo load --readers 0.95
      19 acquisitions in 20 share the lock, the others exclude them

  demo load --wait queue
      waiting keys queue in the server, in strict order over all processes

  demo load --duration 1m --ui 8080
      watched in a browser at http://127.0.0.1:8080

  demo load --ui auto --ui-keep 1h
      the page can be opened, or loaded again, after the run too, until Ctrl-C

  demo load --no-locks
      everybody is let in: shows that the proof fails when it should

  DATABASE_URL=postgres://app@db.example:5432/app demo load --duration 1m --json
      on a server of yours, with the result as one JSON object on standard output`

func newLoad(status *int) *cobra.Command {
	var plan load.Plan
	var asJSON bool
	var ui pageFlags
	cmd := &cobra.Command{
		Use:     "load",
		Short:   "Many processes take the same few locks; proves that no two hold one at a time",
		Long:    loadHelp,
		Example: loadExamples,
		Args:    noArguments,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := ui.check(cmd); err != nil {
				return err
			}
			return checkPlan(cmd, &plan)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			view := progressOf(cmd, asJSON)
			page, err := ui.open(cmd, view)
			if err != nil {
				return err
			}
			result, err := page.run(cmd.Context(), plan, view)
			if result == nil {
				return errors.Join(err, page.close(cmd.Context(), false))
			}
			if err = finish(cmd, result, asJSON, status, err); asJSON {
				// The object has no room for what only people read.
				for _, problem := range result.Problems {
					cmd.PrintErrln("Problem:", problem)
				}
			}
			return errors.Join(err, page.close(cmd.Context(), true))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addDSN(flags, &plan.DSN)
	flags.IntVarP(&plan.Processes, "processes", "p", 4, "worker processes, each with a lock manager of its own")
	flags.IntVarP(&plan.Workers, "workers", "w", 50, "goroutines in each process that take locks")
	flags.IntVarP(&plan.Keys, "keys", "k", 20, "keys that all of them take")
	flags.StringVar(&plan.Skew, "skew", "uniform", "how the load spreads over the keys: "+strings.Join(worker.Skews, " or "))
	flags.DurationVar(&plan.Hold, "hold", time.Millisecond, "how long a holder holds, besides its read and its write")
	flags.DurationVarP(&plan.Duration, "duration", "d", 10*time.Second, "how long the load goes on")
	flags.Float64Var(&plan.Cancel, "cancel", 0, "fraction of the acquisitions, 0 to 1, that is cancelled on the way")
	flags.Float64Var(&plan.Readers, "readers", 0, "fraction of the acquisitions, 0 to 1, that shares the lock with others of its kind")
	flags.IntVar(&plan.Sessions, "sessions", 0, "the most database sessions for locks in each process (default: up to 20, as the server allows)")
	flags.StringVar(&plan.Wait, "wait", worker.ByHints, "how a key that another process holds is waited for: "+strings.Join(worker.WaysToWait, " or "))
	flags.BoolVar(&plan.NoLocks, "no-locks", false, "grant everything at once, to see the proof fail")
	ui.add(flags)
	addJSON(flags, &asJSON)
	// It could only complain about a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("skew", cobra.FixedCompletions(worker.Skews, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions(worker.WaysToWait, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func checkPlan(cmd *cobra.Command, p *load.Plan) error {
	// Beyond these a mistyped number is likelier than a machine that can do it.
	const maxSessions, maxDuration = 10_000, 30 * 24 * time.Hour
	for _, count := range []struct {
		flag       string
		value, max int
	}{
		{"processes", p.Processes, 1000},
		{"workers", p.Workers, 1_000_000},
		{"keys", p.Keys, 1_000_000},
	} {
		if count.value < 1 || count.value > count.max {
			return usage(cmd, "--%s is %d: it must be between 1 and %d", count.flag, count.value, count.max)
		}
	}
	switch {
	case !slices.Contains(worker.Skews, p.Skew):
		return usage(cmd, "--skew is %q: it must be %s", p.Skew, strings.Join(worker.Skews, " or "))
	case !slices.Contains(worker.WaysToWait, p.Wait):
		return usage(cmd, "--wait is %q: it must be %s", p.Wait, strings.Join(worker.WaysToWait, " or "))
	case p.Hold < 0 || p.Hold > maxDuration:
		return usage(cmd, "--hold is %v: it must be between 0 and %v", p.Hold, maxDuration)
	case p.Duration <= 0 || p.Duration > maxDuration:
		return usage(cmd, "--duration is %v: it must be more than 0 and at most %v", p.Duration, maxDuration)
	case !(p.Cancel >= 0 && p.Cancel <= 1): // written so that NaN, which flags take, is refused
		return usage(cmd, "--cancel is %v: it must be between 0 (none) and 1 (all)", p.Cancel)
	case !(p.Readers >= 0 && p.Readers <= 1):
		return usage(cmd, "--readers is %v: it must be between 0 (none) and 1 (all)", p.Readers)
	case cmd.Flags().Changed("sessions") && (p.Sessions < 2 || p.Sessions > maxSessions):
		return usage(cmd, "--sessions is %d: it must be between 2 and %d, since one session holds and one waits", p.Sessions, maxSessions)
	}
	return serverOf(cmd, &p.DSN)
}

// workerName is the hidden command that a worker process runs.
const workerName = "worker"

// workerCommand starts this same program again, as a worker.
func workerCommand() *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	// A worker ends when it hears no more of its parent: no context is needed to end it.
	return exec.CommandContext(context.Background(), program, workerName)
}

func newWorker() *cobra.Command {
	return &cobra.Command{
		Use:    workerName,
		Short:  "One process of a load; takes its orders from the one that started it",
		Hidden: true,
		Args:   noArguments,
		RunE:   func(*cobra.Command, []string) error { return worker.Run(os.Stdin, os.Stdout) },
	}
}
