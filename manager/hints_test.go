package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// handOvers has the callers of several managers take a few keys in turns, each manager for one grant at a time, until the lock has gone
// from one manager to another n times. Some give up while they wait, some only try. It returns the managers, which are still open.
func handOvers(t *testing.T, n int64, opts ...manager.Option) []*manager.Manager {
	t.Helper()
	const managers, keys, callers = 4, 8, 24
	s := server(t)
	all := make([]*manager.Manager, managers)
	for i := range all {
		all[i] = openOn(t, s, append(opts, patientHealth, manager.WithNotify(), manager.WithHandOffLimit(time.Hour, 1), manager.WithMaxSessions(8))...)
	}
	var holder [keys]atomic.Int64 // the manager that had the key last, from 1
	var inside [keys]atomic.Int64
	var done atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	once := func(i int) error {
		k, way := rand.IntN(keys), rand.IntN(16)
		waits, cancel := context.WithCancel(ctx)
		defer cancel()
		acquire := all[i].Acquire
		switch way {
		case 0:
			acquire = all[i].TryAcquire
		case 1:
			late := time.AfterFunc(rand.N(10*time.Millisecond), cancel)
			defer late.Stop()
		}
		name := fmt.Sprint("hand over ", k)
		lock, err := acquire(waits, name, manager.WithDetachedHold()) // a context that ends late ends no hold that is counted below
		if err != nil {
			if way == 0 && errors.Is(err, manager.ErrNotAcquired) || way == 1 && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if inside[k].Add(1) != 1 {
			return fmt.Errorf("%s has two holders", name)
		}
		if holder[k].Swap(int64(i+1)) != int64(i+1) {
			done.Add(1)
		}
		inside[k].Add(-1)
		return lock.Release(context.WithoutCancel(ctx))
	}
	var wg sync.WaitGroup
	began := time.Now()
	for i := range all {
		for range callers {
			wg.Go(func() {
				for done.Load() < n {
					if err := once(i); err != nil {
						t.Error(err)
						done.Store(n)
					}
				}
			})
		}
	}
	wg.Wait()
	var sum manager.HintStats
	sessions := 0
	for _, m := range all {
		st := m.Stats()
		sum.Sent, sum.Heard, sum.Lost, sum.LateGrants = sum.Sent+st.Hints.Sent, sum.Heard+st.Hints.Heard, sum.Lost+st.Hints.Lost, sum.LateGrants+st.Hints.LateGrants
		sessions += st.Sessions.Total()
	}
	t.Logf("%d times from one manager to another in %v, %+v, %d sessions", done.Load(), time.Since(began).Round(time.Millisecond), sum, sessions)
	return all
}

// handOverCount is how often the lock goes from one manager to another.
func handOverCount() int64 {
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		return 1_000_000
	}
	return 3000
}

// A lock that comes free is offered to one who waits: nobody waits until a poll finds it free. With LOCKKEEPER_STRESS a million times. Where
// the machine stands still for a moment a poll may come first, so that some are allowed, and it is tried again; internal/sim shows that none is lost.
func TestNoHintIsLost(t *testing.T) {
	n := handOverCount()
	most := 3 + uint64(n)/2000
	for range 4 {
		var late uint64
		for _, m := range handOvers(t, n) {
			late += m.Stats().Hints.LateGrants
		}
		if late <= most {
			return
		}
		t.Logf("%d grants came late, should be %d at most", late, most)
	}
	t.Error("each time too many grants came late")
}

// A manager that waits in the server's queue, and those that tell each other: each is served, and none waits for a hint that will not come.
func TestMixedWaysOfWaiting(t *testing.T) {
	s := server(t)
	queues, one, two := openOn(t, s), openOn(t, s, manager.WithNotify()), openOn(t, s, manager.WithNotify())
	for range 5 {
		for _, holder := range []*manager.Manager{queues, one, two} {
			lock := acquire(t, holder, "k")
			var waiting []<-chan acquired
			for _, m := range []*manager.Manager{one, queues, two} {
				waiting = append(waiting, acquiring(bounded(t), t, m, "k"))
			}
			release(t, lock)
			var served sync.WaitGroup
			for _, w := range waiting {
				served.Go(func() {
					if got := <-w; got.err != nil {
						t.Error(got.err)
					} else if err := got.lock.Release(bounded(t)); err != nil {
						t.Error(err)
					}
				})
			}
			release(t, acquire(t, holder, "k"))
			served.Wait()
		}
	}
}

// Keys that many managers contend for need no session each. Where the machine stands still for a moment some do, so that it is tried again.
func TestContendedKeysNeedNoSessionEach(t *testing.T) {
	s := server(t)
	for range 5 {
		got := contended(t, s)
		if got.Sessions.Total() <= 4 && got.Hints.LateGrants <= 1 {
			return
		}
		t.Logf("%+v, %+v", got.Sessions, got.Hints)
	}
	t.Error("each time there were more sessions, or late grants")
}

// contended is what a manager says that has waited for thirty keys of another.
func contended(t *testing.T, s *pgserver.Server) manager.Stats {
	t.Helper()
	holder, waiter := openOn(t, s, manager.WithNotify()), openOn(t, s, manager.WithNotify())
	const keys = 30
	var theirs []*manager.Lock
	var waiting []<-chan acquired
	for i := range keys {
		key := fmt.Sprint("key ", i)
		theirs = append(theirs, acquire(t, holder, key))
		waiting = append(waiting, acquiring(bounded(t), t, waiter, key))
	}
	pollFor(5*time.Second, func() bool { return waiter.Stats().Hints.Heard >= keys }) // else the figures tell that the holder did not listen yet
	for i, lock := range theirs {
		release(t, lock)
		release(t, granted(t, waiting[i]))
	}
	return waiter.Stats()
}
