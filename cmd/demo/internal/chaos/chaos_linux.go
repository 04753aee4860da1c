package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/nemesis"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/stage"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/summary"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// leakBound is how long the server may take to end what belongs to clients that have gone.
const leakBound = 10 * time.Second

// Run carries a plan out. The report is nil where the load never began.
func Run(ctx context.Context, p plan.Plan, view *report.Screen, command stage.Commands) (_ *summary.Report, err error) {
	if err := view.Say("Seed %d. Starting a throwaway PostgreSQL and its standby.", p.Seed); err != nil {
		return nil, err
	}
	r := &running{plan: &p, view: view, book: history.New(&p)}
	if r.stage, err = stage.New(ctx, &p, command, r.book.Add); err != nil {
		return nil, err
	}
	defer func() {
		_ = view.Clear()
		err = errors.Join(err, r.stage.Close())
	}()
	r.leaveOut()
	r.steps = plan.Schedule(&p)
	r.crew = newCrew(r.stage, p.Processes)
	if err := r.crew.launchAll(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return r.all(ctx)
}

// running is one run under way.
type running struct {
	plan  *plan.Plan
	view  *report.Screen
	stage *stage.Stage
	book  *history.Book
	crew  *crew
	steps []plan.Step
	start int64
	last  history.Counts
	lastT time.Duration
}

// leaveOut takes those faults out of the plan that cannot be made here.
func (r *running) leaveOut() {
	r.plan.Faults = slices.DeleteFunc(r.plan.Faults, func(k plan.Kind) bool {
		for _, about := range plan.Kinds {
			if about.Kind == k {
				return about.Root && r.stage.Without != "" || about.Several && r.plan.Processes < 2
			}
		}
		return false
	})
}

func (r *running) all(ctx context.Context) (*summary.Report, error) {
	p := r.plan
	err := r.view.Say("PostgreSQL %s, %s x %s, %s, %s in %v; trust %v, session timeout %v. Ctrl-C ends it early.",
		r.stage.Version(), report.Of(p.Processes, "process"), report.Of(p.Workers, "worker"), report.Of(p.Keys, "key"),
		report.Of(len(r.steps), "fault"), p.Duration, p.Trust(), p.SessionTimeout())
	if err == nil && r.stage.Without != "" {
		err = r.view.Say("Left out: faults of the network, since %s.", r.stage.Without)
	}
	if err != nil {
		return nil, err
	}
	r.start = r.crew.begin()
	r.book.Start(r.start)
	runErr := r.load(ctx)
	interrupted := errors.Is(runErr, report.ErrInterrupted)
	if interrupted {
		_ = r.view.Say("Interrupted: closing everything. A second Ctrl-C does not wait for that.")
	} else if err := r.view.Say("Closing everything, to see what is left."); err != nil {
		interrupted = true // nobody reads any more
	}
	seconds := time.Duration(event.Now() - r.start)
	stopErr := r.crew.stop()
	leaked, leakErr := r.leaked()
	rowsErr := error(nil)
	for _, m := range r.crew.members {
		m.worker.End()
	}
	verdict, timeline := r.book.Finish()
	out := summary.New(p, r.steps, r.book.Faults(), verdict, r.start)
	if stopErr == nil && leakErr == nil {
		rowsErr = r.compareRows(verdict)
	}
	out.Server, out.Seconds, out.Timeline = "PostgreSQL "+r.stage.Version(), seconds.Seconds(), timeline
	out.Without, out.Interrupted = r.stage.Without, interrupted
	out.Leaked.ServerLocks, out.Leaked.Connections = leaked.ServerLocks, leaked.Connections
	r.fromCrew(out)
	if interrupted {
		runErr = nil
	}
	for _, err := range []error{runErr, stopErr, leakErr, rowsErr} {
		if err != nil {
			out.Problems = append(out.Problems, err.Error())
		}
	}
	return out, nil
}

// load lets the nemesis loose until the time is over and the schedule carried out, and shows how it goes.
func (r *running) load(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := &nemesis.Nemesis{Plan: r.plan, Stage: r.stage, Book: r.book, Take: r.book.Add, Start: r.start,
		Replace: r.crew.replace(ctx), Say: func(f *history.Fault) {}}
	var others sync.WaitGroup
	others.Go(func() { pulse(ctx, r.stage, r.book) })
	defer others.Wait()
	defer cancel(nil)
	faults := make(chan error, 1)
	others.Go(func() { faults <- n.Run(ctx, r.steps) })
	err := r.watch(ctx, faults)
	cancel(err)
	if errors.Is(err, errOver) {
		return nil
	}
	return err
}

var errOver = errors.New("the time is over")

// patience is how much longer than planned a run goes on for the faults that are still to be made: on a slow machine each
// takes its time, and a schedule that is cut short is not the seed's.
func (r *running) patience() time.Duration { return r.plan.Duration + time.Minute }

// checkMargin is how late a record may be: a frozen process writes its last ones when it wakes.
const checkMargin = 15 * time.Second

func (r *running) watch(ctx context.Context, faults <-chan error) error {
	ticker := time.NewTicker(r.view.Interval())
	defer ticker.Stop()
	checks := time.NewTicker(2 * time.Second)
	defer checks.Stop()
	samples := time.NewTicker(time.Second)
	defer samples.Stop()
	over := time.NewTimer(r.plan.Duration)
	defer over.Stop()
	timeIsOver, faultsAreOver := false, false
	for {
		select {
		case <-ticker.C:
			if err := r.show(); err != nil {
				return err
			}
		case <-checks.C:
			r.book.Check(event.Now() - int64(checkMargin))
		case <-samples.C:
			r.crew.sample()
			if err := r.crew.failure(); err != nil {
				return err
			}
		case err := <-faults:
			if faultsAreOver = true; err != nil {
				return err
			}
			if timeIsOver {
				return errOver
			}
		case <-over.C:
			if faultsAreOver {
				return errOver
			}
			if timeIsOver {
				return fmt.Errorf("the schedule of %v is not carried out after %v", r.plan.Duration, r.plan.Duration+r.patience())
			}
			timeIsOver = true
			over.Reset(r.patience())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *running) show() error {
	c := r.book.Counts()
	elapsed := time.Duration(event.Now() - r.start)
	rate := float64(c.Operations.All-r.last.Operations.All) / max(0.001, (elapsed-r.lastT).Seconds())
	r.last, r.lastT = c, elapsed
	now, done := "none", 0
	for _, f := range r.book.Faults() {
		if done++; f.Healed == 0 {
			now = string(f.Kind)
			if f.Target > 0 {
				now += fmt.Sprintf(" (process %d)", f.Target)
			}
		}
	}
	plain := fmt.Sprintf("%5.1f s of %v  %7s operations/s  fault %d of %d: %-32s losses %s  overlaps %s  violations %s",
		elapsed.Seconds(), r.plan.Duration, report.Count(int(rate)), done, len(r.steps), now, report.Count(c.Losses),
		report.Count(c.Overlaps), report.Count(c.Violations))
	return r.view.Draw(plain, func(width int) []string {
		row := func(label, format string, args ...any) string { return r.view.Row(width, label, format, args...) }
		return []string{
			r.view.Bar(width, elapsed, r.plan.Duration),
			row("operations", "%s   %s per second", report.Count(c.Operations.All), report.Count(int(rate))),
			row("fault", "%d of %d   now: %s", done, len(r.steps), now),
			row("waiting", "%s   holding %s", report.Count(c.Waiting), report.Count(c.Holding)),
			row("losses", "%s told", report.Count(c.Losses)),
			row("overlaps", "%s   violations %s", report.Count(c.Overlaps), report.Count(c.Violations)),
		}
	})
}

// leaked asks both servers what they still have of the workers, until it is nothing or a while has passed. The workers
// have closed everything and still run: their end would end what they had leaked.
func (r *running) leaked() (summary.Leaked, error) {
	ctx, cancel := context.WithTimeout(context.Background(), leakBound)
	defer cancel()
	var left summary.Leaked
	var err error
	_ = stage.Until(ctx, func() bool {
		left = summary.Leaked{}
		primary, standby := r.stage.Primary()
		for _, server := range []*pgserver.Server{primary, standby} {
			if server != nil && err == nil {
				var one summary.Leaked
				one, err = leftAt(server)
				left.ServerLocks += one.ServerLocks
				left.Connections += one.Connections
			}
		}
		return err != nil || left == (summary.Leaked{})
	})
	return left, err
}

func leftAt(server *pgserver.Server) (summary.Leaked, error) {
	ctx, cancel := context.WithTimeout(context.Background(), leakBound)
	defer cancel()
	rows, err := server.Exec(ctx, `SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), count(*)
		FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
	if err != nil {
		return summary.Leaked{}, fmt.Errorf("asking a server what is left: %w", err)
	}
	locks, lockErr := strconv.Atoi(rows[0][0])
	connections, err := strconv.Atoi(rows[0][1])
	return summary.Leaked{ServerLocks: locks, Connections: connections}, errors.Join(lockErr, err)
}

// compareRows compares what the database counted with what the workers saw confirmed.
func (r *running) compareRows(v *history.Verdict) error {
	ctx, cancel := context.WithTimeout(context.Background(), leakBound)
	defer cancel()
	primary, _ := r.stage.Primary()
	rows, err := primary.Exec(ctx, "SELECT sum(writes)::text, sum(torn)::text FROM "+stage.Table)
	if err != nil {
		return fmt.Errorf("reading the oracle's table: %w", err)
	}
	writes, err := strconv.Atoi(rows[0][0])
	if err != nil {
		return err
	}
	confirmed, doubtful := v.Operations.Write["ok"], v.Operations.Write["unknown"]+v.Killed
	if writes < confirmed || writes > confirmed+doubtful {
		return fmt.Errorf("the database counts %d writes, the workers %d and %d in doubt: a failover has lost some, or the oracle is broken",
			writes, confirmed, doubtful)
	}
	return nil
}

// fromCrew adds what the processes said at their end.
func (r *running) fromCrew(out *summary.Report) {
	var samples [][]summary.Sample
	for i, m := range r.crew.members {
		samples = append(samples, m.samples)
		if len(m.closing) == 0 {
			out.Problems = append(out.Problems, fmt.Sprintf("process %d did not close in good order", i+1))
		}
		for _, c := range m.closing {
			if n := c.After - c.Before; n > 0 {
				out.Leaked.Goroutines += n
				out.Stacks = c.Stacks
			}
			if c.CloseError != "" {
				out.Problems = append(out.Problems, fmt.Sprintf("process %d: %s", i+1, c.CloseError))
			}
			for text, n := range c.Failures {
				out.Failures[strings.ToValidUTF8(text, "?")] += n
			}
			out.KeeperRestarts += c.Restarts
		}
	}
	out.SetSamples(samples, r.plan.Soak)
}
