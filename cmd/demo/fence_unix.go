//go:build unix

package main

import (
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/fence"
)

const fenceHelp = `Shows what a fence is for. A process takes a lock, reads a counter, and is stopped (SIGSTOP).
Its session ends at the server, another process takes the lock over, reads, and writes. The
first is woken and writes what it had in mind, without a look at its lock: a program that is
stopped between the look and the write does no better.

Three times: without a fence, where one of two writes is lost; with manager.Guard in the
transaction that writes; and with lock.Token() compared in the row. Then again and again, in
the time that there is.

In a database of yours it makes a table lockkeeper_demo_... and, by manager.Migrate, the
schema lockkeeper. It removes both, and leaves a schema that was there before.`

const fenceExamples = `  demo fence
      half a minute, on a server of its own
  demo fence --dsn postgres://localhost/test
      on yours
  demo fence --duration 5m --json
      longer, with the result as one JSON object`

func newFence(status *int) *cobra.Command {
	var plan fence.Plan
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "fence",
		Short:   "A holder is stopped past its loss and woken: its write must not count",
		Long:    fenceHelp,
		Example: fenceExamples,
		Args:    noArguments,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if plan.Duration <= 0 || plan.Duration > 24*time.Hour {
				return usage(cmd, "--duration is %v: it must be more than 0 and at most 24h", plan.Duration)
			}
			return serverOf(cmd, &plan.DSN)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := fence.Run(cmd.Context(), plan, progressOf(cmd, asJSON), fencePart)
			if result == nil {
				return err
			}
			return finish(cmd, result, asJSON, status, err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addDSN(flags, &plan.DSN)
	flags.DurationVarP(&plan.Duration, "duration", "d", 24*time.Second, "how long the story is repeated, in all")
	addJSON(flags, &asJSON)
	return cmd
}

// fencePartName is the hidden command that a holder's process runs.
const fencePartName = "fence-part"

func fencePart() *exec.Cmd {
	cmd := workerCommand()
	cmd.Args = []string{cmd.Args[0], fencePartName}
	return cmd
}

func newFencePart() *cobra.Command {
	return &cobra.Command{
		Use:    fencePartName,
		Short:  "One holder of demo fence; answers the one that started it",
		Hidden: true,
		Args:   noArguments,
		RunE:   func(*cobra.Command, []string) error { return fence.Serve(os.Stdin, os.Stdout) },
	}
}

// addFence adds the commands that need signals which stop a process.
func addFence(root *cobra.Command, status *int) { root.AddCommand(newFence(status), newFencePart()) }
