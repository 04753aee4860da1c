package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/live"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/load"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

// kept is how many events of the frequent kinds browsers that come late are sent. The page's script keeps as many.
var kept = map[string]int{load.EventSample: 600, load.EventFault: 200}

func addPage(flags *pflag.FlagSet, at *string) {
	flags.StringVar(at, "ui", "", "show the run in browsers, by a page at this address: a port, 127.0.0.1:PORT, or auto for a free port")
}

func checkPage(cmd *cobra.Command, at string) error {
	if !cmd.Flags().Changed("ui") {
		return nil
	}
	if _, err := live.ParseAddress(at); err != nil {
		return usage(cmd, "--ui is %w", err)
	}
	return nil
}

// runWatched runs a plan, and serves its page where there is an address for it. Its end does not wait for slow browsers.
func runWatched(cmd *cobra.Command, plan load.Plan, at string, view *report.Screen) (_ *load.Report, err error) {
	if at == "" {
		return load.Run(cmd.Context(), plan, view, nil, workerCommand)
	}
	page, err := servePage(cmd.Context(), cmd, at, view)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, page.Close()) }()
	page.Publish(load.EventPhase, load.Starting)
	result, err := load.Run(cmd.Context(), plan, view, page, workerCommand)
	page.Publish(load.EventResult, load.OutcomeOf(result, err))
	return result, err
}

func servePage(ctx context.Context, cmd *cobra.Command, at string, view *report.Screen) (*live.Server, error) {
	address, err := live.ParseAddress(at)
	if err != nil {
		return nil, usage(cmd, "--ui is %w", err)
	}
	page, err := live.Listen(ctx, address, server.NewRun(), kept)
	if err != nil {
		return nil, err
	}
	if !address.Local() {
		cmd.PrintErrln("Warning: everybody who reaches this machine's", address.IP, "can open the page. It shows figures and texts of errors, and takes no input.")
	}
	if err := view.Say("Watch it at %s", page.URL()); err != nil {
		return nil, errors.Join(err, page.Close())
	}
	return page, nil
}
