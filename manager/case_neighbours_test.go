package manager_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// neighbours hold a lock each, and take and release others again and again, until the test is over.
type neighbours struct {
	held   []*manager.Lock
	rounds []atomic.Int64
	stop   chan struct{}
	wg     sync.WaitGroup
	home   func()
}

// settle has n neighbours on a manager. Two of them share each key that they take.
func settle(t *testing.T, m *manager.Manager, n int) *neighbours {
	t.Helper()
	ns := &neighbours{rounds: make([]atomic.Int64, n), stop: make(chan struct{})}
	for i := range n {
		ns.held = append(ns.held, acquire(t, m, fmt.Sprint("held ", i), plainRetry))
	}
	for i := range n {
		ns.wg.Go(func() {
			for !isEnded(ns.stop) && ns.round(t, m, fmt.Sprint("taken ", i/2)) {
				ns.rounds[i].Add(1)
			}
		})
	}
	ns.home = sync.OnceFunc(func() { close(ns.stop); ns.wg.Wait() })
	t.Cleanup(ns.home)
	return ns
}

func (ns *neighbours) round(t *testing.T, m *manager.Manager, key string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	call := fateOf(only(func() error {
		lock, err := m.Acquire(ctx, key, plainRetry)
		if err == nil {
			err = lock.Release(ctx)
		}
		return err
	}))
	select {
	case got := <-call:
		if got.err != nil || got.panicked != nil || got.exited {
			t.Errorf("a neighbour: %v", got)
		}
		return !t.Failed()
	case <-time.After(2 * soon):
		t.Errorf("a neighbour's call has not returned %v after the end of its context", soon)
		return false
	}
}

// unharmed wants each neighbour to make five more rounds, and to have its lock.
func (ns *neighbours) unharmed(t *testing.T) {
	t.Helper()
	goal := make([]int64, len(ns.rounds))
	for i := range ns.rounds {
		goal[i] = ns.rounds[i].Load() + 5
	}
	eventually(t, "the neighbours go about their business", func() bool {
		for i := range ns.rounds {
			if ns.rounds[i].Load() < goal[i] && !t.Failed() {
				return false
			}
		}
		return true
	})
	for _, lock := range ns.held {
		if err := lock.Err(); err != nil {
			t.Errorf("a neighbour's lock %s: %v", lock.Key(), err)
		}
	}
}

// goHome ends their business, and gives their locks back.
func (ns *neighbours) goHome(t *testing.T) {
	t.Helper()
	ns.home()
	err := prompt(t, "the neighbours' releases", func(ctx context.Context) error {
		errs := make(chan error, len(ns.held))
		for _, lock := range ns.held {
			go func() { errs <- lock.Release(ctx) }()
		}
		var all error
		for range ns.held {
			all = errors.Join(all, <-errs)
		}
		return all
	})
	if err != nil {
		t.Errorf("the neighbours' releases: %v", err)
	}
}
