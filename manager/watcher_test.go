package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// What a wait shows at the server begins when it has lasted, and ends with it.
func TestALongWaitIsShown(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s, manager.WithApplicationName("lk one")), openOn(t, s)
	a, b := acquire(t, one, "a"), acquire(t, two, "b")
	free := acquiring(t.Context(), t, one, "b") // inside of nothing
	ctx, cancel := context.WithCancel(a.Context())
	inside := acquiring(ctx, t, one, "b")
	eventually(t, "it is shown", func() bool { return marks(t, s) == 1 })
	locks, err := one.Locks(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, l := range locks {
		if strings.Contains(l.Key, `inside "a", waiting for "b"`) && l.Holders[0].ApplicationName == "lk one" && l.Holders[0].Shared {
			shown++
		}
	}
	if shown != 1 {
		t.Errorf("%+v", locks)
	}
	cancel()
	wantIs(t, ended(t, "the end of the wait", inside).err, context.Canceled)
	eventually(t, "nothing is shown", func() bool { return marks(t, s) == 0 })
	release(t, b)
	release(t, granted(t, free))
	release(t, a)
}

// What shows a wait is lost with its session: it is shown again, so that the circle is found.
func TestALostSessionHidesNoDeadlock(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s, manager.WithApplicationName("lk one")), openOn(t, s)
	a, b := acquire(t, one, "a", manager.WithDedicatedSession()), acquire(t, two, "b")
	first := acquiring(a.Context(), t, one, "b")
	pid := func() (pid string) {
		for _, row := range query(t, s, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'") {
			pid = row[0]
		}
		return pid
	}
	eventually(t, "it is shown, and that is known here", func() bool { return pid() != "" && one.Stats().Held == 2 })
	before := pid()
	query(t, s, "SELECT pg_terminate_backend("+before+")")
	eventually(t, "it is shown on another session", func() bool { now := pid(); return now != "" && now != before })
	second := acquiring(b.Context(), t, two, "a")
	told := func(call <-chan acquired, own *manager.Lock) (told bool) {
		got := ended(t, "the end of the wait", call)
		if got.err == nil {
			release(t, got.lock)
		} else {
			wantIs(t, got.err, manager.ErrDeadlock)
			told = true
		}
		release(t, own)
		return told
	}
	results := make(chan bool, 2)
	go func() { results <- told(first, a) }()
	go func() { results <- told(second, b) }()
	if one, other := ended(t, "one", results), ended(t, "the other", results); !one && !other {
		t.Error("nobody was told")
	}
}

// The server hangs while the watcher asks it: callers return with their contexts all the same, and when it goes on so does the watcher.
func TestAHungServerKeepsNoWaitInside(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s, manager.WithHealth(time.Minute, time.Minute), manager.WithSessionTimeout(3*time.Minute))
	elsewhere := openOn(t, s, manager.WithHealth(time.Minute, time.Minute), manager.WithSessionTimeout(3*time.Minute))
	a, b := acquire(t, m, "a"), acquire(t, elsewhere, "b")
	for _, shown := range []bool{false, true} {
		ctx, cancel := context.WithCancel(a.Context())
		inside := acquiring(ctx, t, m, "b")
		if shown {
			eventually(t, "it is shown", func() bool { return marks(t, s) == 1 })
		}
		thaw := freeze(t, s)
		<-time.After(time.Second) // a round is under way by then; if not, the test says less
		cancel()
		wantIs(t, ended(t, "the end of the wait", inside).err, context.Canceled)
		thaw()
		eventually(t, "nothing is shown", func() bool { return marks(t, s) == 0 && m.Stats().Waiting == 0 })
	}
	release(t, b)
	release(t, a)
}

// Callers in two managers wait inside of holds, in circles too, for as long as random contexts last: each returns, and nothing is left.
func TestStormOfWaitsInsideOfHolds(t *testing.T) {
	s := server(t)
	all := []*manager.Manager{openOn(t, s), openOn(t, s)}
	d := 2 * time.Second
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		d = time.Minute
	}
	var told, gaveUp, granted atomic.Int64
	var callers sync.WaitGroup
	end := time.Now().Add(d)
	for n := range 100 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 11))
			for time.Now().Before(end) {
				m := all[n%2]
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(2*time.Second))))
				err := nested(ctx, m, random, 2+random.IntN(2), 30)
				cancel()
				switch {
				case err == nil:
					granted.Add(1)
				case errors.Is(err, manager.ErrDeadlock):
					told.Add(1)
				case errors.Is(err, context.DeadlineExceeded), errors.Is(err, manager.ErrHeld):
					gaveUp.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	eventually(t, "nothing is shown", func() bool { return marks(t, s) == 0 })
	t.Logf("%d were granted, %d told, %d gave up", granted.Load(), told.Load(), gaveUp.Load())
}

// Close ends while waits are watched.
func TestCloseWhileAWaitIsWatched(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	acquire(t, two, "b")
	var calls []<-chan acquired
	for i := range 20 {
		inside, call := acquire(t, one, fmt.Sprint("a ", i)).Context(), make(chan acquired, 1)
		go func() { lock, err := one.Acquire(inside, "b"); call <- acquired{lock, err} }()
		calls = append(calls, call)
	}
	eventually(t, "all wait", func() bool { return one.Stats().Waiting >= len(calls) }) // what shows the waits waits as well
	eventually(t, "they are shown", func() bool { return marks(t, s) > 0 })
	closeNow(t, one)
	for _, call := range calls {
		wantIs(t, ended(t, "the end of the wait", call).err, manager.ErrClosed)
	}
}

// A hold that has ended while work inside of it waits on, with a context that did not end, is part of no circle.
func TestAHoldThatIsOverWaitsForNothing(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	a, b := acquire(t, one, "a"), acquire(t, two, "b")
	waiting := acquiring(context.WithoutCancel(a.Context()), t, one, "b")
	eventually(t, "it is shown", func() bool { return marks(t, s) == 1 })
	release(t, a)
	eventually(t, "it is shown no more", func() bool { return marks(t, s) == 0 })
	inner, err := two.Acquire(b.Context(), "a", manager.WithWaitTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	release(t, inner)
	release(t, b)
	release(t, granted(t, waiting))
}
