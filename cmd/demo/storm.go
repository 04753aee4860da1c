package main

import (
	"time"

	"github.com/spf13/cobra"

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
			result, err := storm.Run(cmd.Context(), plan, progressOf(cmd, asJSON))
			if result == nil {
				return err
			}
			return finish(cmd, result, asJSON, status, err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addDSN(flags, &plan.DSN)
	flags.IntVarP(&plan.Waiters, "waiters", "n", 100_000, "goroutines that queue")
	flags.IntVarP(&plan.Keys, "keys", "k", 1000, "keys of the second round; the first has one")
	flags.DurationVar(&plan.Bound, "bound", 2*time.Second, "how soon the last call must have returned")
	flags.BoolVar(&plan.Shared, "shared", false, "all waiters share one context, instead of each having one of its own below it")
	addJSON(flags, &asJSON)
	return cmd
}

func checkStorm(cmd *cobra.Command, p *storm.Plan) error {
	const maxWaiters, maxKeys = 10_000_000, 100_000
	switch {
	case p.Waiters < 1 || p.Waiters > maxWaiters:
		return usage(cmd, "--waiters is %d: it must be between 1 and %d", p.Waiters, maxWaiters)
	case p.Keys < 1 || p.Keys > maxKeys:
		return usage(cmd, "--keys is %d: it must be between 1 and %d", p.Keys, maxKeys)
	case p.Bound < time.Millisecond || p.Bound > storm.MaxBound:
		return usage(cmd, "--bound is %v: it must be between 1ms and %v", p.Bound, storm.MaxBound)
	}
	return serverOf(cmd, &p.DSN)
}
