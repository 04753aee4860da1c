package worker

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/child"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	openBound = 30 * time.Second
	// drainBound is how long goroutines may take to come back once they are told to: longer than any statement's or
	// release's own bound, so that only a call that hangs for good meets it.
	drainBound = 45 * time.Second
	closeBound = 30 * time.Second
)

// process answers the parent's calls.
type process struct {
	before  int // goroutines before anything was opened
	load    *load
	drain   context.CancelFunc
	drained chan struct{} // closed when the last goroutine of the load has finished
}

// Run is the life of a worker process.
func Run(in io.Reader, out io.Writer) error { return child.Serve(&process{}, in, out) }

// Open opens everything that the load needs.
func (p *process) Open(job Job, _ *struct{}) error {
	p.before = runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), openBound)
	defer cancel()
	slots, err := oracle.OpenSlots(job.Slots, job.Keys)
	if err != nil {
		return err
	}
	book, err := oracle.OpenBook(ctx, job.DSN, job.app()+" oracle", job.Table, job.Limits.Oracle)
	if err != nil {
		return err
	}
	p.load = &load{job: job, book: book, slots: slots, record: newRecorder(job.Keys)}
	if job.NoLocks {
		p.load.acquire = func(ctx context.Context, _ string, _ bool) (lock, error) { return noLock{}, ctx.Err() }
		return nil
	}
	var waiting []manager.Option
	if job.Wait == ByHints {
		waiting = append(waiting, manager.WithNotify())
	}
	m, err := server.OpenManager(ctx, job.DSN, job.app(), job.Namespace, job.Limits.Sessions, job.Workers, waiting...)
	if err != nil {
		return fmt.Errorf("opening the lock manager: %w", err)
	}
	p.load.manager = m
	p.load.acquire = func(ctx context.Context, name string, shared bool) (lock, error) {
		if shared {
			return m.AcquireShared(ctx, name)
		}
		return m.Acquire(ctx, name)
	}
	return nil
}

// Start begins the load.
func (p *process) Start(struct{}, *struct{}) error {
	var draining context.Context
	draining, p.drain = context.WithCancel(context.Background())
	p.drained = make(chan struct{})
	go func() {
		defer close(p.drained)
		p.load.run(draining)
	}()
	return nil
}

// Progress tells how the load goes. Its Waits are those since the last call.
func (p *process) Progress(_ struct{}, told *Tally) error {
	*told = p.load.progress()
	return nil
}

// Stop ends the load and closes everything.
func (p *process) Stop(_ struct{}, told *Tally) error {
	p.drain()
	select {
	case <-p.drained:
	case <-time.After(drainBound): // goroutines of the load are at work still: nothing is closed under them
		return fmt.Errorf("calls did not return within %v of the cancellation of their contexts; goroutines:\n%s", drainBound, server.Stacks())
	}
	*told = p.load.result()
	if p.load.manager != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeBound)
		defer cancel()
		if err := p.load.manager.Close(ctx); err != nil {
			told.CloseErrors = []string{err.Error()}
		}
	}
	p.load.book.Close()
	told.Goroutines, told.Stacks = server.CountGoroutines(p.before)
	return p.load.slots.Close()
}
