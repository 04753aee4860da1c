package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/lockkeeper/internal/job"
	"github.com/lockkeeper/lockkeeper/manager"
)

const runHelp = `Waits for the lock of KEY, runs CMD while holding it, and releases it when CMD has ended.
Everybody who takes the lock of the same key on the same database, here or elsewhere, by this
command or by the library, runs one after the other. Several keys are one lock: all or none,
without deadlocks.

CMD has standard input, output and error of this command, and its environment with

  LOCKKEEPER_KEY      the key; of several, one a line
  LOCKKEEPER_ID       the lock's number at the server; of several, one a line
  LOCKKEEPER_TOKEN    with --token: a number greater than that of every earlier holder
  LOCKKEEPER_SLOT     with --slots: which slot, from 0
  LOCKKEEPER_PERIOD   with --once: when the period began

One that would have more than 128 KiB, as the ids of 6,400 keys have, is left out.

CMD has a process group of its own. INT, TERM, HUP, QUIT, USR1, USR2, TSTP and WINCH are forwarded
to it. In a terminal CMD is in the foreground when it reads, and Ctrl-Z stops both. The lock is
held until all of the group has ended: also what CMD has left in the background. What leaves the
group is not waited for, nor ended: a daemon, or what CMD runs by setsid, by GNU timeout without
--foreground, or by sudo with a terminal of its own. As CMD itself timeout stays.

When the lock is lost, since the server or the way to it failed, the group gets TERM, and KILL
after --grace. Somebody else may hold the lock already by then; --grace 0 kills at once. When this
command itself is killed (KILL, out of memory), the group is killed too.

With --once PERIOD one of all who call it in the same period runs CMD. Periods are counted in UTC:
with 1h one begins at each full hour. The one that ran it stays until the period is over, as the
lock ends with its connection: give a PERIOD that is as long as the callers' clocks and starts may
differ, not more. INT, TERM, HUP or QUIT, also one that has ended CMD, ends that, and the lock.

Exit status:
  0 to 255  CMD's own; 128+n if signal n ended it
  123       the lock was lost while CMD or its group ran
  124       the lock was not acquired: --try, --timeout, or --once and the period has its run
            (--conflict-status gives another)
  125       a mistake on the command line, no connection, or another failure of lockkeeper's
  126       CMD cannot be run
  127       there is no such CMD
  128+n     signal n came while the lock was waited for`

const runExamples = `  lockkeeper run deploy -- ./deploy.sh production
      wait, then run it, on one of all machines at a time

  lockkeeper run --try backup -- pg_dump app
      run it now or not at all

  lockkeeper run --timeout 30s account/7 account/42 -- ./transfer
      both locks within half a minute, or none

  lockkeeper run --shared catalogue -- ./serve
      beside others who share it; "lockkeeper run catalogue -- ./rebuild" is alone

  lockkeeper run --slots 3 render -- ./render scene.blend
      three at a time, over all machines

  lockkeeper run --token deploy -- sh -c './deploy.sh --fence "$LOCKKEEPER_TOKEN"'
      what the script writes to can refuse a smaller number than it has seen

  0 * * * *  lockkeeper run --once 5m --conflict-status 0 report -- ./report.sh
      in the crontab of every replica: one of them runs it each hour`

const runName = "run"

// runPlan is what the user asked for, checked.
type runPlan struct {
	database
	keys            []string
	command         []string
	path            string
	try, shared     bool
	token           bool
	slots           int
	once, clockSkew time.Duration
	timeout, grace  time.Duration
	conflictStatus  int
	bounded         bool
	verbose         bool
	messages        *messages
}

func newRun() *cobra.Command {
	p := new(runPlan)
	cmd := &cobra.Command{
		Use: runName + " [FLAG...] KEY... -- CMD [ARG...]",
		// What stands behind -- is CMD's.
		DisableFlagsInUseLine: true,
		Short:                 "Runs a command while holding a lock",
		Long:                  runHelp,
		Example:               runExamples,
		ValidArgsFunction:     completeRun,
		Args:                  func(cmd *cobra.Command, args []string) error { return p.parse(cmd, args) },
		RunE:                  func(cmd *cobra.Command, _ []string) error { return p.run(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVarP(&p.try, "try", "n", false, "do not wait: fail if the lock is held")
	flags.DurationVarP(&p.timeout, "timeout", "w", 0, "how long to wait for the lock, once connected (default: for ever)")
	flags.BoolVarP(&p.shared, "shared", "s", false, "share the lock with others that use --shared")
	flags.IntVar(&p.slots, "slots", 0, "take one of n slots of the key; all who use it need the same n")
	flags.BoolVar(&p.token, "token", false, "draw a fencing token for CMD; the database needs \"lockkeeper migrate\"")
	flags.DurationVar(&p.once, "once", 0, "run it in one of all who call this in the same period, counted in UTC")
	flags.DurationVar(&p.clockSkew, "clock-skew", 10*time.Second, "with --once: the most that the callers' clocks differ by")
	flags.DurationVar(&p.grace, "grace", 5*time.Second, "between TERM and KILL, when the lock is lost")
	flags.IntVarP(&p.conflictStatus, "conflict-status", "E", exitNotAcquired, "the exit status when the lock was not acquired")
	flags.BoolVarP(&p.verbose, "verbose", "v", false, "tell on standard error of the wait, and when the lock is acquired and released")
	p.database.add(cmd)
	return cmd
}

// completeRun completes nothing before --, where keys are, and files behind it, where a command is.
// The command line itself is looked at, since cobra has parsed it with a -- at its end by then.
func completeRun(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if slices.Contains(os.Args[:len(os.Args)-1], "--") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// parse checks the command line.
func (p *runPlan) parse(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	if second := slices.Index(args, "--"); dash == 0 && second > 0 { // run -- -KEY -- CMD
		dash, args = second, slices.Delete(args, second, second+1)
	}
	switch {
	case dash < 0:
		return usage(cmd, "put -- between the keys and the command: lockkeeper run KEY -- CMD")
	case dash == 0:
		return usage(cmd, "there is no key before --: lockkeeper run KEY -- CMD")
	case dash == len(args):
		return usage(cmd, "there is no command after --: lockkeeper run KEY -- CMD")
	}
	p.keys, p.command = args[:dash], args[dash:]
	if err := checkKeys(cmd, p.keys); err != nil {
		return err
	}
	changed := cmd.Flags().Changed
	p.bounded = changed("timeout")
	kinds := 0
	for _, name := range []string{"shared", "slots", "once"} {
		if changed(name) {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return usage(cmd, "--shared, --slots and --once exclude each other")
	case kinds == 1 && len(p.keys) > 1:
		return usage(cmd, "--shared, --slots and --once are for one key, and %d were given", len(p.keys))
	case p.token && kinds > 0:
		return usage(cmd, "--token is for exclusive locks: leave --shared, --slots and --once out")
	case p.try && p.bounded:
		return usage(cmd, "--try does not wait: leave --timeout out")
	case p.timeout < 0:
		return usage(cmd, "--timeout is %v: it must not be negative", p.timeout)
	case p.bounded && changed("once"):
		return usage(cmd, "--once does not wait: leave --timeout out")
	case changed("slots") && (p.slots < 1 || p.slots > manager.MaxSlots):
		return usage(cmd, "--slots is %d: it must be between 1 and %d", p.slots, manager.MaxSlots)
	case changed("once") && p.once < time.Second:
		return usage(cmd, "--once is %v: a period is at least a second", p.once)
	case p.clockSkew < 0:
		return usage(cmd, "--clock-skew is %v: it must not be negative", p.clockSkew)
	case p.grace < 0:
		return usage(cmd, "--grace is %v: it must not be negative", p.grace)
	case p.conflictStatus < 0 || p.conflictStatus > 255:
		return usage(cmd, "--conflict-status is %d: it must be between 0 and 255", p.conflictStatus)
	}
	return nil
}

func (p *runPlan) tell(format string, args ...any) { p.messages.tell(format, args...) }

func (p *runPlan) say(format string, args ...any) {
	if p.verbose {
		p.tell(format, args...)
	}
}

// find looks for the command before anybody waits for a lock in vain.
func (p *runPlan) find() error {
	path, err := exec.LookPath(p.command[0])
	p.path = path
	if errors.Is(err, exec.ErrDot) { // found in the current folder, by a PATH that says so
		err = nil
	}
	return cannotRun(p.command[0], err)
}

func cannotRun(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return exitError{exitNoCommand, fmt.Errorf("%s: command not found", name)}
	}
	return exitError{exitCannotRun, fmt.Errorf("cannot run %w", job.Describe(name, err))}
}

// failed gives an error of an acquisition its status.
func (p *runPlan) failed(err error) error {
	var signal signalError
	switch {
	case errors.As(err, new(exitError)), errors.As(err, new(usageError)):
		return err
	case errors.As(err, &signal):
		return exitError{exitSignal + int(signal.Signal), fmt.Errorf("not acquired: %w", signal)}
	case errors.Is(err, manager.ErrNotAcquired), errors.Is(err, manager.ErrWaitTimeout):
		return exitError{p.conflictStatus, err}
	case errors.Is(err, manager.ErrNotMigrated):
		err = fmt.Errorf("%w; \"lockkeeper migrate\" makes them", err)
	}
	return exitError{exitTrouble, err}
}

// run acquires, runs and releases.
func (p *runPlan) run(cmd *cobra.Command) (err error) {
	if err := p.find(); err != nil {
		return err
	}
	p.messages = startMessages(os.Stderr)
	defer p.messages.close()
	signals := catchSignals()
	defer signals.stop()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	signals.endOn(cancel)
	watchdog, err := startWatchdog()
	if err != nil {
		return exitError{exitTrouble, fmt.Errorf("starting the watchdog: %w", err)}
	}
	defer watchdog.Close()
	m, err := p.open(ctx, cmd, applicationName("run", p.keys), manager.WithClockSkew(p.clockSkew))
	if err != nil {
		return p.failed(err)
	}
	defer func() {
		if closeErr := closeManager(ctx, m); closeErr != nil {
			p.tell("%s", trimName(closeErr.Error())) // the server frees what the end of this process leaves
		}
	}()
	h := &holding{runPlan: p, m: m, signals: signals, watchdog: watchdog}
	status, err := h.work(ctx)
	switch {
	case err != nil:
		return p.failed(withHolder(cmd.Context(), m, err))
	case status != 0:
		return exitError{status, nil}
	}
	return nil
}

// askBound bounds the question who holds a lock that was not acquired.
const askBound = 3 * time.Second

// withHolder adds to the error of a try, which asks nobody, who holds the lock.
func withHolder(ctx context.Context, m *manager.Manager, err error) error {
	refused, ok := errors.AsType[*manager.AcquireError](err)
	if !ok || refused.Holder != nil || !errors.Is(err, manager.ErrNotAcquired) && !errors.Is(err, manager.ErrWaitTimeout) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	locks, listErr := m.Locks(ctx)
	if listErr != nil {
		return err
	}
	for _, lock := range locks {
		if lock.ID != refused.ID {
			continue
		}
		for _, s := range lock.Holders {
			err = fmt.Errorf("%w; %s", err, heldBy(s))
		}
	}
	return err
}

const (
	watchName  = "watch-group"
	becomeName = "become-command"
)

// startWatchdog starts this program once more. The command begins as a third.
func startWatchdog() (*job.Watchdog, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return job.StartWatchdog(program, []string{watchName}, []string{becomeName})
}

func newWatch() *cobra.Command {
	return &cobra.Command{
		Use:    watchName,
		Short:  "Kills a process group when the lockkeeper that started this is killed or stopped",
		Hidden: true,
		Args:   noArguments,
		Run:    func(*cobra.Command, []string) { job.Watch(os.Stdin) },
	}
}

func newBecome() *cobra.Command {
	return &cobra.Command{
		Use:                becomeName,
		Short:              "Names its process group to the watchdog, and becomes the command of run",
		Hidden:             true,
		DisableFlagParsing: true, // they are the command's
		RunE: func(_ *cobra.Command, args []string) error {
			_ = job.Become(args) // it returns only where it fails, and its parent tells of that
			return exitError{exitCannotRun, nil}
		},
	}
}
