package manager_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Goroutines of one program exclude each other as programs do. The counters here are guarded by the lock alone, so the race
// detector sees as well whether what one holder wrote is visible to the next.

func TestThousandGoroutinesOneKey(t *testing.T) {
	m := open(t)
	ctx := bounded(t)
	const goroutines, cycles = 1000, 3
	counter := 0
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range cycles {
				lock, err := m.Acquire(ctx, "one")
				if err != nil {
					t.Error(err)
					return
				}
				counter++
				if err := lock.Release(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if counter != goroutines*cycles {
		t.Errorf("counted %d of %d", counter, goroutines*cycles)
	}
}

func TestManyKeysManyGoroutines(t *testing.T) {
	m := open(t)
	ctx := bounded(t)
	const goroutines, keys, cycles = 100, 20, 20
	var counters [keys]int
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range cycles {
				k := (g*7 + i*3) % keys
				if err := m.Do(ctx, fmt.Sprint("key ", k), func(context.Context) error { counters[k]++; return nil }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range counters {
		sum += n
	}
	if sum != goroutines*cycles {
		t.Errorf("counted %d of %d", sum, goroutines*cycles)
	}
}

// Waits, tries, timeouts and cancellations on few keys, from two managers that are to each other as two processes.
func TestMixedUse(t *testing.T) {
	managers := []*manager.Manager{open(t), open(t)}
	const goroutines, keys, cycles = 60, 5, 12
	var counters, grants [keys]int
	var mu sync.Mutex // of grants
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			m := managers[g%2]
			for i := range cycles {
				k := (g + i) % keys
				ctx, cancel := context.WithCancel(bounded(t))
				var opts []manager.AcquireOption
				get := m.Acquire
				switch i % 4 {
				case 1:
					get = m.TryAcquire
				case 2:
					opts = append(opts, manager.WithWaitTimeout(time.Duration(g)*time.Millisecond/4+1))
				case 3:
					time.AfterFunc(time.Duration(g)*time.Millisecond/4, cancel)
					opts = append(opts, manager.WithDetachedHold())
				}
				lock, err := get(ctx, fmt.Sprint("key ", k), opts...)
				if err == nil {
					counters[k]++
					mu.Lock()
					grants[k]++
					mu.Unlock()
					err = lock.Release(bounded(t))
				} else if errors.Is(err, manager.ErrNotAcquired) || errors.Is(err, manager.ErrWaitTimeout) || errors.Is(err, context.Canceled) {
					err = nil
				}
				cancel()
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if counters != grants {
		t.Errorf("counted %v, granted %v", counters, grants)
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	line := new(steps)
	m := open(t, line.record())
	lock := acquire(t, m, "k")
	const n = 30
	var order, want []int // order is guarded by the lock
	var wg sync.WaitGroup
	leave := make([]context.CancelFunc, n)
	for i := range n {
		ctx, cancel := context.WithCancel(bounded(t))
		leave[i] = cancel
		wg.Go(func() {
			err := m.Do(ctx, "k", func(context.Context) error { order = append(order, i); return nil })
			if left := i%3 == 1; left != errors.Is(err, context.Canceled) || !left && err != nil {
				t.Errorf("waiter %d: %v", i, err)
			}
		})
		eventually(t, "the next is queued", func() bool { return line.arrived() == i+2 })
	}
	for i := range n { // some leave, from the middle of the queue
		if i%3 == 1 {
			leave[i]()
			continue
		}
		want = append(want, i)
	}
	eventually(t, "they have left", func() bool { return m.Stats().Waiting == len(want) })
	release(t, lock)
	wg.Wait()
	for _, cancel := range leave {
		cancel()
	}
	if !slices.Equal(order, want) {
		t.Errorf("served %v, want %v", order, want)
	}
}

// A thousand local waiters are one wait at the server: the lock is handed off locally.
func TestHandOffNeedsNoServer(t *testing.T) {
	line := new(steps)
	m := open(t, manager.WithHandOffLimit(time.Hour, 1_000_000), line.record())
	ctx := bounded(t)
	lock := acquire(t, m, "k")
	const n = 200
	counter := 0
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := m.Do(ctx, "k", func(context.Context) error { counter++; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all are queued", func() bool { return line.arrived() == n+1 })
	release(t, lock)
	wg.Wait()
	closeNow(t, m) // all is counted then
	stats := m.Stats()
	if counter != n || stats.GrantsLocal != n || stats.GrantsServer != 1 || stats.Attempts != 1 {
		t.Errorf("counted %d of %d; %+v", counter, n, stats)
	}
	if stats.Batches.Operations != 2 {
		t.Errorf("%d operations at the server, want one lock and one unlock", stats.Batches.Operations)
	}
}

// Without hand-off each grant is the server's, and claims come while the lock is on its way there and back.
func TestManyGoroutinesWithoutHandOff(t *testing.T) {
	m := open(t, manager.WithHandOffLimit(time.Nanosecond, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // two thousand grants, one after the other
	defer cancel()
	const goroutines, cycles = 100, 20
	counter := 0
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range cycles {
				if err := m.Do(ctx, "k", func(context.Context) error { counter++; return nil }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if stats := m.Stats(); counter != goroutines*cycles || stats.GrantsLocal != 0 || stats.GrantsServer != goroutines*cycles {
		t.Errorf("counted %d of %d; %+v", counter, goroutines*cycles, stats)
	}
}

// At the hand-off limit, of time or of count, another process gets the lock, although the local queue is long.
func TestHandOffLimitLetsOthersIn(t *testing.T) {
	const grants, span = 10, 20 * time.Millisecond
	for name, c := range map[string]struct {
		limit manager.Option
		hold  time.Duration // of the first in the queue
		most  int           // local grants before the other's turn
	}{
		"grants": {manager.WithHandOffLimit(time.Hour, grants), 0, grants},
		"time":   {manager.WithHandOffLimit(span, 1_000_000), 2 * span, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, line := server(t), new(steps)
			busy, other := open(t, c.limit, line.record()), open(t, oneSlice()...)
			lock := acquire(t, busy, "k")
			theirs := acquiring(bounded(t), t, other, "k")
			eventually(t, "the other waits at the server", func() bool { return queued(t, s, lock.ID()) == 1 })
			const n = 100
			var local atomic.Int64
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					err := busy.Do(bounded(t), "k", func(context.Context) error {
						if local.Add(1) == 1 && c.hold > 0 {
							<-time.After(c.hold)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			eventually(t, "the local line is long", func() bool { return line.arrived() == n+1 })
			release(t, lock)
			got := ended(t, "the other's turn", theirs)
			if got.err != nil {
				t.Fatal(got.err)
			}
			if before := local.Load(); before > int64(c.most) {
				t.Errorf("%d local grants before the other's, want at most %d", before, c.most)
			}
			release(t, got.lock)
			wg.Wait()
		})
	}
}

func TestLineAndKeysAreBounded(t *testing.T) {
	m := open(t, manager.WithMaxWaiters(2), manager.WithMaxKeys(2))
	lock := acquire(t, m, "k")
	ctx, cancel := context.WithCancel(bounded(t))
	var waiters []<-chan acquired
	for range 2 {
		waiters = append(waiters, acquiring(ctx, t, m, "k"))
	}
	_, err := m.Acquire(ctx, "k")
	wantIs(t, err, manager.ErrTooManyWaiters)
	_ = failure(t, err)

	second := acquire(t, m, "k2")
	_, err = m.Acquire(ctx, "k3")
	wantIs(t, err, manager.ErrTooManyKeys)
	_ = failure(t, err)

	cancel()
	for _, w := range waiters {
		wantIs(t, ended(t, "the waiter's answer", w).err, context.Canceled)
	}
	again := acquiring(bounded(t), t, m, "k") // there is room again
	release(t, lock)
	release(t, ended(t, "the grant", again).lock)
	release(t, second)
}

// Both ways of waiting end with the waiter, and no keeper fails over it: in the server's queue, and where there is no
// session left for that, by being asked for again and again.
func TestGivingUpEitherWayOfWaiting(t *testing.T) {
	s, other := server(t), open(t)
	var seen steps
	m := open(t, manager.WithWaitingSessions(1), manager.WithHealth(10*patience, patience), seen.record())
	ctx, giveUp := context.WithCancel(bounded(t))
	queues, polls := acquire(t, other, "queues"), acquire(t, other, "polls")
	first := acquiring(ctx, t, m, "queues")
	eventually(t, "one waits in the server's queue", func() bool { return queued(t, s, queues.ID()) == 1 })
	second := acquiring(ctx, t, m, "polls")
	eventually(t, "the other is asked for again and again", func() bool { return len(seen.of("poll")) > 0 })
	giveUp()
	for _, call := range []<-chan acquired{first, second} {
		wantIs(t, ended(t, "the call", call).err, context.Canceled)
	}
	eventually(t, "nobody waits, once the slice is over", func() bool { return queued(t, s, queues.ID()) == 0 })
	eventually(t, "nobody asks", func() bool { return m.Stats().Keys == 0 })
	release(t, queues)
	release(t, polls)
	release(t, acquire(t, m, "queues"))
	release(t, acquire(t, m, "polls"))
	if got := m.Stats(); got.Restarts != 0 {
		t.Errorf("%d keepers failed", got.Restarts)
	}
}
