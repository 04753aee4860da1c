package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/summary"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

const (
	// leakBound is how long the server may take to end what belongs to clients that have gone.
	leakBound = 10 * time.Second
	// checkMargin is how late a record may be: a frozen process writes its last ones when it wakes.
	checkMargin = 15 * time.Second
)

// run is one run under way.
type run struct {
	*stage
	view     *report.Screen
	book     *history.Book
	faults   []*plan.Fault
	workers  [][]*worker // the incarnations of each process; written by the nemesis after the load's start
	down     chan error  // capacity 1: the first process that ended and should not have
	start    int64       // of the load; 0: not yet
	borrowed uint64      // acquisitions of the outsider

	shown   int // operations at the last progress line
	shownAt time.Duration
}

// Run carries a plan out. The report is nil if the load did not begin.
func Run(ctx context.Context, p plan.Plan, view *report.Screen, command Commands) (_ *summary.Report, err error) {
	if err := view.Say("Seed %d. Starting a throwaway PostgreSQL and its standby.", p.Seed); err != nil {
		return nil, err
	}
	r := &run{stage: &stage{plan: &p, command: command}, view: view, book: history.New(&p),
		workers: make([][]*worker, p.Processes), down: make(chan error, 1)}
	defer func() {
		_ = view.Clear()
		r.endAll()
		err = errors.Join(err, r.close())
	}()
	if err := r.setStage(ctx); err != nil {
		return nil, err
	}
	p.Faults = slices.DeleteFunc(p.Faults, func(k plan.Kind) bool { // what cannot be made here
		return k.About().Root && r.network == nil || k.About().Several && p.Processes < 2
	})
	r.faults = plan.Schedule(&p)
	if err := r.each(r.launch); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := r.introduce(); err != nil {
		return nil, err
	}
	return r.all(ctx), nil
}

func (r *run) introduce() error {
	p := r.plan
	err := r.view.Say("PostgreSQL %s, %s x %s, %s, %s in %v; trust %v, session timeout %v. Ctrl-C ends it early.",
		r.first.Version(), report.Of(p.Processes, "process"), report.Of(p.Workers, "worker"), report.Of(p.Keys, "key"),
		report.Of(len(r.faults), "fault"), p.Duration, p.Trust(), p.SessionTimeout())
	if err == nil && r.without != "" {
		err = r.view.Say("Left out: faults of the network, since %s.", r.without)
	}
	return err
}

// endAll ends all worker processes. It may be called again.
func (r *run) endAll() {
	_ = r.each(func(process int) error {
		for _, w := range r.workers[process-1] {
			w.end()
		}
		return nil
	})
}

// all runs the load, closes everything and returns the report.
func (r *run) all(ctx context.Context) *summary.Report {
	r.start = now()
	r.book.Start(r.start)
	runErr := r.each(func(process int) error { return r.worker(process).play() })
	if runErr == nil {
		runErr = r.load(ctx)
	}
	interrupted := errors.Is(runErr, report.ErrInterrupted)
	if interrupted {
		_ = r.view.Say("Interrupted: closing everything. A second Ctrl-C does not wait for that.")
	} else if err := r.view.Say("Closing everything, to see what is left."); err != nil {
		interrupted = true // nobody reads any more
	}
	if interrupted {
		runErr = nil
	}
	took := time.Duration(now() - r.start)
	r.book.Close(now())
	stopErr := r.each(func(process int) error { return r.worker(process).stop() })
	leaked, leakErr := r.leaked() // while the processes run: their end would end what they leaked
	r.endAll()
	out := summary.New(r.plan, r.faults, r.book.Finish())
	out.Server, out.Seconds, out.Without = "PostgreSQL "+r.first.Version(), took.Seconds(), r.without
	out.Interrupted, out.Leaked = interrupted, leaked
	var rowsErr error
	if stopErr == nil && leakErr == nil {
		rowsErr = r.compareRows(out.Verdict)
	}
	r.addWorkers(out)
	for _, err := range []error{runErr, stopErr, leakErr, rowsErr} {
		if err != nil {
			out.Problems = append(out.Problems, err.Error())
		}
	}
	return out
}

// load makes the faults until the time is over and the schedule carried out, and shows how it goes.
func (r *run) load(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	faults := make(chan error, 1)
	others.Go(func() { r.pulse(ctx) })
	others.Go(func() { faults <- r.nemesis(ctx) })
	return r.watch(ctx, faults)
}

func (r *run) watch(ctx context.Context, faults <-chan error) error {
	ticker := time.NewTicker(r.view.Interval())
	defer ticker.Stop()
	checks := time.NewTicker(2 * time.Second)
	defer checks.Stop()
	over := time.After(r.plan.Duration)
	// On a slow machine faults take longer. A schedule that is cut short is not the seed's, so the run waits for it.
	bound := 2*r.plan.Duration + time.Minute
	tooLate := time.After(bound)
	for over != nil || faults != nil {
		select {
		case <-ticker.C:
			if err := r.show(); err != nil {
				return err
			}
		case <-checks.C:
			r.book.Check(now() - int64(checkMargin))
		case err := <-r.down:
			return err
		case err := <-faults:
			if faults = nil; err != nil {
				return err
			}
		case <-over:
			over = nil
		case <-tooLate:
			return fmt.Errorf("the schedule of %v is not carried out after %v", r.plan.Duration, bound)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *run) show() error {
	p := r.book.Progress()
	elapsed := time.Duration(now() - r.start)
	rate := report.Count(int(float64(p.Operations-r.shown) / max(0.001, (elapsed-r.shownAt).Seconds())))
	r.shown, r.shownAt = p.Operations, elapsed
	fault := "none"
	if p.Now.N > 0 {
		fault = string(p.Now.Kind)
		if p.Now.Target > 0 {
			fault += fmt.Sprintf(" (process %d)", p.Now.Target)
		}
	}
	losses, overlaps, violations := report.Count(p.Losses), report.Count(p.Overlaps), report.Count(p.Violations)
	plain := fmt.Sprintf("%5.1f s of %v  %7s operations/s  fault %d of %d: %-32s losses %s  overlaps %s  violations %s",
		elapsed.Seconds(), r.plan.Duration, rate, p.Faults, len(r.faults), fault, losses, overlaps, violations)
	return r.view.Draw(plain, func(width int) []string {
		row := func(label, format string, args ...any) string { return r.view.Row(width, label, format, args...) }
		return []string{
			r.view.Bar(width, elapsed, r.plan.Duration),
			row("operations", "%s   %s per second", report.Count(p.Operations), rate),
			row("fault", "%d of %d   now: %s", p.Faults, len(r.faults), fault),
			row("waiting", "%s   holding %s", report.Count(p.Waiting), report.Count(p.Holding)),
			row("losses", "%s told", losses),
			row("overlaps", "%s   violations %s", overlaps, violations),
		}
	})
}

// leaked asks both servers what they still have of the workers, until it is nothing or some time has passed.
func (r *run) leaked() (left server.Leaked, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), leakBound)
	defer cancel()
	pooled := r.plan.Pooler != "" // a pooler keeps its idle connections, which have no name
	_ = until(ctx, func() bool {
		left = server.Leaked{}
		primary, standby := r.servers()
		for _, one := range []*pgserver.Server{primary, standby} {
			if one == nil || err != nil {
				continue
			}
			var locks, connections int
			err = scan(one, fmt.Sprintf(`SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), count(*)
				FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
				AND NOT (%t AND xact_start IS NULL AND application_name = '')`, pooled), &locks, &connections)
			left.ServerLocks += locks
			left.Connections += connections
		}
		return err != nil || left == (server.Leaked{})
	})
	return left, err
}

// scan reads the one row of a query.
func scan(from *pgserver.Server, sql string, into ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), leakBound)
	defer cancel()
	rows, err := from.Exec(ctx, sql)
	if err == nil {
		_, err = fmt.Sscan(strings.Join(rows[0], " "), into...)
	}
	if err != nil {
		return fmt.Errorf("asking a server what is left: %w", err)
	}
	return nil
}

// compareRows compares what the database counted with what the workers saw confirmed.
func (r *run) compareRows(v *history.Verdict) error {
	primary, _ := r.servers()
	var writes int
	if err := scan(primary, "SELECT sum(writes) FROM "+tableName, &writes); err != nil {
		return err
	}
	confirmed, doubtful := v.Operations.Write["ok"], v.Operations.Write["unknown"]+v.Killed
	if writes < confirmed || writes > confirmed+doubtful {
		return fmt.Errorf("the database counts %d writes, the workers %d and %d in doubt: a failover has lost some, or the oracle is broken",
			writes, confirmed, doubtful)
	}
	return nil
}

// addWorkers adds what the processes said.
func (r *run) addWorkers(out *summary.Report) {
	samples := make([][]summary.Sample, len(r.workers))
	for i, incarnations := range r.workers {
		for _, w := range incarnations {
			for _, s := range w.samples {
				if s.At -= time.Duration(r.start); s.At > 0 {
					samples[i] = append(samples[i], s)
				}
			}
		}
		last := r.worker(i + 1)
		c := last.closing
		switch {
		case c == nil && out.Interrupted && last.killed: // the interrupt came before its successor
		case c == nil:
			out.Problems = append(out.Problems, fmt.Sprintf("process %d did not close in good order", i+1))
		default:
			if c.CloseError != "" {
				out.Problems = append(out.Problems, fmt.Sprintf("process %d: %s", i+1, c.CloseError))
			}
			for _, problem := range c.Problems {
				out.Problems = append(out.Problems, fmt.Sprintf("process %d: %s", i+1, problem))
			}
			out.Leaked.Goroutines += c.Goroutines
			out.Stacks = cmp.Or(c.Stacks, out.Stacks)
			out.KeeperRestarts += c.Restarts
			for text, n := range c.Failures {
				out.Failures[text] += n
			}
		}
	}
	out.SetSamples(samples)
}
