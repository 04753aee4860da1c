package manager_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// stormWaiters is how many calls wait when the storm breaks.
func stormWaiters() int {
	if os.Getenv("LOCKKEEPER_STRESS") == "1" {
		return 100_000
	}
	return 1000
}

// All contexts end at once: every call returns, nothing is left, and the key can be taken at once.
func TestCancellationStormOnOneKey(t *testing.T) { storm(t, 1) }

func TestCancellationStormOnManyKeys(t *testing.T) { storm(t, 1000) }

func storm(t *testing.T, keys int) {
	t.Helper()
	s, n := server(t), stormWaiters()
	other := open(t)
	m := open(t, manager.WithMaxWaiters(n))
	handles := make([]manager.Key, keys)
	theirs := make([]*manager.Lock, keys)
	var wg sync.WaitGroup
	for i := range keys {
		handles[i] = m.Key(fmt.Sprint("key ", i))
		wg.Go(func() {
			var err error
			if theirs[i], err = other.Acquire(bounded(t), handles[i].Name()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}

	// Some keys come free in the storm's midst. A grant there goes to nobody, or to one whose hold ends with its context.
	comesFree := func(i int) bool { return i%10 == 9 }
	ctx, cancel := context.WithCancelCause(bounded(t))
	defer cancel(nil)
	var wrong atomic.Int64
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			lock, err := handles[i%keys].Acquire(ctx)
			if granted := err == nil && lock != nil && comesFree(i%keys); granted {
				<-lock.Done()
				err = lock.Err()
			}
			if !errors.Is(err, context.Canceled) || !errors.Is(err, errWhy) {
				if wrong.Add(1) == 1 {
					t.Errorf("the first wrong answer: %v", err)
				}
			}
		})
	}
	eventually(t, "all wait", func() bool { return m.Stats().Waiting == n })
	for i, lock := range theirs {
		if comesFree(i) {
			wg.Go(func() {
				if err := lock.Release(bounded(t)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	start := time.Now()
	cancel(errWhy)
	all := make(chan struct{})
	go func() { calls.Wait(); close(all) }()
	ended(t, "the return of every call", all)
	t.Logf("%d calls on %d keys returned in %v", n, keys, time.Since(start).Round(time.Millisecond))
	wg.Wait()
	if wrong.Load() > 0 {
		t.Errorf("%d wrong answers", wrong.Load())
	}
	// A lock that was granted just as its context ended is released after its call has returned.
	eventually(t, "nothing waits and nothing is held", func() bool {
		got := m.Stats()
		return got.Waiting == 0 && got.Held == 0
	})
	for _, lock := range theirs {
		release(t, lock)
	}
	for _, key := range handles {
		lock, err := key.Acquire(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		release(t, lock)
	}
	if got := held(t, s); len(got) != 0 {
		t.Errorf("held: %d locks", len(got))
	}
}
