package spins

import (
	"runtime"
	"sync/atomic"
	"time"
)

type state struct {
	closed  atomic.Bool   // written by Close
	limit   atomic.Int64  // written by the owner
	wake    chan struct{} // sent by Close; received by waits; never closed; capacity 1: one is enough
	entries []*state
	sum     int64
}

func (s *state) isClosed() bool { return s.closed.Load() }

func (s *state) step() { s.sum++ }

func (s *state) wait() { <-s.wake }

func (s *state) condition() {
	for !s.closed.Load() {
	}
}

func (s *state) throughFunction() {
	for !s.isClosed() {
		runtime.Gosched() //arch:yield it spins all the same
	}
}

func (s *state) sleeps() {
	for {
		if s.closed.Load() {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *state) counts() bool {
	for i := 0; i < 1000; i++ {
		if s.closed.Load() {
			return true
		}
	}
	for range 1000 {
		if s.closed.Load() {
			return true
		}
	}
	return false
}

func (s *state) variable() {
	for {
		v := s.limit.Load()
		if v == 0 {
			continue
		}
		return
	}
}

func (s *state) works() {
	for !s.closed.Load() {
		s.step()
	}
}

func (s *state) polls() {
	for {
		select {
		case <-s.wake:
			return
		default:
		}
	}
}

func (s *state) until(end time.Time) {
	for s.limit.Load() > 0 && time.Now().Before(end) {
	}
}

func (s *state) swaps() {
	for !s.closed.CompareAndSwap(false, true) { //arch:publishes a reason that is none: this is a spin lock
	}
}

// ---- none of these spins

func (s *state) waits() {
	for !s.closed.Load() {
		<-s.wake
	}
	for !s.closed.Load() {
		s.wait()
	}
	for !s.closed.Load() {
		select {
		case <-s.wake:
		case s.wake <- struct{}{}:
		}
	}
}

func (s *state) unknown(f func(), c interface{ Wait() }) {
	for !s.closed.Load() {
		f()
	}
	for !s.closed.Load() {
		c.Wait()
	}
}

func (s *state) search() *state {
	for i := 0; i < len(s.entries); i++ {
		if s.entries[i].closed.Load() {
			return s.entries[i]
		}
	}
	for i := int64(0); i < s.limit.Load(); i++ {
		s.step()
	}
	for left := s.limit.Load(); left > 0; left-- {
		s.step()
	}
	return nil
}

func (s *state) drain() {
	for {
		select {
		case <-s.wake:
			s.step()
		default:
			return
		}
	}
}

func (s *state) stopsEarly(queue []int) {
	for len(queue) > 0 {
		if s.closed.Load() {
			return
		}
		queue = queue[1:]
		s.step()
	}
}

func (s *state) raise(n int64) {
	for old := s.limit.Load(); old < n; old = s.limit.Load() {
		if s.limit.CompareAndSwap(old, n) { //arch:publishes the highest of many
			return
		}
	}
}
