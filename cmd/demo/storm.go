package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/screen"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/storm"
)

const stormHelp = `Lets a great many goroutines queue for locks that somebody else holds, ends all their
contexts at one moment, and looks at what becomes of them: first on one key, then spread
over many.

It reports how long it took until the last call had returned, the memory before, at the peak
and after, what is left of goroutines, connections and server locks (nothing), and that the
keys can be taken again at once.`

const stormExamples = `  demo storm
      100,000 waiters on one key, then over 1,000 keys

  demo storm --waiters 1000000 --bound 30s
      as much as the machine's memory allows

  demo storm --shared
      all waiters wait with one and the same context`

func newStorm(status *int) *cobra.Command {
	var plan storm.Plan
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "storm",
		Short:   "A hundred thousand waiters are cancelled at once; every call must return",
		Long:    stormHelp,
		Example: stormExamples,
		Args:    noArguments,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return checkStorm(cmd, &plan) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan.DSN = serverOf(cmd, plan.DSN)
			return runStorm(cmd, plan, asJSON, status)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&plan.DSN, "dsn", "", "connection string of the server (default: $DATABASE_URL, else a throwaway server)")
	flags.IntVarP(&plan.Waiters, "waiters", "n", 100_000, "goroutines that queue")
	flags.IntVarP(&plan.Keys, "keys", "k", 1000, "keys of the second round; the first has one")
	flags.DurationVar(&plan.Bound, "bound", 2*time.Second, "how soon the last call must have returned")
	flags.BoolVar(&plan.Shared, "shared", false, "all waiters share one context, instead of each having one of its own below it")
	flags.BoolVar(&asJSON, "json", false, "print one JSON object on standard output; progress goes to standard error")
	return cmd
}

const (
	maxWaiters   = 10_000_000
	maxStormKeys = 100_000
)

func checkStorm(cmd *cobra.Command, p *storm.Plan) error {
	switch {
	case p.Waiters < 1 || p.Waiters > maxWaiters:
		return usage(cmd, "--waiters is %d: it must be between 1 and %d", p.Waiters, maxWaiters)
	case p.Keys < 1 || p.Keys > maxStormKeys:
		return usage(cmd, "--keys is %d: it must be between 1 and %d", p.Keys, maxStormKeys)
	case p.Bound < time.Millisecond || p.Bound > storm.MaxBound:
		return usage(cmd, "--bound is %v: it must be between 1ms and %v", p.Bound, storm.MaxBound)
	case cmd.Flags().Changed("dsn") && p.DSN == "":
		return usage(cmd, "--dsn is empty: leave it out for a throwaway server")
	}
	return nil
}

func runStorm(cmd *cobra.Command, plan storm.Plan, asJSON bool, status *int) error {
	progress := cmd.OutOrStdout()
	if asJSON {
		progress = cmd.ErrOrStderr()
	}
	result, err := storm.Run(cmd.Context(), plan, screen.New(progress))
	if result == nil {
		return err
	}
	*status = result.ExitStatus()
	out := cmd.OutOrStdout()
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if writeErr := encoder.Encode(result); writeErr != nil {
			return writeErr
		}
		return err
	}
	if writeErr := result.Text(out, screen.New(out).Style()); writeErr != nil {
		return writeErr
	}
	return err
}
