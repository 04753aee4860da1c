//go:build unix

// Package fence shows what a fence is for: a process reads a counter under its lock and is stopped, its session ends, another process takes over and
// writes, and the first is woken and writes what it had in mind.
package fence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

// Plan is what the user asked for, checked.
type Plan struct {
	DSN      string        // empty: a throwaway server
	Duration time.Duration // of all ways together
}

const connections = 20

// Run tells the story once for each way of writing, and repeats it in the time that there is. The report is nil where nothing has begun.
func Run(ctx context.Context, plan Plan, view *report.Screen, part func() *exec.Cmd) (_ *Report, err error) {
	s, err := server.Open(ctx, plan.DSN, connections, view)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	t := &story{server: s, view: view, part: part, each: plan.Duration / time.Duration(len(ways))}
	run := server.NewRun()
	t.orders = Orders{DSN: s.DSN, App: "lockkeeper-demo " + run, Namespace: "lockkeeper-demo " + run, Table: "lockkeeper_demo_" + run}
	result := &Report{Server: s.Name, Throwaway: s.Throwaway}
	var tables tables
	err = s.Control(ctx, func(conn *pgx.Conn) error { return tables.create(ctx, conn, t.orders.Table) })
	for i := 0; i < len(ways) && err == nil; i++ {
		var w Result
		if w, err = t.tell(ctx, ways[i]); err == nil {
			result.Ways = append(result.Ways, w)
		}
	}
	tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.TidyBound)
	defer cancel()
	tidied := s.Control(tidying, func(conn *pgx.Conn) error { return tables.drop(tidying, conn, t.orders.Table, t.id) })
	if ctx.Err() != nil {
		result.Interrupted = true
		return result, tidied
	}
	if err = errors.Join(err, tidied); err != nil {
		return nil, err
	}
	return result, s.CountLeft(ctx, t.orders.App, &result.Leaked)
}

// story is a run under way.
type story struct {
	server *server.Server
	view   *report.Screen
	part   func() *exec.Cmd
	each   time.Duration
	orders Orders
	id     int64 // of the lock
}

// tell tells the story by one way.
func (t *story) tell(ctx context.Context, way Way) (r Result, err error) {
	r.Way = way
	t.orders.Way = way
	if err := t.view.Say("\n%s", headings[way]); err != nil {
		return r, err
	}
	var holders [2]*child.Process
	for i, name := range []string{"the first holder", "the next holder"} {
		if holders[i], err = child.Start(name, t.part()); err != nil {
			return r, err
		}
		defer holders[i].End(server.TidyBound)
		if err := holders[i].Call(ctx, "Open", t.orders, &struct{}{}); err != nil {
			return r, err
		}
	}
	err = t.server.Control(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "UPDATE "+t.orders.Table+" SET value = 0"); err != nil {
			return err
		}
		for end := time.Now().Add(t.each); r.Rounds == 0 || time.Now().Before(end); r.Rounds++ {
			if err := t.round(ctx, conn, holders[0], holders[1], &r); err != nil {
				return err
			}
		}
		var value int
		if err := conn.QueryRow(ctx, "SELECT value FROM "+t.orders.Table).Scan(&value); err != nil {
			return err
		}
		r.Lost = r.Acknowledged - value
		return t.view.Say("  again, %s in all: %s, %s", report.Of(r.Rounds, "time"), report.Of(r.Acknowledged, "write")+" acknowledged", report.Count(r.Lost)+" lost.")
	})
	for _, h := range holders {
		if err == nil {
			err = h.Call(ctx, "Close", struct{}{}, &struct{}{})
		}
	}
	return r, err
}

var headings = map[Way]string{
	None:  "Without a fence:",
	Guard: "With manager.Guard in the transaction that writes:",
	Token: "With lock.Token() compared where the write is made:",
}

// say tells of the first round.
func (t *story) say(r *Result, format string, args ...any) error {
	if r.Rounds > 0 {
		return nil
	}
	return t.view.Say("  %s", report.Wrap(2, fmt.Sprintf(format, args...)))
}

// round is the story proper.
func (t *story) round(ctx context.Context, conn *pgx.Conn, first, next *child.Process, r *Result) error {
	var old, now Hold
	var stale, fresh Outcome
	if err := first.Call(ctx, "Read", struct{}{}, &old); err != nil {
		return err
	}
	t.id = old.ID
	if err := stop(ctx, first); err != nil {
		return err
	}
	defer func() { _ = first.Cmd.Process.Signal(syscall.SIGCONT) }()
	err := t.say(r, "Process %d takes the lock (token %d), reads the counter: %d. It is stopped.", first.Cmd.Process.Pid, old.Token, old.Value)
	if err != nil {
		return err
	}
	woken := make(chan error, 1) // sent by the goroutine that calls; received below, or by nobody
	go func() { woken <- first.Call(ctx, "Write", struct{}{}, &stale) }()
	const endSQL = `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
		AND classid = $1 AND objid = $2 AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())`
	if _, err := conn.Exec(ctx, endSQL, uint32(uint64(old.ID)>>32), uint32(uint64(old.ID))); err != nil {
		return server.Explain("ending the holder's session", err, map[string]string{"42501": "the role may not end its own sessions"})
	}
	if err := next.Call(ctx, "Read", struct{}{}, &now); err != nil {
		return err
	}
	if err := next.Call(ctx, "Write", struct{}{}, &fresh); err != nil {
		return err
	}
	if !fresh.Written {
		return fmt.Errorf("the holder could not write: %s", fresh.Refusal)
	}
	r.Acknowledged++
	err = t.say(r, "Its session ends. Process %d takes the lock (token %d), reads %d, and writes %d.", next.Cmd.Process.Pid, now.Token, now.Value, now.Value+1)
	if err != nil {
		return err
	}
	if err := first.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := <-woken; err != nil {
		return err
	}
	if !stale.Written {
		return t.say(r, "Process %d is woken and would write %d. It is refused: %s.", first.Cmd.Process.Pid, old.Value+1, stale.Refusal)
	}
	r.Acknowledged++
	r.Stale++
	return t.say(r, "Process %d is woken and writes %d. The server says yes: one of two increments is lost.", first.Cmd.Process.Pid, old.Value+1)
}

// stop stops a process, and returns when it stands still.
func stop(ctx context.Context, p *child.Process) error {
	if err := p.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for range 2000 { // a system without /proc has stopped it in that time
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "T") {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
