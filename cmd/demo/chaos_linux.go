package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

const chaosHelp = `Worker processes take locks on a throwaway primary with a standby, while a nemesis breaks
things: sessions, backends, servers, the network, forwarders, processes, keepers. Everything
that is done is recorded and checked.

What is checked. Each operation is recorded with its beginning, its end and its outcome on
the machine's one monotonic clock, and written before it is acted on, so that a killed
worker loses no grant. Porcupine checks that each key's history is that of a lock: a hold
ends at the earliest of its release, its loss as it was told, and its session's end at
the server; what has no known outcome may have happened at any later time. Holders look
all the time whether they still hold (lock.Err). From the grant to the last look that said
yes they believe; two believers of one key are an overlap. And each holder does an
unguarded read-modify-write on its key's row in the database.

Kinds of locks. Half of the turns are for exclusive locks, the others for one of all kinds; the
seed says which. Those who share a key are readers in the model; they exclude writers, and
must read the same twice. A set of keys is one hold of each. A minimum hold, and the lock
of a period of Once, must not be granted again before its time is over, unless a fault may
have ended its session. A leader is a holder for as long as its function runs and its context
lives; its observer is told of each transition.

Waiting. By default every second worker process has hints by NOTIFY tell it when to try for
a lock, and the others wait in the server's queue; --wait has all of them do one or the other.

What is allowed. Where the server itself ends a session (terminate, a killed backend,
restart, failover) the next holder may be granted the lock before the old one has heard:
such overlaps are counted and measured, and are a violation when they outlast the trust. In
a partition or a freeze of either side the client has to give up first: no overlap is
allowed, and no look may say "held" once the trust has passed. A write that was on its way
when its hold ended is a stale write that only a fencing token can stop: it is counted, and
is a violation where no hold was ended that explains it.

The schedule of faults follows from the seed and the options alone: the same command makes
the same faults again. The old primary is stopped before the standby is promoted, and then
becomes the standby of the new one; that may happen as often as the schedule says.

The first worker process is never killed. The last ones (one in four) reach the server
through a forwarder. As root on Linux every process has a network namespace of its own;
otherwise the faults of the network are left out, and the report says so. Nothing outlives
the run, a Ctrl-C or a kill -9: namespaces and their packet filters go with their processes.`

const chaosExamples = `  demo chaos
      a first look: 4 processes x 8 workers on 32 keys, all faults, for a minute
  demo chaos --duration 10m --seed 1 --html report.html
      longer, repeatable, with a page that shows the grants over the faults
  demo chaos --faults partition,partition-to-server,freeze-worker
      only these
  demo chaos --faults all,-promote
      all but one
  demo chaos --kinds sets,nested
      only these kinds of locks
  demo chaos --pooler transaction
      the managers go through a PgBouncer in transaction mode before each server
  demo chaos --lie --duration 10s --faults none
      workers pretend now and then that they hold: shows that the check fails when it should
  demo chaos --json | jq .losses
      the result as one JSON object`

type chaosFlags struct {
	plan   plan.Plan
	faults string
	kinds  string
	json   bool
	html   string
}

func newChaos(status *int) *cobra.Command {
	var f chaosFlags
	cmd := &cobra.Command{
		Use:     "chaos",
		Short:   "Breaks everything around the locks by a seeded schedule, and checks what was done",
		Long:    chaosHelp + "\n\nKinds of locks:\n" + useList() + "\n\nFaults:\n" + faultList(),
		Example: chaosExamples,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return runChaos(cmd, &f, status)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVarP(&f.plan.Duration, "duration", "d", time.Minute, "how long the load goes on; longer where a slow machine has faults left to make")
	flags.Uint64VarP(&f.plan.Seed, "seed", "s", 0, "determines the schedule of faults (default: a new one, which is printed)")
	flags.StringVarP(&f.faults, "faults", "f", "all", "kinds of faults, separated by commas; -KIND leaves one out; none is none")
	flags.StringVar(&f.kinds, "kinds", "all", "kinds of locks, separated by commas; -KIND leaves one out")
	flags.StringVar(&f.plan.Wait, "wait", plan.Mixed, "how keys that another process holds are waited for: "+strings.Join(plan.Waits, ", "))
	flags.IntVarP(&f.plan.Processes, "processes", "p", 4, "worker processes, each with a lock manager of its own")
	flags.IntVarP(&f.plan.Workers, "workers", "w", 8, "goroutines in each process that take locks")
	flags.IntVarP(&f.plan.Keys, "keys", "k", 32, "keys that all of them take")
	flags.DurationVar(&f.plan.Hold, "hold", 4*time.Millisecond, "how long most hold; one in 25 holds for up to 1.5 s")
	flags.DurationVar(&f.plan.Calm, "calm", 500*time.Millisecond, "mean pause between one fault and the next")
	flags.DurationVar(&f.plan.Interval, "interval", 500*time.Millisecond, "health interval of the managers")
	flags.DurationVar(&f.plan.Timeout, "timeout", 500*time.Millisecond, "health timeout; interval + timeout is the trust, twice that the session timeout")
	flags.StringVar(&f.plan.Pooler, "pooler", "", "transaction: the managers go through a PgBouncer in that mode, with WithTransactionPooler")
	flags.BoolVar(&f.plan.Lie, "lie", false, "let workers pretend, to see the check fail")
	flags.BoolVar(&f.plan.Soak, "soak", false, "fail where memory, goroutines or descriptors of the workers grow")
	addJSON(flags, &f.json)
	flags.StringVar(&f.html, "html", "", "write the report as a page into this file")
	return cmd
}

func faultList() string {
	var b strings.Builder
	for _, about := range plan.Kinds {
		text := about.Text
		if about.Root {
			text += " (root)"
		}
		fmt.Fprintf(&b, "  %-22s %s\n", about.Kind, text)
	}
	return strings.TrimRight(b.String(), "\n")
}

func useList() string {
	var b strings.Builder
	for _, about := range plan.Uses {
		fmt.Fprintf(&b, "  %-22s %s\n", about.Use, about.Text)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (f *chaosFlags) check(cmd *cobra.Command) error {
	p := &f.plan
	for _, count := range []struct {
		flag       string
		value, max int
	}{{"processes", p.Processes, 100}, {"workers", p.Workers, 10_000}, {"keys", p.Keys, 100_000}} {
		if count.value < 1 || count.value > count.max {
			return usage(cmd, "--%s is %d: it must be between 1 and %d", count.flag, count.value, count.max)
		}
	}
	for _, d := range []struct {
		flag             string
		value, min, most time.Duration
	}{
		{"duration", p.Duration, time.Second, 30 * 24 * time.Hour},
		{"hold", p.Hold, time.Millisecond, time.Minute},
		{"calm", p.Calm, time.Millisecond, time.Hour},
		{"interval", p.Interval, 100 * time.Millisecond, time.Minute},
		{"timeout", p.Timeout, 100 * time.Millisecond, time.Minute},
	} {
		if d.value < d.min || d.value > d.most {
			return usage(cmd, "--%s is %v: it must be between %v and %v", d.flag, d.value, d.min, d.most)
		}
	}
	kinds, err := plan.ParseFaults(f.faults)
	if err != nil {
		return usage(cmd, "--faults: %w; see the list in '%s --help'", err, cmd.CommandPath())
	}
	p.Faults = kinds
	if p.Uses, err = plan.ParseUses(f.kinds); err != nil {
		return usage(cmd, "--kinds: %w; see the list in '%s --help'", err, cmd.CommandPath())
	}
	if !slices.Contains(plan.Waits, p.Wait) {
		return usage(cmd, "--wait is %q: it must be one of %s", p.Wait, strings.Join(plan.Waits, ", "))
	}
	if p.Pooler != "" && p.Pooler != "transaction" {
		return usage(cmd, "--pooler is %q: transaction is the only mode that differs", p.Pooler)
	}
	if p.Pooler != "" { // no notification comes through it
		if cmd.Flags().Changed("wait") && p.Wait != plan.InQueue {
			return usage(cmd, "--pooler and --wait %s do not go together: behind it all wait by %s", p.Wait, plan.InQueue)
		}
		p.Wait = plan.InQueue
	}
	if cmd.Flags().Changed("html") && f.html == "" {
		return usage(cmd, "--html is empty: it needs the name of a file")
	}
	if !cmd.Flags().Changed("seed") {
		p.Seed = uint64(rand.Uint32())
	}
	return nil
}

func runChaos(cmd *cobra.Command, f *chaosFlags, status *int) error {
	var page *os.File
	if f.html != "" { // found out before the run, not after it
		var err error
		if page, err = os.Create(f.html); err != nil {
			return err
		}
		defer page.Close()
	}
	result, err := chaos.Run(cmd.Context(), f.plan, progressOf(cmd, f.json), chaosPart)
	if result == nil {
		return err
	}
	if page != nil {
		err = errors.Join(err, result.HTML(page))
	}
	return finish(cmd, result, f.json, status, err)
}

// chaosPartName is the hidden command by which this program plays the other parts of a chaos run.
const chaosPartName = "chaos-part"

func chaosPart(part string) *exec.Cmd {
	cmd := workerCommand()
	cmd.Args = []string{cmd.Args[0], chaosPartName, part}
	return cmd
}

func newChaosPart() *cobra.Command {
	return &cobra.Command{
		Use:    chaosPartName,
		Short:  "One process of a chaos run; answers the one that started it",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return chaos.Serve(args[0], os.Stdin, os.Stdout) },
	}
}

// addChaos adds the commands that only Linux has.
func addChaos(root *cobra.Command, status *int) { root.AddCommand(newChaos(status), newChaosPart()) }
