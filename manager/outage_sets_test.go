package manager_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// A set or a slot takes several locks. The server may fail between any two of them.

// A call with WithWaitTimeout returns long before the manager gives the silent server up.
func TestSetsAndSlotsKeepToTheirWaitTimeout(t *testing.T) {
	const trust, atMost = 40 * time.Second, 15 * time.Second
	s := breakable(t)
	set := func(m *manager.Manager, opts ...manager.AcquireOption) error {
		set, err := m.Keys("a", "b").Acquire(bounded(t), opts...)
		if err == nil {
			releaseAll(t, set)
		}
		return err
	}
	slot := func(n int) func(*manager.Manager, ...manager.AcquireOption) error {
		return func(m *manager.Manager, opts ...manager.AcquireOption) error {
			slot, err := m.AcquireSlot(bounded(t), "k", n, opts...)
			if err == nil {
				freeSlot(t, slot)
			}
			return err
		}
	}
	for name, row := range map[string]struct {
		call  func(m *manager.Manager, opts ...manager.AcquireOption) error
		bound time.Duration
		key   string // the server freezes when this key's keeper does that step; empty: before the call
		step  string
	}{
		"a set":                     {set, 100 * time.Millisecond, "", ""},
		"the only slot":             {slot(1), 100 * time.Millisecond, "", ""},
		"at the look for slots":     {slot(2), time.Second, "k#slots", "try"},
		"at the end of that look":   {slot(2), time.Second, "k#slots", "unlock"},
		"at the lock for all slots": {slot(2), time.Second, "k", "try"},
	} {
		t.Run(name, func(t *testing.T) {
			var at pausedAt
			m := openOn(t, s, manager.WithHealth(trust/2, trust/2), at.option(row.step))
			if err := row.call(m); err != nil { // which opens the sessions
				t.Fatal(err)
			}
			eventually(t, "all is released", func() bool { return len(held(t, s)) == 0 })
			if row.key == "" {
				freeze(t, s)
			} else {
				at.arm(t, m, row.key)
			}
			result, begun := make(chan error, 1), time.Now()
			go func() { result <- row.call(m, manager.WithWaitTimeout(row.bound)) }()
			var err error
			select {
			case err = <-result:
			case <-at.reached: // on a busy machine the time may be over before
				defer freeze(t, s)()
				at.resume()
				err = ended(t, "the return of the call", result)
			}
			wantIs(t, err, manager.ErrWaitTimeout)
			if took := time.Since(begun); took > atMost {
				t.Errorf("it took %v, and should have taken %v", took, row.bound)
			}
		})
	}
}

// Who waits for a slot when the server restarts gets one afterwards: the holders have lost theirs.
func TestWhoWaitsForASlotOutlivesARestart(t *testing.T) {
	s := breakable(t)
	patiently := manager.WithRetry(manager.LinearRetry(10000, 10*time.Millisecond)) // however long the server takes to start
	holder, waiter := openOn(t, s), openOn(t, s, patiently)
	slots := []*manager.Slot{acquireSlot(t, holder, 2), acquireSlot(t, holder, 2)}
	results := make(chan acquiredSlot, 2)
	for range 2 { // the first waits behind the gate, the second at it
		go func() {
			slot, err := waiter.AcquireSlot(t.Context(), "k", 2, manager.WithWaitTimeout(patience))
			results <- acquiredSlot{slot, err}
		}()
	}
	polls := func() bool { return waiter.Stats().Waiting == 3 } // the one behind the gate for each of the slots
	eventually(t, "both wait", polls)
	if err := s.Restart(bounded(t), pgserver.Immediate); err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		ended(t, "the loss of the slot", slot.Done())
	}
	for range 2 {
		got := ended(t, "the answer to who waits", results)
		if got.err != nil {
			t.Fatal(got.err)
		}
		defer freeSlot(t, got.slot)
	}
}

type acquiredSlot struct {
	slot *manager.Slot
	err  error
}
