package fleet

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

const (
	readyBound = 60 * time.Second
	// closeBound is more than a worker's own bounds for draining and closing together, so that its own word on what
	// hangs comes first.
	closeBound = 90 * time.Second
	exitBound  = 5 * time.Second
)

// Fleet is the worker processes of one load. Its methods are called by one goroutine.
type Fleet struct {
	processes []*process
	messages  chan message
	latest    []wire.Progress
	results   []*wire.Result
	gone      []bool
	peak      int
	window    window
	failed    error // the first failure of a process
}

// Start starts a process for each job. command makes the command of a worker process.
func Start(jobs []wire.Job, command func() *exec.Cmd) (*Fleet, error) {
	f := &Fleet{
		messages: make(chan message, len(jobs)),
		latest:   make([]wire.Progress, len(jobs)),
		results:  make([]*wire.Result, len(jobs)),
		gone:     make([]bool, len(jobs)),
		window:   newWindow(),
	}
	for i, job := range jobs {
		p, err := spawn(i, command(), job, f.messages)
		if err != nil {
			f.Exit()
			return nil, err
		}
		f.processes = append(f.processes, p)
	}
	return f, nil
}

// Ready waits until every process has opened its lock manager.
func (f *Fleet) Ready(ctx context.Context) error {
	ready := 0
	err := f.until(ctx, readyBound, "get ready", func(m message) bool {
		if m.event.Kind == wire.Ready {
			ready++
		}
		return ready == len(f.processes) || f.failed != nil
	})
	return errors.Join(f.failed, err)
}

// Run lets all processes work for the duration and calls show at each interval. It ends early with ctx, with an
// error of show, or when a process fails.
func (f *Fleet) Run(ctx context.Context, duration, every time.Duration, show func(Snapshot) error) (time.Duration, error) {
	f.order(wire.Start)
	began := time.Now()
	over := time.NewTimer(duration)
	defer over.Stop()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case m := <-f.messages:
			if err := f.take(m); err != nil {
				return time.Since(began), err
			}
		case <-ticker.C:
			if err := show(f.snapshot(time.Since(began))); err != nil {
				return time.Since(began), err
			}
		case <-ctx.Done():
			return time.Since(began), context.Cause(ctx)
		case <-over.C:
			return time.Since(began), nil
		}
	}
}

// Stop tells all processes to stop and returns their results once each has closed everything. A process that failed
// has none. No context shortens it: an interrupted load is brought to its end, too.
func (f *Fleet) Stop() ([]*wire.Result, error) {
	f.order(wire.Stop)
	err := f.until(context.Background(), closeBound, "stop", func(message) bool { return f.settled() })
	return f.results, errors.Join(f.failed, err)
}

// settled reports whether nothing more is to be expected of any process.
func (f *Fleet) settled() bool {
	for i := range f.processes {
		if f.results[i] == nil && !f.gone[i] {
			return false
		}
	}
	return true
}

// Exit ends all processes: those that do not go by themselves are killed. It returns when none is left.
func (f *Fleet) Exit() { f.exit(exitBound) }

func (f *Fleet) exit(bound time.Duration) {
	f.order(wire.Exit)
	deadline := time.NewTimer(bound)
	defer deadline.Stop()
	for i, p := range f.processes {
		_ = p.stdin.Close()
		for done := false; !done; {
			select {
			case <-p.exited:
				done = true
			case m := <-f.messages:
				f.gone[m.process] = f.gone[m.process] || m.ended != nil
			case <-deadline.C:
				for _, late := range f.processes[i:] {
					late.kill()
				}
			}
		}
	}
}

func (f *Fleet) order(do string) {
	for i, p := range f.processes {
		if !f.gone[i] {
			p.order(do)
		}
	}
}

// until takes messages until done says so. It is asked once before the first, with a message that says nothing.
func (f *Fleet) until(ctx context.Context, bound time.Duration, what string, done func(message) bool) error {
	late := time.NewTimer(bound)
	defer late.Stop()
	var m message
	for !done(m) {
		select {
		case m = <-f.messages:
			_ = f.take(m) // kept in f.failed
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return fmt.Errorf("the worker processes did not %s within %v", what, bound)
		}
	}
	return nil
}

// take records a message. The error is a failure of its process.
func (f *Fleet) take(m message) error {
	p := f.processes[m.process]
	switch {
	case m.ended != nil:
		f.gone[m.process] = true
		if f.results[m.process] == nil {
			return f.fail(p.failure(m.ended))
		}
	case m.event.Kind == wire.Failed:
		f.gone[m.process] = true
		return f.fail(fmt.Errorf("worker process %d: %s", p.number, m.event.Error))
	case m.event.Kind == wire.Working:
		f.latest[m.process] = *m.event.Progress
		f.window.add(m.event.Progress.Waits)
		sessions := 0
		for _, l := range f.latest {
			sessions += l.Sessions
		}
		f.peak = max(f.peak, sessions)
	case m.event.Kind == wire.Closed:
		f.results[m.process] = m.event.Result
	}
	return nil
}

func (f *Fleet) fail(err error) error {
	if f.failed == nil {
		f.failed = err
	}
	return err
}

// PeakSessions is the most database sessions for locks that were open at one time, as the processes told.
func (f *Fleet) PeakSessions() int { return f.peak }
