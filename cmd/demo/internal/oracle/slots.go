//go:build unix

package oracle

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Slots is a word for each key, in a file that all worker processes map into their memory.
type Slots struct {
	memory []byte
	words  []atomic.Uint64
}

const wordSize = int(unsafe.Sizeof(atomic.Uint64{}))

// CreateSlots makes the file with all slots free.
func CreateSlots(path string, keys int) error {
	if err := os.WriteFile(path, make([]byte, keys*wordSize), 0o600); err != nil {
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
	memory, err := syscall.Mmap(int(file.Fd()), 0, keys*wordSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the overlap detector's file: %w", err)
	}
	// The mapping starts on a page, so each word is aligned as atomic access needs it.
	words := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&memory[0])), keys)
	return &Slots{memory: memory, words: words}, nil
}

// Enter puts the holder's mark, which is never zero, into the key's slot, whatever stood there: a process that was
// killed leaves its mark behind, and that is no overlap.
func (s *Slots) Enter(key int, mark uint64) { s.words[key].Store(mark) }

// Leave takes the mark out again and reports whether it was still there. Where it was not, another holder entered
// while this one was in.
func (s *Slots) Leave(key int, mark uint64) bool { return s.words[key].CompareAndSwap(mark, 0) }

// Close unmaps the file. No slot may be used after it.
func (s *Slots) Close() error {
	s.words = nil
	if err := syscall.Munmap(s.memory); err != nil {
		return fmt.Errorf("unmapping the overlap detector's file: %w", err)
	}
	return nil
}
