// Package worker is one process of the load: it opens a lock manager of its own, as one service among several would,
// and takes its orders from the parent process.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/locker"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

const (
	openBound = 30 * time.Second
	// drainBound is how long goroutines may take to come back once they are told to: longer than any statement's or
	// release's own bound, so that only a call that hangs for good meets it.
	drainBound    = 45 * time.Second
	closeBound    = 30 * time.Second
	progressEvery = 250 * time.Millisecond
)

// Opener opens the lock manager under test.
type Opener func(ctx context.Context, job wire.Job) (locker.Locker, error)

// process is the state of one worker process between its first and its last line.
type process struct {
	job    wire.Job
	orders <-chan string
	out    *json.Encoder
	open   Opener
	before int // goroutines before anything was opened
}

// Run is the life of a worker process. It reads a Job and then orders from in, and writes events to out. orphaned is
// called where in ends without an order to exit: the parent is gone.
func Run(in io.Reader, out io.Writer, open Opener, orphaned func()) error {
	decoder := json.NewDecoder(in)
	p := &process{out: json.NewEncoder(out), open: open}
	if err := decoder.Decode(&p.job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	p.orders = readOrders(decoder, orphaned)
	p.before = runtime.NumGoroutine()

	l, err := p.openAll()
	if err != nil {
		return errors.Join(err, p.out.Encode(wire.Event{Kind: wire.Failed, Error: err.Error()}))
	}
	result, err := p.work(l)
	if err != nil {
		return errors.Join(err, p.out.Encode(wire.Event{Kind: wire.Failed, Error: err.Error()}))
	}
	if err := p.out.Encode(wire.Event{Kind: wire.Closed, Result: result}); err != nil {
		return err
	}
	for order := range p.orders {
		if order == wire.Exit {
			break
		}
	}
	return nil
}

// readOrders starts the one goroutine that reads the parent's lines. It ends with the process.
func readOrders(decoder *json.Decoder, orphaned func()) <-chan string {
	orders := make(chan string, 4) // every order that there is, so that the reader always gets back to reading
	go func() {
		for {
			var order wire.Order
			if err := decoder.Decode(&order); err != nil {
				orphaned()
				return
			}
			orders <- order.Do
		}
	}()
	return orders
}

func (p *process) openAll() (*load, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openBound)
	defer cancel()
	slots, err := oracle.OpenSlots(p.job.Slots, p.job.Keys)
	if err != nil {
		return nil, err
	}
	book, err := oracle.OpenBook(ctx, p.job.DSN, p.job.App+" oracle", p.job.Table, p.job.Limits.Oracle)
	if err != nil {
		return nil, errors.Join(err, slots.Close())
	}
	locks, err := p.open(ctx, p.job)
	if err != nil {
		book.Close()
		return nil, errors.Join(fmt.Errorf("opening the lock manager: %w", err), slots.Close())
	}
	return &load{job: p.job, locks: locks, book: book, slots: slots, tally: newTally(p.job.Keys)}, nil
}

// work runs the load from the order to start until the order to stop, and closes everything.
func (p *process) work(l *load) (*wire.Result, error) {
	if err := p.out.Encode(wire.Event{Kind: wire.Ready}); err != nil {
		return nil, err
	}
	if <-p.orders == wire.Start {
		if err := p.loadAndReport(l); err != nil {
			return nil, err // goroutines of the load may be at work still: nothing is closed under them
		}
	}

	stats := l.locks.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	closeErr := l.locks.Close(ctx)
	l.book.Close()
	if err := l.slots.Close(); err != nil {
		return nil, err
	}
	result, err := l.tally.result()
	if err != nil {
		return nil, err
	}
	result.GrantsLocal, result.GrantsServer = stats.GrantsLocal, stats.GrantsServer
	if closeErr != nil {
		result.CloseError = closeErr.Error()
	}
	result.Goroutines = CountGoroutines(p.before)
	return result, nil
}

// loadAndReport returns when the order to stop has come and the last goroutine of the load has finished.
func (p *process) loadAndReport(l *load) error {
	draining, drain := context.WithCancel(context.Background())
	defer drain()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(draining)
	}()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	orders := p.orders
	var late <-chan time.Time
	for {
		select {
		case <-ticker.C:
			if err := p.progress(l); err != nil {
				return err
			}
		case order := <-orders:
			if order == wire.Stop {
				drain()
				late = time.After(drainBound)
				orders = nil
			}
		case <-late:
			return fmt.Errorf("calls did not return within %v of the cancellation of their contexts; goroutines:\n%s", drainBound, stacks())
		case <-done:
			return nil
		}
	}
}

func (p *process) progress(l *load) error {
	waits, err := l.tally.takeInterval()
	if err != nil {
		return err
	}
	stats := l.locks.Stats()
	return p.out.Encode(wire.Event{Kind: wire.Working, Progress: &wire.Progress{
		Counts: l.tally.counts(), Waiting: stats.Waiting, Held: stats.Held, Sessions: stats.Sessions, Waits: waits,
	}})
}
