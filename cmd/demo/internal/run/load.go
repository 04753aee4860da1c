// Package run is a load from its server to its verdict.
package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/fleet"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/screen"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/target"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// Plan is what the user asked for, checked.
type Plan struct {
	DSN       string // empty: a throwaway server
	Processes int
	Workers   int
	Keys      int
	Skew      string
	Hold      time.Duration
	Duration  time.Duration
	Cancel    float64
	Sessions  int // of each process, for locks; 0: as many as make sense
	NoLocks   bool
}

// ErrInterrupted is the cause of a context that the user's Ctrl-C ended.
var ErrInterrupted = errors.New("interrupted")

// tidyBound bounds what is done after a load, an interrupted one too.
const tidyBound = 30 * time.Second

// Load runs a plan. The report is nil where the load never began. command makes the command of a worker process.
func Load(ctx context.Context, plan Plan, view *screen.Screen, command func() *exec.Cmd) (_ *report.Load, err error) {
	server, err := open(ctx, plan, view)
	if err != nil {
		return nil, err
	}
	defer func() {
		if server.Throwaway {
			err = errors.Join(err, view.Say("Removing the throwaway PostgreSQL."), server.Close())
		}
	}()
	limits, err := plan.limits(ctx, server)
	if err != nil {
		return nil, err
	}
	l := &job{plan: plan, server: server, view: view, limits: limits, run: runID()}
	return l.all(ctx, command)
}

func open(ctx context.Context, plan Plan, view *screen.Screen) (*target.Target, error) {
	if plan.DSN != "" {
		return target.Existing(ctx, plan.DSN)
	}
	if err := view.Say("Starting a throwaway PostgreSQL; it is removed at the end."); err != nil {
		return nil, err
	}
	return target.Throwaway(ctx, plan.Processes*plan.roomyLimits().Total())
}

// runID keeps the traces of this run apart from any other's.
func runID() string {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// job is one load under way.
type job struct {
	plan   Plan
	server *target.Target
	view   *screen.Screen
	limits wire.Limits
	run    string
	table  string
}

// app begins the application_name of every connection of the load's processes. The demo's own connection for looking
// after them has another name.
func (j *job) app() string { return "lockkeeper-demo " + j.run }

// all makes the counters, runs the load, judges it and drops the counters, whatever happens in between.
func (j *job) all(ctx context.Context, command func() *exec.Cmd) (result *report.Load, err error) {
	if err := j.withControl(ctx, func(conn *pgx.Conn) error {
		var err error
		j.table, err = oracle.CreateTable(ctx, conn, "lockkeeper_demo_"+j.run, j.plan.Keys)
		return err
	}); err != nil {
		return nil, err
	}
	dropped := false
	drop := func(ctx context.Context, conn *pgx.Conn) error {
		dropped = true
		return oracle.DropTable(ctx, conn, j.table)
	}
	defer func() {
		if !dropped {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyBound)
			defer cancel()
			err = errors.Join(err, j.withControl(ctx, func(conn *pgx.Conn) error { return drop(ctx, conn) }))
		}
	}()
	return j.load(ctx, command, drop)
}

// withControl opens the demo's own connection for one phase. It is not kept through the load, which may outlive the
// server's restart.
func (j *job) withControl(ctx context.Context, do func(*pgx.Conn) error) error {
	conn, err := j.server.Connect(ctx, "lockkeeper-demo-control")
	if err != nil {
		return err
	}
	defer j.server.Disconnect(conn)
	return do(conn)
}

type dropper func(context.Context, *pgx.Conn) error

func (j *job) load(ctx context.Context, command func() *exec.Cmd, drop dropper) (*report.Load, error) {
	workers, err := j.start(ctx, command)
	if err != nil {
		return nil, err
	}
	defer workers.Exit()
	err = j.view.Say("%s: %s x %s, %s, %v. Ctrl-C ends it early.", j.server.Name, report.Of(j.plan.Processes, "process"),
		report.Of(j.plan.Workers, "worker"), report.Of(j.plan.Keys, "key"), j.plan.Duration)
	if err != nil {
		return nil, err
	}
	took, runErr := workers.Run(ctx, j.plan.Duration, j.view.Interval(), func(s fleet.Snapshot) error {
		return j.view.Show(s, j.plan.Duration)
	})
	interrupted := errors.Is(runErr, ErrInterrupted)
	if interrupted {
		// What cannot be shown any more is no reason to leave something behind.
		_ = j.view.Say("Interrupted: closing everything. A second Ctrl-C does not wait for that.")
	}
	results, stopErr := workers.Stop()

	r := j.report(interrupted, workers.PeakSessions())
	if err := r.Sum(results); err != nil {
		r.Detail.Problems = append(r.Detail.Problems, err.Error())
	}
	r.SetTime(took)
	// The processes are still there: their going would end what they had leaked.
	if err := errors.Join(stopErr, j.judge(ctx, r, results, drop)); err != nil {
		r.Detail.Problems = append(r.Detail.Problems, err.Error())
	}
	if runErr != nil && !interrupted && stopErr == nil {
		r.Detail.Problems = append(r.Detail.Problems, runErr.Error())
	}
	return r, j.view.Clear()
}

// start starts the worker processes and waits until each is connected.
func (j *job) start(ctx context.Context, command func() *exec.Cmd) (*fleet.Fleet, error) {
	folder, err := os.MkdirTemp("", "lockkeeper-demo-")
	if err != nil {
		return nil, err
	}
	// Once every process has mapped the file nobody needs its name, so that not even kill -9 leaves it behind.
	defer func() { _ = os.RemoveAll(folder) }()
	slots := filepath.Join(folder, "slots")
	if err := oracle.CreateSlots(slots, j.plan.Keys); err != nil {
		return nil, err
	}
	jobs := make([]wire.Job, j.plan.Processes)
	for i := range jobs {
		jobs[i] = wire.Job{
			Process: i + 1, DSN: j.server.DSN, App: fmt.Sprintf("%s p%d", j.app(), i+1), Namespace: j.app(),
			Table: j.table, Slots: slots, Workers: j.plan.Workers, Keys: j.plan.Keys, Skew: j.plan.Skew,
			Hold: j.plan.Hold, Cancel: j.plan.Cancel, NoLocks: j.plan.NoLocks, Limits: j.limits,
		}
	}
	workers, err := fleet.Start(jobs, command)
	if err != nil {
		return nil, err
	}
	if err := workers.Ready(ctx); err != nil {
		workers.Exit()
		return nil, err
	}
	return workers, nil
}

func (j *job) report(interrupted bool, sessions int) *report.Load {
	return &report.Load{
		Server: j.server.Name, Processes: j.plan.Processes, Workers: j.plan.Workers, Keys: j.plan.Keys, Sessions: sessions,
		Detail: report.Detail{
			Throwaway: j.server.Throwaway, Skew: j.plan.Skew, Hold: j.plan.Hold, Cancel: j.plan.Cancel,
			NoLocks: j.plan.NoLocks, Interrupted: interrupted,
		},
	}
}

// judge compares the counters with the grants, and looks for what the load left on the server.
func (j *job) judge(ctx context.Context, r *report.Load, results []*wire.Result, drop dropper) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyBound)
	defer cancel()
	return j.withControl(ctx, func(conn *pgx.Conn) error {
		left, err := j.server.Leftovers(ctx, conn, j.app())
		if err != nil {
			return err
		}
		r.Leaked.ServerLocks, r.Leaked.Connections = left.ServerLocks, left.Connections
		rows, err := oracle.ReadTable(ctx, conn, j.table, j.plan.Keys)
		if err != nil {
			return err
		}
		counts := make([][]wire.KeyCount, 0, len(results))
		for _, result := range results {
			if result == nil {
				// Without its grants the counters cannot be compared; what the server itself counted still stands.
				r.SetVerdict(oracle.JudgeServerOnly(rows))
				return drop(ctx, conn)
			}
			counts = append(counts, result.Keys)
		}
		r.SetVerdict(oracle.Judge(rows, counts))
		return drop(ctx, conn)
	})
}
