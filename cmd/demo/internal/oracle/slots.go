package oracle

import "sync/atomic"

// Slots is the second detector: a slot for each key, in a file that all worker processes map into their memory. Where
// memory cannot be shared in this way they are each process's own.
type Slots struct {
	slots  []slot
	memory []byte
}

type slot struct {
	holder  atomic.Uint64 // the mark of the holder that entered last, 0 where it has left
	excused atomic.Uint64 // the mark that a holder without a lock pushed out last
}

// Enter puts the holder's mark, which is never zero, into the key's slot and returns the one that it pushed out. That
// one is no proof of an overlap: a process that was killed leaves its mark behind.
func (s *Slots) Enter(key int, mark uint64) (pushedOut uint64) { return s.slots[key].holder.Swap(mark) }

// Leave takes the mark out again and reports whether it was still there. Where it was not, another holder entered
// while this one was in.
func (s *Slots) Leave(key int, mark uint64) bool { return s.slots[key].holder.CompareAndSwap(mark, 0) }

// Excuse is for a holder that pushed a mark out and then heard that its own lock had been lost before: it is the
// newcomer that should not have been there, and not the other one that has met a rival.
func (s *Slots) Excuse(key int, pushedOut uint64) {
	if pushedOut != 0 {
		s.slots[key].excused.Store(pushedOut)
	}
}

// Excused reports whether the mark was pushed out by a holder that had lost its lock.
func (s *Slots) Excused(key int, mark uint64) bool { return s.slots[key].excused.Load() == mark }
