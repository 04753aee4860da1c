package special

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// storm cancels the contexts of many waiters at once.
type storm struct{ waiters int }

// gateSize waiters come at a time: all at once they would keep the processors from everything else in this process, the
// holder's session too.
const gateSize = 1000

// stormBound is how long calls may be late before the system has failed.
const stormBound = 60 * time.Second

func (t storm) run(ctx context.Context, s scenario.Setup) (scenario.Result, error) {
	if s.Quick {
		t.waiters = min(t.waiters, 10_000)
	}
	s.Env.Goroutines = t.waiters
	// Another client holds the key, so that the waiters wait for another process's lock, as far as their client can know.
	holder, err := s.System.Open(ctx, s.Env)
	if err != nil {
		return scenario.Result{}, fmt.Errorf("opening: %w", err)
	}
	held, err := holder.Lock(ctx, oneKey)
	if err != nil {
		return scenario.Result{}, errors.Join(err, holder.Close())
	}
	client, err := s.System.Open(ctx, s.Env)
	if err != nil {
		return scenario.Result{}, errors.Join(fmt.Errorf("opening: %w", err), holder.Close())
	}
	result, err := t.measure(ctx, client)
	return result, errors.Join(err, client.Close(), held.Release(ctx), holder.Close())
}

// gathering is the waiters.
type gathering struct {
	client   peer.Client
	parked   atomic.Int64
	returned atomic.Int64
	wrong    atomic.Pointer[error]
	all      chan struct{} // closed by the last that returns
	n        int64
}

func (t storm) measure(ctx context.Context, client peer.Client) (scenario.Result, error) {
	result := scenario.Result{Extra: map[string]float64{}}
	parent, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &gathering{client: client, all: make(chan struct{}), n: int64(t.waiters)}
	gates := make([]chan struct{}, (t.waiters+gateSize-1)/gateSize)
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	for i := range t.waiters {
		go g.wait(parent, gates[i/gateSize])
	}
	for g.parked.Load() < g.n {
		if err := interrupt.Sleep(ctx, time.Millisecond); err != nil {
			return result, err
		}
	}
	before, err := settled() // the goroutines are there, and their contexts
	if err != nil {
		return result, err
	}
	for _, gate := range gates {
		close(gate)
		if err := interrupt.Sleep(ctx, time.Millisecond); err != nil {
			return result, err
		}
	}
	if err := quiet(ctx); err != nil {
		return result, err
	}
	after, err := settled()
	if err != nil {
		return result, err
	}
	if n := g.returned.Load(); n > 0 {
		return result, fmt.Errorf("%d waiters returned before the storm: %w", n, g.example())
	}
	late := time.NewTimer(stormBound)
	defer late.Stop()
	began := time.Now()
	cancel()
	select {
	case <-g.all:
	case <-late.C:
		return result, fmt.Errorf("%d of %d calls had not returned after %v", g.n-g.returned.Load(), g.n, stormBound)
	}
	took := time.Since(began)
	if g.wrong.Load() != nil {
		return result, g.example()
	}
	grown, n := after.minus(before), float64(t.waiters)
	result.Extra["waiters"] = n
	result.Extra["all_returned_ms"] = ms(took)
	result.Extra["heap_bytes_per_waiter"] = grown.heap / n
	result.Extra["stack_bytes_per_waiter"] = grown.stacks / n
	result.Extra["bytes_per_waiter"] = (grown.heap + grown.stacks) / n
	return result, nil
}

func (g *gathering) example() error {
	if err := g.wrong.Load(); err != nil {
		return *err
	}
	return errors.New("their contexts had not ended")
}

// wait parks until its gate is opened, and then waits for the lock.
func (g *gathering) wait(parent context.Context, gate <-chan struct{}) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	g.parked.Add(1)
	<-gate
	_, err := g.client.Lock(ctx, oneKey)
	if err == nil {
		err = errors.New("a waiter was granted a lock that another holds")
	}
	if !errors.Is(err, context.Canceled) {
		g.wrong.CompareAndSwap(nil, &err)
	}
	if g.returned.Add(1) == g.n {
		close(g.all)
	}
}
