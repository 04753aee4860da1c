//go:build !unix

package oracle

// CreateSlots has nothing to make here.
func CreateSlots(string, int) error { return nil }

// OpenSlots makes the process's slots.
func OpenSlots(_ string, keys int) (*Slots, error) { return &Slots{slots: make([]slot, keys)}, nil }

// Close has nothing to unmap.
func (s *Slots) Close() error { return nil }
