package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/interrupt"
)

// storm cancels the contexts of many waiters at once.
type storm struct{ waiters int }

// gateSize waiters come at a time: all at once they would keep the processors from everything else in this process, the
// holder's session too.
const gateSize = 1000

// stormBound is how long calls may be late before the system has failed.
const stormBound = 60 * time.Second

func (t storm) run(ctx context.Context, s harness.Setup) (result harness.Result, err error) {
	if s.Quick {
		t.waiters = min(t.waiters, 10_000)
	}
	// Another client holds the key, so that the waiters wait for another process's lock, as far as their client can know.
	err = s.With(ctx, t.waiters, func(holder harness.Client) error {
		held, err := holder.Lock(ctx, oneKey)
		if err != nil {
			return err
		}
		err = s.With(ctx, t.waiters, func(client harness.Client) (err error) {
			result, err = t.measure(ctx, client)
			return err
		})
		return errors.Join(err, held.Release(ctx))
	})
	return result, err
}

// gathering is the waiters.
type gathering struct {
	client   harness.Client
	parked   atomic.Int64
	returned atomic.Int64
	wrong    atomic.Pointer[error]
	all      chan struct{} // closed by the last that returns
	n        int64
}

func (t storm) measure(ctx context.Context, client harness.Client) (result harness.Result, err error) {
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
	grown, err := before.grown()
	if err != nil {
		return result, err
	}
	if returned := g.returned.Load(); returned > 0 {
		return result, fmt.Errorf("%d waiters returned before the storm: %w", returned, g.example())
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
	n := float64(t.waiters)
	result.Extra = map[string]float64{"waiters": n, "all_returned_ms": ms(took), "heap_bytes_per_waiter": grown.heap / n,
		"stack_bytes_per_waiter": grown.stacks / n, "bytes_per_waiter": (grown.heap + grown.stacks) / n}
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
