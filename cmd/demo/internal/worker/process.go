package worker

import (
	"context"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

const (
	openBound = 30 * time.Second
	// drainBound is how long goroutines may take to come back once they are told to: longer than any statement's or
	// release's own bound, so that only a call that hangs for good meets it.
	drainBound = 45 * time.Second
	closeBound = 30 * time.Second
)

// Service is the name under which the parent calls the methods.
const Service = "Worker"

// process answers the parent's calls.
type process struct {
	mu      sync.Mutex // held by the one call that is under way: net/rpc makes each on a goroutine of its own
	before  int        // goroutines before anything was opened
	load    *load
	drain   context.CancelFunc
	drained chan struct{} // closed when the last goroutine of the load has finished
}

// Run is the life of a worker process.
func Run(in io.Reader, out io.Writer) error {
	calls := rpc.NewServer()
	if err := calls.RegisterName(Service, &process{}); err != nil {
		return err
	}
	calls.ServeCodec(jsonrpc.NewServerCodec(pipes{in, out}))
	return nil
}

// pipes end the process where the parent has closed them or is gone, whatever the process is doing.
type pipes struct {
	io.Reader
	io.Writer
}

func (p pipes) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil {
		os.Exit(0)
	}
	return n, nil
}

func (p pipes) Close() error { return nil }

// Open opens everything that the load needs.
func (p *process) Open(job Job, _ *struct{}) error {
	p.mu.Lock()
	defer p.mu.Unlock()
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
		p.load.acquire = func(ctx context.Context, _ string) (lock, error) { return noLock{}, ctx.Err() }
		return nil
	}
	m, err := server.OpenManager(ctx, job.DSN, job.app(), job.Namespace, job.Limits.Sessions, job.Workers)
	if err != nil {
		return fmt.Errorf("opening the lock manager: %w", err)
	}
	p.load.manager = m
	p.load.acquire = func(ctx context.Context, name string) (lock, error) { return m.Acquire(ctx, name) }
	return nil
}

// Start begins the load.
func (p *process) Start(struct{}, *struct{}) error {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	p.mu.Lock()
	defer p.mu.Unlock()
	*told = p.load.progress()
	return nil
}

// Stop ends the load and closes everything.
func (p *process) Stop(_ struct{}, told *Tally) error {
	p.mu.Lock()
	defer p.mu.Unlock()
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
