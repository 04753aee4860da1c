package player

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/internal/faultpoint"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
	"github.com/lockkeeper/lockkeeper/manager"
)

const (
	openBound = 20 * time.Second
	// drainBound is how long calls may take to return once they are told to: far more than any bound of theirs.
	drainBound = 60 * time.Second
	closeBound = 30 * time.Second
	// settleBound is how long goroutines may take to be gone.
	settleBound = 20 * time.Second
	sampleEvery = 500 * time.Millisecond
)

// Run is the life of a worker process. It reads a Job and then orders from in, writes events to out and the history to
// records. orphaned is called where in ends without an order to exit: the parent is gone.
func Run(in io.Reader, out, records io.Writer, orphaned func()) error {
	decoder := json.NewDecoder(in)
	var job Job
	if err := decoder.Decode(&job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	orders := make(chan Order, 16)
	go func() {
		for {
			var order Order
			if err := decoder.Decode(&order); err != nil {
				orphaned()
				return
			}
			orders <- order
		}
	}()
	p := &process{job: &job, orders: orders, out: json.NewEncoder(out), before: runtime.NumGoroutine(),
		recorder: &recorder{out: records, process: job.Process, generation: job.Generation}}
	if err := p.all(); err != nil {
		return errors.Join(err, p.out.Encode(Event{Kind: Failed, Error: err.Error()}))
	}
	for order := range orders {
		if order.Do == Exit {
			return nil
		}
	}
	return nil
}

type process struct {
	job      *Job
	orders   <-chan Order
	out      *json.Encoder
	recorder *recorder
	before   int
	panics   atomic.Int64 // keepers that are still to panic
}

func (p *process) all() error {
	faultpoint.Install(p.perhapsPanic)
	work, err := p.open()
	if err != nil {
		return err
	}
	if err := p.out.Encode(Event{Kind: Ready}); err != nil {
		return err
	}
	if order := <-p.orders; order.Do == Start {
		if err := p.work(work); err != nil {
			return err
		}
	}
	return p.close(work)
}

func (p *process) open() (*play, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openBound)
	defer cancel()
	rows, err := openTable(ctx, p.job)
	if err != nil {
		return nil, err
	}
	locks, err := p.openManager(ctx)
	if err != nil {
		rows.close()
		return nil, err
	}
	return &play{job: p.job, locks: locks, table: rows, recorder: p.recorder, waiting: map[*wait]struct{}{},
		failures: map[string]int{}}, nil
}

// openManager tries again as long as there is time: a process is also born while its server is away.
func (p *process) openManager(ctx context.Context) (*manager.Manager, error) {
	for {
		began := time.Now()
		locks, err := manager.Open(ctx, p.job.DSN,
			manager.WithApplicationName(p.job.App), manager.WithNamespace(p.job.Namespace),
			manager.WithHealth(p.job.Interval, p.job.Timeout), manager.WithConnectTimeout(2*time.Second),
			manager.WithIdleKeyTime(200*time.Millisecond), manager.WithMaxSessions(32))
		if err == nil || ctx.Err() != nil || errors.Is(err, manager.ErrUnsafe) && !errors.Is(err, context.DeadlineExceeded) {
			return locks, err
		}
		fmt.Fprintf(os.Stderr, "opening took %v and failed: %v\n", time.Since(began), err) // seen where the process fails
		_ = interrupt.Sleep(ctx, 50*time.Millisecond)
	}
}

// perhapsPanic is called at every step of every keeper's life.
func (p *process) perhapsPanic(_ int64, step string) {
	if p.panics.Load() > 0 && rand.IntN(20) == 0 && p.panics.Add(-1) >= 0 {
		panic("chaos: injected at " + step)
	}
}

// work returns when the order to stop has come and all goroutines of the load have finished.
func (p *process) work(w *play) error {
	stopping, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(stopping)
	}()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	go p.recorder.watchStalls(done)
	var late <-chan time.Time
	for {
		select {
		case <-ticker.C:
			p.recorder.write(event.Record{Kind: event.Beat, Return: event.Now()})
			if stopping.Err() != nil {
				w.storm() // those who began to wait since
			}
			if err := p.sample(); err != nil {
				return err
			}
		case order := <-p.orders:
			switch order.Do {
			case Storm:
				w.storm()
			case Panic:
				p.panics.Store(int64(order.N))
			case Stop:
				stop()
				w.storm()
				late = time.After(drainBound)
			}
		case <-late:
			return fmt.Errorf("calls did not return within %v of the cancellation of their contexts; goroutines:\n%s", drainBound, stacks())
		case <-done:
			return nil
		}
	}
}

func (p *process) sample() error {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return p.out.Encode(Event{Kind: Sampled, Sample: &Sample{Goroutines: runtime.NumGoroutine(), Heap: memory.HeapAlloc}})
}

func (p *process) close(w *play) error {
	p.panics.Store(0)
	stats := w.locks.Stats()
	ctx, cancel := context.WithTimeout(context.Background(), closeBound)
	defer cancel()
	last := &Closing{Before: p.before, Failures: w.failures, Restarts: stats.Restarts, LostBySession: stats.Losses}
	if err := w.locks.Close(ctx); err != nil {
		last.CloseError = err.Error()
	}
	w.table.close()
	last.After = p.settle()
	if last.After > last.Before {
		last.Stacks = stacks()
	}
	return p.out.Encode(Event{Kind: Closed, Closing: last})
}

// settle waits until no more goroutines are left than there were before, or a while has passed.
func (p *process) settle() int {
	deadline := time.Now().Add(settleBound)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		n := runtime.NumGoroutine()
		if n <= p.before || time.Now().After(deadline) {
			return n
		}
		<-ticker.C
	}
}

func stacks() string {
	buffer := make([]byte, 128<<10)
	return string(buffer[:runtime.Stack(buffer, true)])
}
