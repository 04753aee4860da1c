package locktest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Opener opens a manager on the server under test, with these options besides its own. [Server.Open] is one.
type Opener func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error)

// Conform runs what Lockkeeper promises as subtests: exclusion over processes, order of events, losses, and every kind of lock. Each
// manager that it opens stands for a process. It needs no table and leaves nothing behind, and it takes keys of a namespace of its own,
// so that it may run on a database in use. It ends sessions of its own with pg_terminate_backend.
//
// The test fails where a promise does not hold, and where a call does not return within a minute.
func Conform(t *testing.T, open Opener) {
	namespace := "locktest " + rand.Text()
	for _, promise := range promises {
		t.Run(promise.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), bound)
			defer cancel()
			promise.run(&subject{T: t, ctx: ctx, open: open, namespace: namespace})
		})
	}
}

// bound is how long a promise may take to be kept. It is there for a call that never returns.
const bound = time.Minute

// promises are the subtests, in their order.
var promises = []struct {
	name string
	run  func(s *subject)
}{
	{"one holder at a time, over processes", (*subject).exclusion},
	{"a try does not wait", (*subject).try},
	{"a waiter is granted what is released", (*subject).handOver},
	{"the end of the context ends a wait and a hold", (*subject).contexts},
	{"Do releases when its function has returned", (*subject).do},
	{"a holder is told of its loss", (*subject).loss},
	{"Close releases everything", (*subject).closing},
	{"the lock of a hold is not reentrant", (*subject).reentrance},
	{"shared locks exclude exclusive ones alone", (*subject).sharing},
	{"a set of keys is held whole or not at all", (*subject).set},
	{"slots are held by so many and no more", (*subject).slots},
	{"a period's work is done once", (*subject).once},
	{"one leads, and another after it", (*subject).leader},
	{"a minimum hold outlasts its release", (*subject).minHold},
	{"a circle of holders is told", (*subject).deadlock},
}

// subject is a promise that is put to the test.
type subject struct {
	*testing.T
	ctx       context.Context //nolint:containedctx // the subtest's, which bounds every call of it
	open      Opener
	namespace string
}

// process opens a manager that is closed when the subtest ends.
func (s *subject) process() *manager.Manager {
	s.Helper()
	m, err := s.open(s.ctx, manager.WithNamespace(s.namespace))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), bound)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			s.Error(err)
		}
	})
	return m
}

func (s *subject) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// fails expects an error of a kind.
func (s *subject) fails(err, kind error) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Fatalf("the error is %v, should be %v", err, kind)
	}
}

// lock takes a lock that is free, or comes free.
func (s *subject) lock(m *manager.Manager, key string, opts ...manager.AcquireOption) *manager.Lock {
	s.Helper()
	lock, err := m.Acquire(s.ctx, key, opts...)
	s.must(err)
	return lock
}

func (s *subject) exclusion() {
	const workers, turns, keys = 8, 25, 4
	processes := []*manager.Manager{s.process(), s.process(), s.process()}
	var inside [keys]atomic.Int64
	var all sync.WaitGroup
	for p, m := range processes {
		other := processes[(p+1)%len(processes)]
		for w := range workers {
			all.Go(func() {
				for turn := range turns {
					k := (w + turn) % keys
					key := fmt.Sprint("exclusion ", k)
					err := m.Do(s.ctx, key, func(ctx context.Context) error {
						defer inside[k].Add(-1)
						if n := inside[k].Add(1); n != 1 {
							return fmt.Errorf("%d hold the lock at one time", n)
						}
						if turn > 0 {
							return nil
						}
						_, err := other.TryAcquire(ctx, key)
						if err == nil {
							return errors.New("another process is granted a lock that is held")
						}
						if !errors.Is(err, manager.ErrNotAcquired) {
							return err
						}
						return nil
					})
					if err != nil {
						s.Error(err)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

func (s *subject) try() {
	one, two := s.process(), s.process()
	lock := s.lock(one, "try")
	for _, m := range []*manager.Manager{one, two} {
		_, err := m.TryAcquire(s.ctx, "try")
		s.fails(err, manager.ErrNotAcquired)
	}
	s.must(lock.Release(s.ctx))
	again, err := two.TryAcquire(s.ctx, "try")
	s.must(err)
	s.must(again.Release(s.ctx))
}

func (s *subject) handOver() {
	one, two := s.process(), s.process()
	lock := s.lock(one, "hand over")
	var released atomic.Bool
	granted := make(chan error, 2)
	for _, m := range []*manager.Manager{one, two} {
		go func() { // ends with the context at the latest
			granted <- m.Do(s.ctx, "hand over", func(context.Context) error {
				if !released.Load() {
					return errors.New("granted while another holds the lock")
				}
				return nil
			})
		}()
	}
	s.waiters(one, 1)
	s.waiters(two, 1)
	released.Store(true)
	s.must(lock.Release(s.ctx))
	s.must(<-granted)
	s.must(<-granted)
}

// waiters waits until so many callers of a process wait.
func (s *subject) waiters(m *manager.Manager, n int) {
	s.Helper()
	for m.Stats().Waiting != n {
		select {
		case <-time.After(time.Millisecond):
		case <-s.ctx.Done():
			s.Fatalf("%d callers wait, should be %d", m.Stats().Waiting, n)
		}
	}
}

func (s *subject) contexts() {
	one, two := s.process(), s.process()
	lock := s.lock(one, "contexts")
	waits, giveUp := context.WithCancel(s.ctx)
	failed := make(chan error, 1)
	go func() { // ends with waits at the latest
		_, err := two.Acquire(waits, "contexts")
		failed <- err
	}()
	s.waiters(two, 1)
	giveUp()
	s.fails(<-failed, context.Canceled)
	s.must(lock.Release(s.ctx))

	holds, end := context.WithCancel(s.ctx)
	lock, err := one.Acquire(holds, "contexts")
	s.must(err)
	end()
	<-lock.Done()
	s.fails(lock.Err(), context.Canceled)
	s.must(s.lock(two, "contexts").Release(s.ctx))
}

func (s *subject) do() {
	one, two := s.process(), s.process()
	ctx, cancel := context.WithCancel(s.ctx)
	err := one.Do(ctx, "do", func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		_, err := two.TryAcquire(s.ctx, "do")
		s.fails(err, manager.ErrNotAcquired)
		return ctx.Err()
	})
	s.fails(err, context.Canceled)
	s.must(s.lock(two, "do").Release(s.ctx))
}

func (s *subject) loss() {
	one, two := s.process(), s.process()
	lock := s.lock(one, "loss")
	s.terminate(two, lock.ID())
	<-lock.Done()
	s.fails(lock.Err(), manager.ErrLost)
	s.fails(lock.Release(s.ctx), manager.ErrLost)
	s.must(s.lock(two, "loss").Release(s.ctx))
	s.must(s.lock(one, "loss").Release(s.ctx))
}

// terminate ends the session that holds a lock.
func (s *subject) terminate(m *manager.Manager, id int64) {
	s.Helper()
	all, err := m.Locks(s.ctx)
	s.must(err)
	for _, lock := range all {
		if lock.ID == id && len(lock.Holders) == 1 {
			s.must(m.Terminate(s.ctx, lock.Holders[0]))
			return
		}
	}
	s.Fatalf("the server lists no holder of %d: %+v", id, all)
}

func (s *subject) closing() {
	one, two := s.process(), s.process()
	lock := s.lock(one, "closing")
	s.must(one.Close(s.ctx))
	<-lock.Done()
	s.fails(lock.Err(), manager.ErrClosed)
	s.must(s.lock(two, "closing").Release(s.ctx))
	_, err := one.Acquire(s.ctx, "closing")
	s.fails(err, manager.ErrClosed)
}

func (s *subject) reentrance() {
	m := s.process()
	s.must(m.Do(s.ctx, "reentrance", func(ctx context.Context) error {
		_, err := m.Acquire(ctx, "reentrance")
		s.fails(err, manager.ErrHeld)
		return nil
	}))
}
