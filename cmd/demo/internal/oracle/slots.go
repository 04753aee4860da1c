package oracle

import "sync/atomic"

// Slots is the second detector: a slot for each key, in a file that all worker processes map into their memory. Where
// memory cannot be shared in this way they are each process's own.
type Slots struct {
	slots  []slot
	memory []byte
}

type slot struct {
	writer  atomic.Uint64        // the mark of the writer that entered last, with hasLeft where it has left
	excused atomic.Uint64        // the mark that a writer without a lock pushed out last
	lost    atomic.Uint64        // the mark of the writer that last said that its lock was lost
	readers atomic.Int64         // that are in
	stages  [stages]atomic.Int64 // how many callers are in each, for States; the detector does not look at it
}

// hasLeft is a bit that no mark has.
const hasLeft = 1 << 63

// Enter puts a writer's mark, which is never zero, into the key's slot and returns the one that it pushed out. That
// one is no proof of an overlap: a process that was killed leaves its mark behind.
func (s *Slots) Enter(key int, mark uint64) (pushedOut uint64) {
	return standing(s.slots[key].writer.Swap(mark))
}

// Leave takes the mark out again and reports whether it was still there. Where it was not, another writer entered
// while this one was in.
func (s *Slots) Leave(key int, mark uint64) bool {
	return s.slots[key].writer.CompareAndSwap(mark, mark|hasLeft)
}

// standing is the mark of the writer that is in, 0 where none is.
func standing(writer uint64) uint64 {
	if writer&hasLeft != 0 {
		return 0
	}
	return writer
}

// EnterShared lets a reader in. It returns how many readers of the key are in, and what to give to LeaveShared.
func (s *Slots) EnterShared(key int) (readers int, before uint64) {
	return int(s.slots[key].readers.Add(1)), s.slots[key].writer.Load()
}

// LeaveShared lets the reader out. It returns the mark of a writer that was in at any time since EnterShared, 0 where there was none.
func (s *Slots) LeaveShared(key int, before uint64) (met uint64) {
	after := s.slots[key].writer.Load()
	s.slots[key].readers.Add(-1)
	if after != before {
		// A writer has left, or entered, or both.
		return after &^ hasLeft
	}
	return standing(before)
}

// Excuse is for a writer that pushed a mark out and then heard that its own lock had been lost before: it is the
// newcomer that should not have been there, and not the other one that has met a rival.
func (s *Slots) Excuse(key int, pushedOut uint64) {
	if pushedOut != 0 {
		s.slots[key].excused.Store(pushedOut)
	}
}

// Excused reports whether the mark was pushed out by a writer that had lost its lock.
func (s *Slots) Excused(key int, mark uint64) bool { return s.slots[key].excused.Load() == mark }

// Lost is for a writer whose lock was lost: the readers that met its mark have an excuse.
func (s *Slots) Lost(key int, mark uint64) { s.slots[key].lost.Store(mark) }

// HasLost reports whether the writer with the mark has said that its lock was lost.
func (s *Slots) HasLost(key int, mark uint64) bool { return s.slots[key].lost.Load() == mark }
