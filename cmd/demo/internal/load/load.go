// Package load is a load from its server to its verdict: worker processes that take the same keys, and a report.
package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// Plan is what the user asked for, checked.
type Plan struct {
	worker.Work
	DSN       string // empty: a throwaway server
	Processes int
	Duration  time.Duration
	Sessions  int // of each process, for locks; 0: as many as make sense
}

// job is one load under way.
type job struct {
	Plan
	server *server.Server
	view   *report.Screen
	each   worker.Job // but for the number of the process
	watch  *watching
}

// Run runs a plan. The report is nil where the load never began. command makes the command of a worker process. watch may be nil; it
// is told everything but the result, which is the caller's to publish.
func Run(ctx context.Context, plan Plan, view *report.Screen, watch Watcher, command func() *exec.Cmd) (_ *Report, err error) {
	s, err := server.Open(ctx, plan.DSN, plan.Processes*plan.roomyLimits().Total(), view)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	room, err := s.Room(ctx)
	if err != nil {
		return nil, err
	}
	limits, err := plan.fitInto(room)
	if err != nil {
		return nil, err
	}
	// The namespace also begins the application_name of the processes' connections. The control connection has another.
	run := server.NewRun()
	j := &job{Plan: plan, server: s, view: view, each: worker.Job{
		Work: plan.Work, DSN: s.DSN, Namespace: "lockkeeper-demo " + run, Table: "lockkeeper_demo_" + run, Limits: limits,
	}}
	if watch != nil {
		j.watch = &watching{Watcher: watch}
	}
	if err := s.Control(ctx, func(conn *pgx.Conn) error { return oracle.CreateTable(ctx, conn, j.each.Table, plan.Keys) }); err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.TidyBound)
		defer cancel()
		err = errors.Join(err, s.Control(ctx, func(conn *pgx.Conn) error { return oracle.DropTable(ctx, conn, j.each.Table) }))
	}()
	return j.load(ctx, command)
}

func (j *job) load(ctx context.Context, command func() *exec.Cmd) (*Report, error) {
	defer j.watch.close()
	workers, err := j.start(ctx, command)
	if err != nil {
		return nil, err
	}
	defer workers.exit(exitBound)
	j.watch.tell(EventRun, j.settings())
	j.watch.tell(EventPhase, running)
	err = j.view.Say("%s: %s x %s, %s, %v. Ctrl-C ends it early.", j.server.Name, report.Of(j.Processes, "process"),
		report.Of(j.Workers, "worker"), report.Of(j.Keys, "key"), j.Duration)
	if err != nil {
		return nil, err
	}
	took, runErr := workers.run(ctx, j.Duration, j.view.Interval(), func(p progress) error {
		j.watch.progress(p)
		return j.view.Draw(p.plain(j.Duration), func(width int) []string { return p.live(j.view, j.Duration, width) })
	})
	interrupted := errors.Is(runErr, report.ErrInterrupted)
	j.watch.tell(EventPhase, closingAfter(interrupted))
	if interrupted {
		// What cannot be shown any more is no reason to leave something behind.
		_ = j.view.Say("Interrupted: closing everything. A second Ctrl-C does not wait for that.")
		runErr = nil
	}
	results, stopErr := workers.stop()
	if stopErr != nil {
		runErr = nil // that a process failed was seen again
	}
	r := newReport(j.Plan, results, took)
	r.Server, r.Throwaway, r.Interrupted = j.server.Name, j.server.Throwaway, interrupted
	r.Sessions = max(r.Total.Sessions, workers.sessions)
	// The processes are still there: their going would end what they had leaked.
	for _, err := range []error{stopErr, j.judge(ctx, r, results), runErr} {
		if err != nil {
			r.Problems = append(r.Problems, err.Error())
		}
	}
	j.watch.ended(r)
	return r, j.view.Clear()
}

// start starts the worker processes and waits until each is connected.
func (j *job) start(ctx context.Context, command func() *exec.Cmd) (*fleet, error) {
	folder, err := os.MkdirTemp("", "lockkeeper-demo-")
	if err != nil {
		return nil, err
	}
	// Once every process has mapped the file nobody needs its name, so that not even kill -9 leaves it behind.
	defer func() { _ = os.RemoveAll(folder) }()
	j.each.Slots = filepath.Join(folder, "slots")
	if err := oracle.CreateSlots(j.each.Slots, j.Keys); err != nil {
		return nil, err
	}
	if err := j.watch.open(j.each.Slots, j.Keys); err != nil {
		return nil, err
	}
	jobs := slices.Repeat([]worker.Job{j.each}, j.Processes)
	for i := range jobs {
		jobs[i].Process = i + 1
	}
	return startFleet(ctx, jobs, command)
}

// judge looks for what the load left on the server, and compares the counters with the grants.
func (j *job) judge(ctx context.Context, r *Report, results []*worker.Tally) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.TidyBound)
	defer cancel()
	if err := j.server.CountLeft(ctx, j.each.Namespace, &r.Leaked); err != nil {
		return err
	}
	seen := make([][]oracle.Seen, len(results))
	for i, result := range results {
		if result != nil {
			seen[i] = result.Keys
		}
	}
	return j.server.Control(ctx, func(conn *pgx.Conn) error {
		rows, err := oracle.ReadTable(ctx, conn, j.each.Table, j.Keys)
		if err == nil {
			r.setVerdict(oracle.Judge(rows, seen))
		}
		return err
	})
}

const (
	// sharedSessions and waitingSessions are the library's own defaults. No more wait than there are keys.
	sharedSessions  = 4
	waitingSessions = 16
	// leastSessions: one holds and one waits.
	leastSessions = 2
	// oracleConnections of a process suffice for many holders: each uses one for two short statements.
	oracleConnections = 4
)

// roomyLimits are the connections of one process where the server has plenty.
func (p Plan) roomyLimits() worker.Limits {
	l := worker.Limits{Sessions: p.Sessions, Oracle: min(oracleConnections, p.Workers)}
	if l.Sessions == 0 {
		l.Sessions = sharedSessions + min(waitingSessions, p.Keys)
	}
	if p.NoLocks {
		l.Sessions = 0
	}
	return l
}

// fitInto takes sessions away from the processes where the user left their number open, and refuses where even the
// least is too much, before a process finds out in the middle of the load.
func (p Plan) fitInto(room server.Room) (worker.Limits, error) {
	want, each := p.roomyLimits(), room.Free/p.Processes
	if want.Total() <= each {
		return want, nil
	}
	least := want
	if p.Sessions == 0 && !p.NoLocks {
		least.Sessions, least.Oracle = leastSessions, 1
	}
	if least.Total() > each {
		return want, fmt.Errorf("the server has too few connections: %d are free (%s), and %d processes need %d each, %d in all; "+
			"use fewer --processes or --sessions, or raise the limit on the server",
			max(0, room.Free), room.Because, p.Processes, least.Total(), p.Processes*least.Total())
	}
	fitted := worker.Limits{Oracle: min(want.Oracle, max(1, each/4))}
	fitted.Sessions = each - fitted.Oracle
	return fitted, nil
}
