package atomics

import (
	"runtime"
	"sync"
	"sync/atomic"
)

type state struct {
	taken atomic.Bool   // written by many
	flags atomic.Uint32 // written by many
	count atomic.Int64  // written by many
	table sync.Map      // measured: half the time of a map with an owner
	raw   int64
}

func (s *state) locks() bool {
	if !s.taken.CompareAndSwap(false, true) {
		return false
	}
	if s.taken.Swap(true) {
		return false
	}
	if s.flags.Or(1)&1 != 0 || s.flags.And(2) == 0 {
		return false
	}
	if s.count.Add(1) == 1 {
		return true
	}
	if _, there := s.table.LoadOrStore(1, 2); there {
		return false
	}
	return s.table.CompareAndDelete(1, 2)
}

func (s *state) functions() {
	atomic.AddInt64(&s.raw, 1)
	if atomic.CompareAndSwapInt64(&s.raw, 0, 1) {
		runtime.Gosched()
	}
}

func (s *state) fine() int64 {
	s.count.Add(1)
	s.taken.Store(true)
	s.table.Store(1, 2)
	s.table.Delete(1)
	n := s.count.Add(1)                  // a number for a name; nothing is decided
	if old := s.count.Swap(0); old > 0 { //arch:publishes the report takes what has been counted
		n += old
	}
	//arch:yield others are to queue first
	runtime.Gosched()
	return n
}
