package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/player"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/stage"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/summary"
)

const (
	readyBound = 60 * time.Second
	// closeBound is more than a worker's own bounds together, so that its own word on what hangs comes first.
	closeBound = 130 * time.Second
)

// crew is the worker processes. Each has a goroutine that listens to it.
type crew struct {
	stage *stage.Stage
	all   sync.WaitGroup
	down  chan error // capacity 1: the first process that ended without being asked

	mu      sync.Mutex
	members []*member // by process, from 0
	start   int64     // 0: the load has not begun
}

// member is what is known of a process.
type member struct {
	worker     *stage.Worker
	ready      chan struct{} // closed when the incarnation is ready
	closed     chan struct{} // closed when it has closed everything, or is gone
	generation int
	goroutines int
	heap       uint64
	closing    []*player.Closing
	samples    []summary.Sample
}

func newCrew(s *stage.Stage, processes int) *crew {
	c := &crew{stage: s, down: make(chan error, 1), members: make([]*member, processes)}
	for i := range c.members {
		c.members[i] = &member{}
	}
	return c
}

// launch starts the next incarnation of a process, and returns when it is ready. Once the load has begun it works at once.
func (c *crew) launch(process int) error {
	c.mu.Lock()
	m := c.members[process-1]
	m.generation++
	generation := m.generation
	c.mu.Unlock()
	w, err := c.stage.Launch(process, generation)
	if err != nil {
		return err
	}
	ready, closed := make(chan struct{}), make(chan struct{})
	c.mu.Lock()
	m.worker, m.ready, m.closed = w, ready, closed
	c.mu.Unlock()
	c.all.Go(func() { c.listen(m, w, ready, closed) })
	late := time.NewTimer(readyBound)
	defer late.Stop()
	select {
	case <-ready:
	case <-closed:
		return w.Failure()
	case <-late.C:
		return fmt.Errorf("worker process %d does not get ready within %v", process, readyBound)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.start > 0 {
		w.Order(player.Start, 0)
	}
	return nil
}

func (c *crew) listen(m *member, w *stage.Worker, ready, closed chan struct{}) {
	done := sync.OnceFunc(func() { close(closed) })
	defer done()
	said := ""
	for e := range w.Events {
		c.mu.Lock()
		switch e.Kind {
		case player.Ready:
			close(ready)
		case player.Sampled:
			m.goroutines, m.heap = e.Sample.Goroutines, e.Sample.Heap
		case player.Closed:
			m.closing = append(m.closing, e.Closing)
			done()
		case player.Failed:
			said = e.Error
		}
		c.mu.Unlock()
	}
	if !w.Expected() {
		err := w.Failure()
		if said != "" {
			err = fmt.Errorf("worker process %d: %s", w.Process, said)
		}
		select {
		case c.down <- err:
		default:
		}
	}
}

// launchAll starts all processes.
func (c *crew) launchAll() error {
	errs := make([]error, len(c.members))
	var all sync.WaitGroup
	for i := range c.members {
		all.Go(func() { errs[i] = c.launch(i + 1) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// begin lets the load begin.
func (c *crew) begin() (start int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = event.Now()
	for _, m := range c.members {
		m.worker.Order(player.Start, 0)
	}
	return c.start
}

// stop tells all processes to stop, and returns when each has closed everything.
func (c *crew) stop() error {
	c.mu.Lock()
	var waits []chan struct{}
	for _, m := range c.members {
		m.worker.Order(player.Stop, 0)
		waits = append(waits, m.closed)
	}
	c.mu.Unlock()
	late := time.NewTimer(closeBound)
	defer late.Stop()
	for i, closed := range waits {
		select {
		case <-closed:
		case <-late.C:
			return fmt.Errorf("worker process %d did not stop within %v", i+1, closeBound)
		}
	}
	return nil
}

// sample notes what each process uses now.
func (c *crew) sample() {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Duration(event.Now() - c.start)
	for _, m := range c.members {
		usage, ok := stage.UsageOf(m.worker.PID())
		if !ok || m.goroutines == 0 {
			continue
		}
		m.samples = append(m.samples, summary.Sample{At: at, Generation: m.generation, Resident: usage.Resident,
			Heap: m.heap, Goroutines: m.goroutines, Descriptors: usage.Descriptors})
	}
}

// failure is the end of a process that nobody asked for, nil where there was none.
func (c *crew) failure() error {
	select {
	case err := <-c.down:
		return err
	default:
		return nil
	}
}

// replace is for the nemesis: it launches a process again that it has killed.
func (c *crew) replace(ctx context.Context) func(process int) error {
	return func(process int) error {
		if ctx.Err() != nil && c.start == 0 {
			return ctx.Err()
		}
		return c.launch(process)
	}
}
