// Package storm ends the contexts of a great many waiters at once and looks at what becomes of them.
package storm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/manager"
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
	// MaxBound is the longest bound that a plan may have: nobody waits longer for calls that are late.
	MaxBound = 60 * time.Second
	// hands is how many keys the holder takes, and the storm retakes, at one time.
	hands = 32
	// roomySessions is what each of the two managers may open where the server has plenty.
	roomySessions = 20
	leastSessions = 2
)

// Run makes both storms. The report is nil where not even the first began.
func Run(ctx context.Context, plan Plan, view *report.Screen) (_ *Report, err error) {
	s, err := server.Open(ctx, plan.DSN, 2*roomySessions, view)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	room, err := s.Room(ctx)
	if err != nil {
		return nil, err
	}
	sessions := min(room.Free/2, roomySessions)
	if sessions < leastSessions {
		return nil, fmt.Errorf("the server has too few connections: %d are free (%s), and the storm needs %d", max(0, room.Free), room.Because, 2*leastSessions)
	}
	result := &Report{Server: s.Name, Throwaway: s.Throwaway, BoundMS: ms(plan.Bound)}
	run := server.NewRun()
	for i, keys := range []int{1, plan.Keys} {
		if err := view.Say("%s: %s on %s.", s.Name, report.Of(plan.Waiters, "waiter"), report.Of(keys, "key")); err != nil {
			return result, err
		}
		r := &round{Plan: plan, server: s, sessions: sessions, app: fmt.Sprintf("lockkeeper-demo %s-%d", run, i)}
		r.Round.Waiters, r.Round.Keys = plan.Waiters, keys
		for key := range keys {
			r.names = append(r.names, fmt.Sprintf("storm/key-%05d", key))
		}
		err := r.run(ctx)
		if ctx.Err() != nil {
			result.Interrupted = true
			return result, nil
		}
		result.Rounds = append(result.Rounds, r.Round)
		if err != nil {
			return result, err
		}
	}
	return result, nil
}

// round is one storm under way.
type round struct {
	Plan
	Round
	server   *server.Server
	sessions int
	app      string
	names    []string
}

// run opens two managers, the holder's and the waiters', closes both in the end, and counts what is left of them.
func (r *round) run(ctx context.Context) error {
	r.MemoryMiB.Before, r.ResidentMiB.Before = settled()
	before := runtime.NumGoroutine()
	err := r.with(ctx, "holder", 1, func(holder *manager.Manager) error {
		return r.with(ctx, "waiters", r.Plan.Waiters, func(waiters *manager.Manager) error { return r.storm(ctx, holder, waiters) })
	})
	r.Leaked.Goroutines, r.Stacks = server.CountGoroutines(before)
	r.MemoryMiB.After, r.ResidentMiB.After = settled()
	return errors.Join(err, r.server.CountLeft(ctx, r.app, &r.Leaked))
}

func (r *round) with(ctx context.Context, who string, maxWaiters int, do func(*manager.Manager) error) error {
	m, err := server.OpenManager(ctx, r.server.DSN, r.app+" "+who, r.app, r.sessions, maxWaiters)
	if err != nil {
		return fmt.Errorf("opening the manager of the %s: %w", who, err)
	}
	err = do(m)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.TidyBound)
	defer cancel()
	if closeErr := m.Close(ctx); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("closing the manager of the %s: %w", who, closeErr))
	}
	return err
}

// storm is the round proper: hold, queue, strike, retake.
func (r *round) storm(ctx context.Context, holder, waiters *manager.Manager) error {
	held, release, err := takeAll(ctx, holder, r.names)
	defer release()
	if err != nil {
		return fmt.Errorf("taking the keys for the waiters to wait for: %w", err)
	}
	stop := r.watch()
	began := time.Now()
	c := gather(waiters, r.Plan, r.names)
	queueing, cancel := context.WithTimeoutCause(ctx, queueBound, fmt.Errorf("gave up after %v", queueBound))
	defer cancel()
	queueErr := c.queued(queueing)
	r.QueuedMS = ms(time.Since(began))
	if queueErr == nil {
		// What the queueing left to collect is not the storm's.
		runtime.GC()
	}

	r.ReturnedMS = ms(c.strike())
	stop()
	r.NotReturned = r.Plan.Waiters - int(c.returned.Load())
	r.Granted, r.WrongErrors = int(c.granted.Load()), int(c.wrong.Load())
	if example := c.example.Load(); example != nil {
		r.Example = (*example).Error()
	}
	if queueErr != nil {
		return queueErr
	}
	return r.retake(ctx, held, waiters)
}

// takeAll takes every key for the holder. The context bounds the holds too, so it lasts until release is called.
func takeAll(ctx context.Context, m *manager.Manager, names []string) (held []*manager.Lock, release context.CancelFunc, err error) {
	ctx, release = context.WithCancel(ctx)
	late := time.AfterFunc(takeBound, release)
	held = make([]*manager.Lock, len(names))
	var all errgroup.Group
	all.SetLimit(hands)
	for i, name := range names {
		all.Go(func() (err error) {
			held[i], err = m.Acquire(ctx, name)
			return err
		})
	}
	err = all.Wait()
	if !late.Stop() {
		err = errors.Join(fmt.Errorf("not every key was granted within %v", takeBound), err)
	}
	return held, release, err
}

// retake has the holder release each key and takes it at once through the manager that the storm went through.
func (r *round) retake(ctx context.Context, held []*manager.Lock, m *manager.Manager) error {
	ctx, cancel := context.WithTimeout(ctx, retakeBound)
	defer cancel()
	took := make([]time.Duration, len(held))
	var all errgroup.Group
	all.SetLimit(hands)
	for i, before := range held {
		all.Go(func() error {
			began := time.Now()
			if err := before.Release(ctx); err != nil {
				return fmt.Errorf("the holder's release: %w", err)
			}
			lock, err := m.Acquire(ctx, r.names[i])
			if err != nil {
				return fmt.Errorf("taking the key again: %w", err)
			}
			took[i] = time.Since(began)
			return lock.Release(ctx)
		})
	}
	err := all.Wait()
	r.RetakeMS = ms(slices.Max(took))
	return err
}
