package oracle

import (
	"path/filepath"
	"testing"
)

func TestStatesOfKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "slots")
	check(t, CreateSlots(path, 6))
	s, err := OpenSlots(path, 6)
	check(t, err)
	other, err := OpenSlots(path, 6)
	check(t, err)

	s.Begin(0, Writes) // and others wait, in another process
	other.Begin(0, Waits)
	s.Begin(1, Reads)
	other.Begin(1, Waits)
	s.Begin(2, Writes)
	other.Begin(3, Reads)
	s.Begin(4, Waits)
	if want := (States{Contended: 2, Held: 1, Shared: 1, Handover: 1, Free: 1}); other.States() != want || s.States() != want {
		t.Errorf("%+v and %+v, want %+v", s.States(), other.States(), want)
	}
	s.End(0, Writes)
	s.End(2, Writes)
	other.End(1, Waits)
	s.End(4, Waits)
	if want := (States{Shared: 2, Handover: 1, Free: 3}); s.States() != want {
		t.Errorf("%+v, want %+v", s.States(), want)
	}
	check(t, s.Close())
	check(t, other.Close())
}
