// Package storm ends the contexts of a great many waiters at once and looks at what becomes of them.
package storm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/locker"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/screen"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/target"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// Plan is what the user asked for, checked.
type Plan struct {
	DSN     string // empty: a throwaway server
	Waiters int
	Keys    int // of the second round; the first has one
	Bound   time.Duration
	Shared  bool // all waiters use one context, instead of one of their own below it
}

const (
	takeBound   = 30 * time.Second
	queueBound  = 2 * time.Minute
	retakeBound = 30 * time.Second
	closeBound  = 30 * time.Second
	// hands is how many keys the holder takes, and the storm retakes, at one time.
	hands = 32
)

// MaxBound is the longest bound that a plan may have: nobody waits longer for calls that are late.
const MaxBound = patience

const (
	// roomySessions is what each of the two managers may open where the server has plenty.
	roomySessions = 20
	leastSessions = 2
)

// Run makes both storms. The report is nil where not even the first began.
func Run(ctx context.Context, plan Plan, view *screen.Screen) (_ *Report, err error) {
	server, err := serverFor(ctx, plan, view)
	if err != nil {
		return nil, err
	}
	defer func() {
		if server.Throwaway {
			err = errors.Join(err, view.Say("Removing the throwaway PostgreSQL."), server.Close())
		}
	}()
	sessions, err := fit(ctx, server)
	if err != nil {
		return nil, err
	}
	result := &Report{Server: server.Name, Throwaway: server.Throwaway, BoundMS: ms(plan.Bound)}
	run := runID()
	for i, keys := range []int{1, plan.Keys} {
		if err := view.Say("%s: %s on %s.", server.Name, report.Of(plan.Waiters, "waiter"), report.Of(keys, "key")); err != nil {
			return result, err
		}
		r := &round{plan: plan, server: server, sessions: sessions, app: fmt.Sprintf("lockkeeper-demo %s-%d", run, i)}
		r.result.Waiters, r.result.Keys = plan.Waiters, keys
		for key := range keys {
			r.names = append(r.names, fmt.Sprintf("storm/key-%05d", key))
		}
		err := r.run(ctx)
		if ctx.Err() != nil {
			result.Interrupted = true
			return result, nil
		}
		result.Rounds = append(result.Rounds, r.result)
		if err != nil {
			return result, err
		}
	}
	return result, nil
}

func serverFor(ctx context.Context, plan Plan, view *screen.Screen) (*target.Target, error) {
	if plan.DSN != "" {
		return target.Existing(ctx, plan.DSN)
	}
	if err := view.Say("Starting a throwaway PostgreSQL; it is removed at the end."); err != nil {
		return nil, err
	}
	return target.Throwaway(ctx, 2*roomySessions)
}

// fit is how many sessions each of the two managers may open.
func fit(ctx context.Context, server *target.Target) (int, error) {
	if server.Throwaway {
		return roomySessions, nil
	}
	conn, err := server.Connect(ctx, "lockkeeper-demo-control")
	if err != nil {
		return 0, err
	}
	defer server.Disconnect(conn)
	room, err := target.FreeConnections(ctx, conn)
	if err != nil {
		return 0, err
	}
	if each := room.Free / 2; each >= leastSessions {
		return min(each, roomySessions), nil
	}
	return 0, fmt.Errorf("the server has too few connections: %d are free (%s), and the storm needs %d", max(0, room.Free), room.Because, 2*leastSessions)
}

// round is one storm under way.
type round struct {
	plan     Plan
	server   *target.Target
	sessions int
	app      string
	names    []string
	result   Round
}

// run opens two managers, the holder's and the waiters', and closes both in the end.
func (r *round) run(ctx context.Context) error {
	before := settled()
	goroutines := runtime.NumGoroutine()
	stormErr := r.withManagers(ctx)
	left := worker.CountGoroutines(goroutines)
	after := settled()

	r.result.Leaked.Goroutines, r.result.Stacks = left.Leaked(), left.Stacks
	r.result.MemoryMiB.Before, r.result.MemoryMiB.After = mebibytes(before.inUse), mebibytes(after.inUse)
	r.result.ResidentMiB.Before, r.result.ResidentMiB.After = mebibytes(before.resident), mebibytes(after.resident)
	return errors.Join(stormErr, r.leftovers(ctx))
}

func (r *round) withManagers(ctx context.Context) (err error) {
	closing := func(what string, m locker.Locker) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
		defer cancel()
		if closeErr := m.Close(ctx); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("closing the %s: %w", what, closeErr))
		}
	}
	holder, err := r.manager(ctx, "holder", 1)
	if err != nil {
		return fmt.Errorf("opening the holder's manager: %w", err)
	}
	defer closing("holder's manager", holder)
	waiters, err := r.manager(ctx, "waiters", r.plan.Waiters)
	if err != nil {
		return fmt.Errorf("opening the waiters' manager: %w", err)
	}
	defer closing("waiters' manager", waiters)
	return r.storm(ctx, holder, waiters)
}

func (r *round) manager(ctx context.Context, who string, waiters int) (locker.Locker, error) {
	return locker.Open(ctx, locker.Options{
		DSN: r.server.DSN, App: r.app + " " + who, Namespace: r.app, Sessions: r.sessions, MaxWaiters: waiters,
	})
}

// storm is the round proper: hold, queue, strike, retake.
func (r *round) storm(ctx context.Context, holder, waiters locker.Locker) error {
	held, release, err := takeAll(ctx, holder, r.names)
	defer release()
	if err != nil {
		return fmt.Errorf("taking the keys for the waiters to wait for: %w", err)
	}
	peak := watch()
	began := time.Now()
	c := gather(waiters, r.plan.Waiters, r.names, !r.plan.Shared)
	queueing, cancel := context.WithTimeoutCause(ctx, queueBound, fmt.Errorf("gave up after %v", queueBound))
	defer cancel()
	queueErr := c.queued(queueing, waiters)
	r.result.QueuedMS = ms(time.Since(began))
	if queueErr == nil {
		// What the queueing left to collect is not the storm's.
		runtime.GC()
	}

	took, missing := c.strike()
	top := peak()
	r.result.ReturnedMS, r.result.NotReturned = ms(took), missing
	r.result.Granted, r.result.WrongErrors = int(c.granted.Load()), int(c.wrong.Load())
	if example := c.example.Load(); example != nil {
		r.result.Example = (*example).Error()
	}
	r.result.MemoryMiB.Peak, r.result.ResidentMiB.Peak = mebibytes(top.inUse), mebibytes(top.resident)
	if queueErr != nil {
		return queueErr
	}
	slowest, err := retake(ctx, held, waiters, r.names)
	r.result.RetakeMS = ms(slowest)
	return err
}

// takeAll takes every key for the holder. The contexts bound the holds too, so they last until release is called.
func takeAll(ctx context.Context, m locker.Locker, names []string) (held []locker.Lock, release context.CancelFunc, err error) {
	ctx, release = context.WithCancel(ctx)
	late := time.AfterFunc(takeBound, release)
	held = make([]locker.Lock, len(names))
	err = each(len(names), func(i int) error {
		var err error
		held[i], err = m.Acquire(ctx, names[i])
		return err
	})
	if !late.Stop() {
		err = errors.Join(fmt.Errorf("not every key was granted within %v", takeBound), err)
	}
	return held, release, err
}

// retake has the holder release each key and takes it at once through the manager that the storm went through. It
// returns how long the slowest key took.
func retake(ctx context.Context, held []locker.Lock, m locker.Locker, names []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, retakeBound)
	defer cancel()
	took := make([]time.Duration, len(names))
	err := each(len(names), func(i int) error {
		began := time.Now()
		if err := held[i].Release(ctx); err != nil {
			return fmt.Errorf("the holder's release: %w", err)
		}
		lock, err := m.Acquire(ctx, names[i])
		if err != nil {
			return fmt.Errorf("taking the key again: %w", err)
		}
		took[i] = time.Since(began)
		return lock.Release(ctx)
	})
	var slowest time.Duration
	for _, d := range took {
		slowest = max(slowest, d)
	}
	return slowest, err
}

// each calls do for every index, a few at a time, and joins a few of their errors.
func each(n int, do func(int) error) error {
	var (
		mu   sync.Mutex
		errs []error
		next = make(chan int)
		all  sync.WaitGroup
	)
	for range min(n, hands) {
		all.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					mu.Lock()
					if len(errs) < 3 {
						errs = append(errs, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}

// leftovers asks the server what the two managers left there.
func (r *round) leftovers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeBound)
	defer cancel()
	conn, err := r.server.Connect(ctx, "lockkeeper-demo-control")
	if err != nil {
		return err
	}
	defer r.server.Disconnect(conn)
	left, err := r.server.Leftovers(ctx, conn, r.app)
	r.result.Leaked.ServerLocks, r.result.Leaked.Connections = left.ServerLocks, left.Connections
	return err
}

func runID() string {
	id := make([]byte, 4)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}
