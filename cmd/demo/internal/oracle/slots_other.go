//go:build !unix

package oracle

// Slots are this process's own where memory cannot be shared by mapping a file: overlaps between processes are then
// left to the counters in the database.
type Slots struct{ slots []slot }

// CreateSlots has nothing to make here.
func CreateSlots(string, int) error { return nil }

// OpenSlots makes the process's slots.
func OpenSlots(_ string, keys int) (*Slots, error) { return &Slots{slots: make([]slot, keys)}, nil }

// Close has nothing to unmap.
func (s *Slots) Close() error { return nil }
