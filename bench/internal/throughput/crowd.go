package throughput

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/peer"
	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// Phases of a crowd.
const (
	warming uint32 = iota
	measuring
	stopping
)

// How long the goroutines may take to finish their pairs before their contexts are cancelled, and how long they may take
// after that. Some systems look again only every second.
const (
	finishBound = 2 * time.Second
	cancelBound = 5 * time.Second
)

var errHangs = errors.New("calls do not return although their contexts have ended")

// crowd is the goroutines of one load.
type crowd struct {
	client  peer.Client
	load    Load
	phase   atomic.Uint32
	counts  []count
	latency latency.Histogram
	cancel  context.CancelFunc
	failed  chan error // the first failure; capacity 1
	running sync.WaitGroup
}

// count is written by its goroutine alone. The padding keeps neighbours off one cache line.
type count struct {
	pairs uint64
	_     [56]byte
}

func newCrowd(client peer.Client, l Load) *crowd {
	return &crowd{client: client, load: l, counts: make([]count, l.Goroutines), failed: make(chan error, 1)}
}

func (c *crowd) start(ctx context.Context) {
	// Goroutines end by their phase, and by this context where that does not do.
	ctx, c.cancel = context.WithCancel(ctx)
	for g := range c.load.Goroutines {
		c.running.Go(func() {
			own, cancel := context.WithCancel(ctx)
			defer cancel()
			if err := c.work(own, g); err != nil && c.phase.Load() != stopping {
				select {
				case c.failed <- err:
				default:
				}
			}
		})
	}
}

// work takes and releases locks until the crowd is stopped.
func (c *crowd) work(ctx context.Context, g int) error {
	next := c.load.chooser(g)
	fixed := c.load.Skew == 0
	var l peer.Locker
	if fixed {
		l = locker(c.client, Key(next()))
	}
	for c.phase.Load() != stopping {
		if !fixed {
			l = named{c.client, Key(next())}
		}
		began := time.Now()
		held, err := l.Lock(ctx)
		if err != nil {
			return fmt.Errorf("acquiring: %w", err)
		}
		took := time.Since(began)
		if c.phase.Load() == measuring {
			c.latency.Record(took)
		}
		if err := held.Release(ctx); err != nil {
			return fmt.Errorf("releasing: %w", err)
		}
		if c.phase.Load() == measuring {
			c.counts[g].pairs++
		}
	}
	return nil
}

// during waits for a time, or for the first failure.
func (c *crowd) during(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-c.failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the goroutines. One that does not end is a failure of the system.
func (c *crowd) stop() error {
	c.phase.Store(stopping)
	defer c.cancel()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.running.Wait()
	}()
	for _, bound := range []time.Duration{finishBound, cancelBound} {
		select {
		case <-finished:
			return nil
		case <-time.After(bound):
			c.cancel()
		}
	}
	return errHangs
}
