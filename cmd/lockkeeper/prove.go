package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/lockkeeper/internal/proof"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const proveHelp = `Proves by trying that locks exclude on your own database, by the way that your programs take to
it: several processes contend for a few keys, and whoever is granted one looks whether somebody
else is inside.

It looks in two ways that have nothing to do with the locks or the database: by the operating
system's own lock of a file, which is refused if another holder is inside; and by a counter in the
file that each holder reads, and writes plus one after --hold: two at a time would lose a count.
Both must show nothing.

It makes no table, uses names of its own that no other program's locks meet, and leaves nothing
behind. It is load for the server: each process uses up to --keys + 5 connections. Without locks
it shows that it would see an overlap: lockkeeper prove --no-locks.

Exit status: 0 no two holders were inside at one time; 1 some were, nothing was granted, or
something failed; 2 a mistake on the command line; 130 interrupted.`

const proveExamples = `  lockkeeper prove
  lockkeeper prove --processes 8 --duration 1m --json
  lockkeeper prove --no-locks                        what a failure looks like`

// proving is what the user asked for.
type proving struct {
	database
	plan      proof.Plan
	processes int
	asJSON    bool
}

func newProve() *cobra.Command {
	p := new(proving)
	cmd := &cobra.Command{
		Use:     "prove",
		Short:   "Proves on your own database that locks exclude",
		Long:    proveHelp,
		Example: proveExamples,
		Args:    noArguments,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return p.check(cmd) },
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.run(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVarP(&p.processes, "processes", "p", 4, "processes that contend, each with a lock manager of its own")
	flags.IntVar(&p.plan.Workers, "workers", 8, "goroutines in each process that take locks")
	flags.IntVarP(&p.plan.Keys, "keys", "k", 3, "keys that all of them take")
	flags.DurationVar(&p.plan.Hold, "hold", time.Millisecond, "how long a holder stays inside")
	flags.DurationVarP(&p.plan.Duration, "duration", "d", 10*time.Second, "how long they contend")
	flags.BoolVar(&p.plan.NoLocks, "no-locks", false, "let everybody in, to see the proof fail")
	flags.BoolVar(&p.asJSON, "json", false, "print one JSON object")
	p.add(cmd)
	return cmd
}

func (p *proving) check(cmd *cobra.Command) error {
	const most, longest = 1000, 24 * time.Hour
	for _, count := range []struct {
		flag  string
		value int
	}{{"processes", p.processes}, {"workers", p.plan.Workers}, {"keys", p.plan.Keys}} {
		if count.value < 1 || count.value > most {
			return usage(cmd, "--%s is %d: it must be between 1 and %d", count.flag, count.value, most)
		}
	}
	switch {
	case p.plan.Hold < 0 || p.plan.Hold > time.Minute:
		return usage(cmd, "--hold is %v: it must be between 0 and 1m", p.plan.Hold)
	case p.plan.Duration <= 0 || p.plan.Duration > longest:
		return usage(cmd, "--duration is %v: it must be more than 0 and at most %v", p.plan.Duration, longest)
	}
	return nil
}

func (p *proving) run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	dsn, _, err := resolveDSN(cmd, p.dsn)
	if err != nil {
		return err
	}
	// One connection first, so that a mistake is told once and not by each process.
	p.namespace = "lockkeeper prove " + rand.Text()
	m, err := p.open(ctx, cmd, "lockkeeper prove")
	if err != nil {
		return err
	}
	defer func() { _ = closeManager(ctx, m) }()
	if p.plan.Folder, err = os.MkdirTemp("", "lockkeeper-prove-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(p.plan.Folder) }()
	if err := proof.CreateFiles(p.plan.Folder, p.plan.Keys); err != nil {
		return err
	}
	p.plan.Namespace, p.plan.Hash, p.plan.Pooled = p.namespace, p.hash, p.pooled
	team, err := proof.StartTeam(proof.Worker{Arguments: []string{proveWorkerName}, Environment: p.environment(dsn)}, p.processes, p.plan)
	if err != nil {
		return err
	}
	if !p.asJSON {
		fmt.Fprintf(cmd.OutOrStdout(), "%d processes x %d workers contend for %d keys, for %v.\n", p.processes, p.plan.Workers, p.plan.Keys, p.plan.Duration)
	}
	result, err := team.Run(ctx)
	if err != nil {
		return exitError{exitFailed, err} // although it was interrupted at the same time
	}
	result.Interrupted = errors.Is(context.Cause(ctx), errInterrupted)
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), askingBound)
	defer cancel()
	if result.Counted, err = proof.Count(p.plan.Folder, p.plan.Keys); err != nil {
		return err
	}
	for began := time.Now(); ; { // a backend may end later than the process that has hung up
		if result.Left, err = p.countLeft(tidy, m); err != nil {
			return err
		}
		if result.Left == 0 || time.Since(began) > leftBound || interrupt.Sleep(tidy, 50*time.Millisecond) != nil {
			break
		}
	}
	return p.report(cmd.OutOrStdout(), result)
}

// environment is a worker's: the connection string is in it, as other users cannot read it there.
func (p *proving) environment(dsn string) []string {
	return append(os.Environ(), "LOCKKEEPER_DSN="+dsn, "LOCKKEEPER_SECRET_FILE="+p.secretFile)
}

// leftBound is for how long locks that are left are counted again.
const leftBound = 5 * time.Second

// countLeft is how many locks of the run are still held.
func (p *proving) countLeft(ctx context.Context, m *manager.Manager) (int, error) {
	locks, err := m.Locks(ctx)
	if err != nil {
		return 0, err
	}
	ids := make(map[int64]bool)
	for i := range p.plan.Keys {
		ids[m.Key(proof.Key(i)).ID()] = true
	}
	left := 0
	for _, lock := range locks {
		if ids[lock.ID] {
			left += len(lock.Holders) + len(lock.Waiters)
		}
	}
	return left, nil
}

func (p *proving) report(w io.Writer, r *proof.Result) error {
	problem := r.Problem()
	var err error
	if p.asJSON {
		err = printJSON(w, r, false)
	} else {
		_, err = fmt.Fprintf(w, "%d grants in %v, %.0f a second; longest wait %v\n%d overlaps, %d counted, %d losses, %d locks left\n", r.Grants,
			r.Took.Round(10*time.Millisecond), float64(r.Grants)/r.Took.Seconds(), r.LongestWait.Round(time.Millisecond), r.Overlaps, r.Counted, r.Losses, r.Left)
		if err == nil && problem == nil {
			_, err = fmt.Fprintln(w, "No two holders were inside at one time.")
		}
	}
	switch {
	case err != nil:
		return err
	case problem != nil && p.asJSON:
		return exitError{exitFailed, nil} // it is in the object
	case problem != nil: // an interruption makes it no better
		return exitError{exitFailed, problem}
	case r.Interrupted:
		return errInterrupted
	}
	return nil
}

const proveWorkerName = "prove-worker"

func newProveWorker() *cobra.Command {
	return &cobra.Command{
		Use:    proveWorkerName,
		Short:  "One process of a proof; takes its orders from the one that started it",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return proof.Serve(os.Stdin, os.Stdout, func(plan proof.Plan) (*manager.Manager, error) {
				d := database{
					naming: naming{namespace: plan.Namespace, hash: plan.Hash, secretFile: os.Getenv("LOCKKEEPER_SECRET_FILE")},
					pooled: plan.Pooled,
				}
				waiting := min(plan.Keys+1, 16)
				return d.open(cmd.Context(), cmd, "lockkeeper prove", manager.WithWaitingSessions(waiting), manager.WithMaxSessions(waiting+4))
			})
		},
	}
}
