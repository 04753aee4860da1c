package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/live"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/load"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// kept is how many events of the frequent kinds browsers that come late are sent. The page's script keeps as many.
var kept = map[string]int{load.EventSample: 600, load.EventFault: 200}

// pageFlags are what the user asked for.
type pageFlags struct {
	at   string
	keep time.Duration
}

func (f *pageFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.at, "ui", "", "show the run in browsers, by a page at this address: a port, 127.0.0.1:PORT, or auto for a free port")
	flags.DurationVar(&f.keep, "ui-keep", 0, "serve the page for so long after the run, or until Ctrl-C")
}

func (f *pageFlags) check(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("ui") {
		if cmd.Flags().Changed("ui-keep") {
			return usage(cmd, "--ui-keep is for the page of --ui")
		}
		return nil
	}
	if f.keep < 0 {
		return usage(cmd, "--ui-keep is %v: it must not be negative", f.keep)
	}
	if _, err := live.ParseAddress(f.at); err != nil {
		return usage(cmd, "--ui is %w", err)
	}
	return nil
}

// page is that of one run; nil where nobody asked for one.
type page struct {
	*live.Server
	keep time.Duration
	view *report.Screen
}

// open serves the page from now on.
func (f *pageFlags) open(cmd *cobra.Command, view *report.Screen) (*page, error) {
	if f.at == "" {
		return nil, nil
	}
	server, err := servePage(cmd.Context(), cmd, f.at, view)
	if err != nil {
		return nil, err
	}
	return &page{server, f.keep, view}, nil
}

// run runs a plan, and shows it on the page. Its end does not wait for slow browsers.
func (p *page) run(ctx context.Context, plan load.Plan, view *report.Screen) (*load.Report, error) {
	if p == nil {
		return load.Run(ctx, plan, view, nil, workerCommand)
	}
	p.Publish(load.EventPhase, load.Starting)
	result, err := load.Run(ctx, plan, view, p, workerCommand)
	p.Publish(load.EventResult, load.OutcomeOf(result, err))
	return result, err
}

// close ends the page: of one that has a result, at the end of the time for which it is kept, or of ctx.
func (p *page) close(ctx context.Context, hasResult bool) error {
	if p == nil {
		return nil
	}
	var said error
	if hasResult && p.keep > 0 && ctx.Err() == nil {
		said = p.view.Say("\nThe page stays at %s for %v. Ctrl-C ends it.", p.URL(), p.keep)
		_ = interrupt.Sleep(ctx, p.keep) // either end is right
	}
	return errors.Join(said, p.Server.Close())
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
