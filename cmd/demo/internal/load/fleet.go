package load

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

const (
	readyBound = 60 * time.Second
	// closeBound is more than a worker's own bounds for draining and closing together, so that its own word on what
	// hangs comes first.
	closeBound = 90 * time.Second
	exitBound  = 5 * time.Second
)

// fleet is the worker processes of one load. Its methods are called by one goroutine.
type fleet struct {
	processes []*child.Process
	sessions  int // the most for locks that were open at one time, as far as was seen
	acquired  uint64
	looked    time.Duration // when that was
	recent    worker.Waits  // that had ended then, after the look before
}

// startFleet starts a process for each job and waits until each has opened its lock manager. command makes the command
// of a worker process.
func startFleet(ctx context.Context, jobs []worker.Job, command func() *exec.Cmd) (*fleet, error) {
	f := &fleet{recent: worker.NewWaits()}
	for _, job := range jobs {
		p, err := child.Start(fmt.Sprintf("worker process %d", job.Process), command())
		if err != nil {
			f.exit(exitBound)
			return nil, err
		}
		f.processes = append(f.processes, p)
	}
	ctx, cancel := within(ctx, readyBound, "get ready")
	defer cancel()
	if _, err := f.call(ctx, "Open", func(i int) any { return jobs[i] }); err != nil {
		f.exit(exitBound)
		return nil, err
	}
	return f, nil
}

func within(ctx context.Context, bound time.Duration, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, bound, fmt.Errorf("the worker processes did not %s within %v", what, bound))
}

// nothing is the arguments of a call that has none.
func nothing(int) any { return struct{}{} }

// call makes a call to every process and returns their answers. Of a process that failed it is nil.
func (f *fleet) call(ctx context.Context, method string, arguments func(int) any) ([]*worker.Tally, error) {
	answers := make([]*worker.Tally, len(f.processes))
	errs := make([]error, len(f.processes))
	var all sync.WaitGroup
	for i, p := range f.processes {
		all.Go(func() {
			answer := &worker.Tally{}
			if errs[i] = p.Call(ctx, method, arguments(i), answer); errs[i] == nil {
				answers[i] = answer
			}
		})
	}
	all.Wait()
	var joined error
	for _, err := range errs {
		if err != nil && !errors.Is(joined, err) { // the context's end is told once
			joined = errors.Join(joined, err)
		}
	}
	return answers, joined
}

// run lets all processes work for the duration and calls show at each interval. It ends early with ctx, with an error
// of show, or when a process fails.
func (f *fleet) run(ctx context.Context, duration, every time.Duration, show func(progress) error) (time.Duration, error) {
	began := time.Now()
	running, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	_, err := f.call(running, "Start", nothing)
	for err == nil {
		select {
		case <-ticker.C:
			var answers []*worker.Tally
			if answers, err = f.call(running, "Progress", nothing); err == nil {
				err = show(f.progress(answers, time.Since(began)))
			}
		case <-running.Done():
			err = context.Cause(running)
		}
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = nil // the time is over
	}
	return time.Since(began), err
}

// progress is the state of the whole load at one moment.
type progress struct {
	worker.Tally
	elapsed       time.Duration
	perSecond     float64       // since the one before
	p50, p90, p99 time.Duration // of the waits that ended lately
}

func (f *fleet) progress(answers []*worker.Tally, elapsed time.Duration) progress {
	p := progress{Tally: sum(answers), elapsed: elapsed}
	f.sessions = max(f.sessions, p.Sessions)
	if passed := elapsed - f.looked; passed > 0 {
		p.perSecond = float64(p.Acquired-f.acquired) / passed.Seconds()
	}
	f.acquired, f.looked = p.Acquired, elapsed
	// The waits of two intervals, so that a percentile is not made of a handful.
	f.recent.Merge(p.Waits.Histogram)
	at := func(q float64) time.Duration { return time.Duration(f.recent.ValueAtQuantile(q)) * time.Microsecond }
	p.p50, p.p90, p.p99 = at(50), at(90), at(99)
	f.recent = p.Waits
	return p
}

func sum(tallies []*worker.Tally) worker.Tally {
	all := worker.Tally{Waits: worker.NewWaits()}
	for _, t := range tallies {
		if t != nil {
			all.Add(t)
		}
	}
	return all
}

// stop tells all processes to stop and returns what each has seen once it has closed everything. No context shortens it:
// an interrupted load is brought to its end, too.
func (f *fleet) stop() ([]*worker.Tally, error) {
	ctx, cancel := within(context.Background(), closeBound, "stop")
	defer cancel()
	return f.call(ctx, "Stop", nothing)
}

// exit ends all processes: those that do not go by themselves are killed. It returns when none is left.
func (f *fleet) exit(bound time.Duration) {
	var all sync.WaitGroup
	for _, p := range f.processes {
		all.Go(func() { p.End(bound) })
	}
	all.Wait()
}
