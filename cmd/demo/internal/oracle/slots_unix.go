//go:build unix

package oracle

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// SharedSlots tells whether the slots of all processes are the same.
const SharedSlots = true

const slotSize = int(unsafe.Sizeof(slot{}))

// CreateSlots makes the file with all slots free.
func CreateSlots(path string, keys int) error {
	if err := os.WriteFile(path, make([]byte, keys*slotSize), 0o600); err != nil {
		return fmt.Errorf("making the overlap detector's file: %w", err)
	}
	return nil
}

// OpenSlots maps the file.
func OpenSlots(path string, keys int) (*Slots, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the overlap detector's file: %w", err)
	}
	defer func() { _ = file.Close() }()
	memory, err := syscall.Mmap(int(file.Fd()), 0, keys*slotSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the overlap detector's file: %w", err)
	}
	// The mapping starts on a page, so each word is aligned as atomic access needs it.
	return &Slots{memory: memory, slots: unsafe.Slice((*slot)(unsafe.Pointer(&memory[0])), keys)}, nil
}

// Close unmaps the file. No slot may be used after it.
func (s *Slots) Close() error {
	s.slots = nil
	if err := syscall.Munmap(s.memory); err != nil {
		return fmt.Errorf("unmapping the overlap detector's file: %w", err)
	}
	return nil
}
