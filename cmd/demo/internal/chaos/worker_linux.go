package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/summary"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
)

const (
	readyBound = 60 * time.Second
	// stopBound is more than a worker's own bounds together, so that its own word on what hangs comes first.
	stopBound   = 130 * time.Second
	exitBound   = 3 * time.Second
	freezeBound = 5 * time.Second
	sampleEvery = time.Second
	// historyPipe is how many bytes of the history the kernel keeps for a busy parent.
	historyPipe = 1 << 20
)

// worker is one incarnation of a worker process.
type worker struct {
	*child.Process
	process    int
	generation int
	gone       chan struct{} // closed when it has ended and its last record was taken
	expected   atomic.Bool   // its end is
	killed     bool          // by the nemesis
	closing    *Closing      // nil: it has not closed everything

	samples []summary.Sample // read after gone
}

// call makes a call that the process must answer within a bound.
func call(p *child.Process, method string, arguments, answer any, bound time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), bound, fmt.Errorf("%s did not answer %q within %v", p.Name, method, bound))
	defer cancel()
	return p.Call(ctx, method, arguments, answer)
}

// worker returns the current incarnation of a process.
func (r *run) worker(process int) *worker {
	all := r.workers[process-1]
	return all[len(all)-1]
}

// each calls f for all processes at once.
func (r *run) each(f func(process int) error) error {
	errs := make([]error, len(r.workers))
	var all sync.WaitGroup
	for i := range r.workers {
		all.Go(func() { errs[i] = f(i + 1) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// launch starts the next incarnation of a process, and returns when it is ready. After the load's start it works at once.
func (r *run) launch(process int) error {
	all := &r.workers[process-1]
	w, err := r.startWorker(process, len(*all)+1)
	if err != nil {
		return err
	}
	*all = append(*all, w)
	job := Job{Plan: *r.plan, Process: process, Generation: w.generation}
	job.DSN, job.LockDSN = r.dsn(process)
	err = call(w.Process, "Open", job, nil, readyBound)
	if err == nil && r.start > 0 {
		err = w.play()
	}
	if err != nil {
		w.End(exitBound) // this is the end of the run too
	}
	return err
}

func (r *run) startWorker(process, generation int) (*worker, error) {
	w := &worker{process: process, generation: generation, gone: make(chan struct{})}
	records, toParent, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer toParent.Close()
	_, _ = unix.FcntlInt(toParent.Fd(), unix.F_SETPIPE_SZ, historyPipe) // the default size will do as well
	cmd := r.part(PartWorker)
	if r.network != nil {
		r.network.spaces[process-1].enter(cmd)
	}
	cmd.ExtraFiles = []*os.File{toParent}
	if w.Process, err = child.Start(fmt.Sprintf("worker process %d", process), cmd); err != nil {
		records.Close()
		return nil, err
	}
	go w.watch(records, r.book.Add, r.down)
	return w, nil
}

// watch takes the records and samples of a process. It ends after the process has.
func (w *worker) watch(records *os.File, take func(history.Record), down chan<- error) {
	defer close(w.gone)
	recorded := make(chan error, 1)
	go func() {
		defer records.Close()
		recorded <- history.Read(records, take)
	}()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for alive := true; alive; {
		select {
		case <-ticker.C:
			s := summary.Sample{Generation: w.generation}
			if call(w.Process, "Sample", struct{}{}, &s, stopBound) == nil {
				s.At = time.Duration(now())
				w.samples = append(w.samples, s)
			}
		case <-w.Exited:
			alive = false
		}
	}
	err := <-recorded
	if err == nil && !w.expected.Load() {
		err = w.Early()
	}
	if err != nil {
		select {
		case down <- err:
		default: // another one was first
		}
	}
}

// play starts the load.
func (w *worker) play() error { return call(w.Process, "Play", struct{}{}, nil, readyBound) }

// stop returns when the process has closed everything.
func (w *worker) stop() error {
	if w.killed { // an interrupt came before its successor
		return nil
	}
	last := &Closing{}
	err := call(w.Process, "Stop", struct{}{}, last, stopBound)
	if err == nil {
		w.closing = last
	}
	return err
}

// kill kills the process, and returns when its last record has been taken.
func (w *worker) kill() error {
	w.killed = true
	w.expected.Store(true)
	err := w.Cmd.Process.Kill()
	<-w.gone
	return err
}

// end ends the process, by force if it does not end itself, and returns when its last record has been taken.
func (w *worker) end() {
	w.expected.Store(true)
	w.End(exitBound)
	<-w.gone
}

// freeze stops a process, and returns when the kernel has stopped all of its threads.
func freeze(p *child.Process) error {
	if err := p.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(freezeBound); ; <-time.After(2 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
		_, state, found := strings.Cut(string(stat), ") ") // the name before it is ours and has no parenthesis
		switch {
		case err != nil:
			return err // it is gone
		case found && strings.ContainsAny(state[:1], "TtZX"):
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("process %d does not stop within %v", p.Cmd.Process.Pid, freezeBound)
		}
	}
}

// thaw ends freeze.
func thaw(p *child.Process) error { return p.Cmd.Process.Signal(syscall.SIGCONT) }
