//go:build !unix

package oracle

import "sync/atomic"

// Slots are this process's own where memory cannot be shared by mapping a file: overlaps between processes are then
// left to the counters in the database.
type Slots struct{ words []atomic.Uint64 }

// CreateSlots has nothing to make here.
func CreateSlots(string, int) error { return nil }

// OpenSlots makes the process's slots.
func OpenSlots(_ string, keys int) (*Slots, error) {
	return &Slots{words: make([]atomic.Uint64, keys)}, nil
}

// Enter puts the holder's mark into the key's slot.
func (s *Slots) Enter(key int, mark uint64) { s.words[key].Store(mark) }

// Leave takes the mark out again and reports whether it was still there.
func (s *Slots) Leave(key int, mark uint64) bool { return s.words[key].CompareAndSwap(mark, 0) }

// Close has nothing to unmap.
func (s *Slots) Close() error { return nil }
