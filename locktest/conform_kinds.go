package locktest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

func (s *subject) sharing() {
	one, two := s.process(), s.process()
	reader, err := one.AcquireShared(s.ctx, "sharing")
	s.must(err)
	other, err := two.AcquireShared(s.ctx, "sharing")
	s.must(err)
	_, err = two.TryAcquire(s.ctx, "sharing")
	s.fails(err, manager.ErrNotAcquired)
	s.must(reader.Release(s.ctx))
	s.must(other.Release(s.ctx))
	writer := s.lock(two, "sharing")
	_, err = one.TryAcquireShared(s.ctx, "sharing")
	s.fails(err, manager.ErrNotAcquired)
	s.must(writer.Release(s.ctx))
}

func (s *subject) set() {
	one, two := s.process(), s.process()
	held := s.lock(one, "set b")
	_, err := two.Keys("set a", "set b", "set c").TryAcquire(s.ctx)
	s.fails(err, manager.ErrNotAcquired)
	s.must(s.lock(one, "set a").Release(s.ctx))
	s.must(held.Release(s.ctx))
	set, err := two.AcquireAll(s.ctx, "set a", "set b", "set c")
	s.must(err)
	for _, key := range []string{"set a", "set b", "set c"} {
		_, err := one.TryAcquire(s.ctx, key)
		s.fails(err, manager.ErrNotAcquired)
	}
	s.must(set.Release(s.ctx))
}

func (s *subject) slots() {
	const n = 3
	processes := []*manager.Manager{s.process(), s.process()}
	var inside atomic.Int64
	var all sync.WaitGroup
	for _, m := range processes {
		for range 2 * n {
			all.Go(func() {
				err := m.DoSlot(s.ctx, "slots", n, func(context.Context) error {
					defer inside.Add(-1)
					if inside.Add(1) > n {
						return errors.New("more hold a slot than there are")
					}
					return nil
				})
				if err != nil {
					s.Error(err)
				}
			})
		}
	}
	all.Wait()
	for range n {
		_, err := processes[0].AcquireSlot(s.ctx, "slots", n)
		s.must(err) // held until the process is closed
	}
	_, err := processes[1].TryAcquireSlot(s.ctx, "slots", n)
	s.fails(err, manager.ErrNotAcquired)
}

func (s *subject) once() {
	ran := 0
	for _, m := range []*manager.Manager{s.process(), s.process(), s.process()} {
		err := m.Once(s.ctx, "once", 365*24*time.Hour, func(context.Context) error {
			ran++
			return nil
		})
		if err != nil && !errors.Is(err, manager.ErrAlreadyRun) {
			s.Error(err)
		}
	}
	if ran != 1 {
		s.Errorf("the function ran %d times", ran)
	}
}

func (s *subject) leader() {
	var leading atomic.Int64
	terms := make(chan *manager.Manager)
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(s.ctx)
	for _, m := range []*manager.Manager{s.process(), s.process()} {
		all.Go(func() {
			err := m.Elect(ctx, "leader", func(ctx context.Context) error {
				defer leading.Add(-1)
				if leading.Add(1) != 1 {
					s.Error("two lead at one time")
				}
				select {
				case terms <- m:
				case <-ctx.Done():
				}
				<-ctx.Done()
				return ctx.Err()
			})
			s.fails(err, context.Canceled)
		})
	}
	first := s.term(terms)
	s.must(first.Leader("leader").IsLeader(s.ctx))
	for second := first; second == first; second = s.term(terms) { // the other may not be in line yet
		s.must(first.Leader("leader").Resign(s.ctx))
	}
	stop()
	all.Wait()
}

// term waits for the next term.
func (s *subject) term(terms <-chan *manager.Manager) *manager.Manager {
	s.Helper()
	select {
	case m := <-terms:
		return m
	case <-s.ctx.Done():
		s.Fatal("nobody leads")
		return nil
	}
}

func (s *subject) minHold() {
	one, two := s.process(), s.process()
	s.must(s.lock(one, "min hold", manager.WithMinHold(time.Hour)).Release(s.ctx))
	_, err := two.TryAcquire(s.ctx, "min hold")
	s.fails(err, manager.ErrNotAcquired)
	s.must(one.Close(s.ctx))
	s.must(s.lock(two, "min hold").Release(s.ctx))
}

// deadlock: of two that wait for each other one is told. Both may be where what the first one releases is free late, but not each time.
func (s *subject) deadlock() {
	one, two := s.process(), s.process()
	told := s.circle(one, two)
	for tries := 1; told > 1 && tries < 3; tries++ {
		told = s.circle(one, two)
	}
	if told != 1 {
		s.Errorf("%d of two were told, should be one", told)
	}
}

// circle is how many of two were told that they waited for each other.
func (s *subject) circle(one, two *manager.Manager) int64 {
	var ready, all sync.WaitGroup
	ready.Add(2)
	var told atomic.Int64
	for i, m := range []*manager.Manager{one, two} {
		mine, other := "deadlock a", "deadlock b"
		if i == 1 {
			mine, other = other, mine
		}
		all.Go(func() {
			err := m.Do(s.ctx, mine, func(ctx context.Context) error {
				ready.Done()
				ready.Wait()
				return m.Do(ctx, other, func(context.Context) error { return nil })
			})
			if errors.Is(err, manager.ErrDeadlock) {
				told.Add(1)
			} else if err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	return told.Load()
}
