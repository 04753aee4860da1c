//go:build !unix

package oracle

// SharedSlots tells whether the slots of all processes are the same.
const SharedSlots = false

// CreateSlots has nothing to make here.
func CreateSlots(string, int) error { return nil }

// OpenSlots makes the process's slots.
func OpenSlots(_ string, keys int) (*Slots, error) { return &Slots{slots: make([]slot, keys)}, nil }

// Close has nothing to unmap.
func (s *Slots) Close() error { return nil }
