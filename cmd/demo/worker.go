package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/locker"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// workerName is the hidden command that a worker process runs.
const workerName = "worker"

// isWorker tells a worker process, which leaves signals to its parent.
func isWorker(args []string) bool {
	return len(args) > 0 && (args[0] == workerName || args[0] == chaosPartName)
}

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
		RunE: func(*cobra.Command, []string) error {
			return worker.Run(os.Stdin, os.Stdout, openForWorker, func() {
				fmt.Fprintln(os.Stderr, "the parent process is gone")
				os.Exit(report.ExitFailed)
			})
		},
	}
}

func openForWorker(ctx context.Context, job wire.Job) (locker.Locker, error) {
	if job.NoLocks {
		return &locker.Everybody{}, nil
	}
	return locker.Open(ctx, locker.Options{
		DSN: job.DSN, App: job.App, Namespace: job.Namespace, Sessions: job.Limits.Sessions, MaxWaiters: job.Workers,
	})
}
