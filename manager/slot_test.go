package manager_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

func acquireSlot(t *testing.T, m *manager.Manager, n int) *manager.Slot {
	t.Helper()
	slot, err := m.AcquireSlot(t.Context(), "k", n, manager.WithWaitTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

func freeSlot(t *testing.T, slot *manager.Slot) {
	t.Helper()
	if err := slot.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestSlots(t *testing.T) {
	s := server(t)
	ms := []*manager.Manager{openOn(t, s), openOn(t, s)}
	const n = 5
	numbers := make(map[int]bool)
	var slots []*manager.Slot
	for i := range n {
		slot := acquireSlot(t, ms[i%2], n)
		if slot.Key() != "k" || slot.Err() != nil || slot.Number() < 0 || slot.Number() >= n || numbers[slot.Number()] {
			t.Errorf("slot %d of %q: %v; before: %v", slot.Number(), slot.Key(), slot.Err(), numbers)
		}
		numbers[slot.Number()] = true
		slots = append(slots, slot)
	}
	for _, m := range ms {
		_, err := m.TryAcquireSlot(bounded(t), "k", n)
		wantIs(t, err, manager.ErrNotAcquired)
		_, err = m.AcquireSlot(bounded(t), "k", n, manager.WithWaitTimeout(0))
		wantIs(t, err, manager.ErrWaitTimeout)
		_, err = m.AcquireSlot(bounded(t), "k", n, manager.WithWaitTimeout(30*time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
		if e := failure(t, err); e.Key != "k" {
			t.Errorf("%v", err)
		}
		_, err = m.TryAcquire(bounded(t), "k")
		wantIs(t, err, manager.ErrNotAcquired)
	}
	_, err := ms[0].AcquireSlot(slots[0].Context(), "k", n)
	wantIs(t, err, manager.ErrHeld)
	for i, slot := range slots { // each that is freed is the next caller's, wherever that is
		freeSlot(t, slot)
		next, err := trySlot(t, ms[i%2], n)
		if err != nil {
			t.Fatal(err)
		}
		if next.Number() != slot.Number() {
			t.Errorf("slot %d was freed, and %d taken", slot.Number(), next.Number())
		}
		wantIs(t, slot.Err(), manager.ErrReleased)
		slots[i] = next
	}
	for _, slot := range slots {
		freeSlot(t, slot)
	}
	eventually(t, "the gate is released, too", func() bool { return len(held(t, s)) == 0 })
}

// trySlot tries for a slot until the answer is another one than ErrNotAcquired: on a busy machine the caller before it may have the gate for
// longer than a try waits.
func trySlot(t *testing.T, m *manager.Manager, n int) (slot *manager.Slot, err error) {
	t.Helper()
	eventually(t, "a try finds the gate open", func() bool {
		slot, err = m.TryAcquireSlot(bounded(t), "k", n)
		return !errors.Is(err, manager.ErrNotAcquired)
	})
	return slot, err
}

// Whoever uses another number is told, in the same process and elsewhere; when nobody has a slot any more, any number is right.
func TestAnotherNumberOfSlotsIsTold(t *testing.T) {
	s := server(t)
	ms := []*manager.Manager{openOn(t, s), openOn(t, s)}
	named := 0
	for _, n := range []int{1, 2, 3} {
		slot := acquireSlot(t, ms[0], n)
		for _, m := range ms {
			for _, other := range []int{1, 2, 3, 1000} {
				if other == n {
					continue
				}
				_, err := m.AcquireSlot(bounded(t), "k", other)
				wantIs(t, err, manager.ErrSlots)
				e := failure(t, err)
				if e.Key != "k" {
					t.Errorf("%v is about another key", err)
				}
				if e.Holder != nil { // a busy server may not tell in time
					named++
				}
				_, err = trySlot(t, m, other)
				wantIs(t, err, manager.ErrSlots)
			}
		}
		freeSlot(t, slot)
	}
	if named == 0 {
		t.Error("no error says who has the slots")
	}
}

func TestTheOnlySlotIsTheKeysExclusiveLock(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	slot := acquireSlot(t, one, 1)
	if slot.Number() != 0 {
		t.Errorf("its number is %d", slot.Number())
	}
	_, err := two.TryAcquire(bounded(t), "k")
	wantIs(t, err, manager.ErrNotAcquired)
	waiting := acquiring(t.Context(), t, two, "k")
	freeSlot(t, slot)
	lock := granted(t, waiting)
	_, err = one.TryAcquireSlot(bounded(t), "k", 1)
	wantIs(t, err, manager.ErrNotAcquired)
	_, err = one.AcquireSlot(bounded(t), "k", 1, manager.WithWaitTimeout(20*time.Millisecond))
	wantIs(t, err, manager.ErrWaitTimeout)
	next := make(chan *manager.Slot, 1)
	go func() { next <- acquireSlot(t, one, 1) }()
	release(t, lock)
	freeSlot(t, ended(t, "the slot", next))
}

// Callers are served in the order in which they came; one that gives up is passed over.
func TestSlotsAreGivenInOrder(t *testing.T) {
	m := open(t)
	slots := []*manager.Slot{acquireSlot(t, m, 2), acquireSlot(t, m, 2)}
	const callers = 6
	order := make(chan int, callers)
	calls := make([]chan *manager.Slot, callers)
	ctx, cancel := context.WithCancel(t.Context())
	for i := range callers {
		calls[i] = make(chan *manager.Slot, 1)
		go func() {
			ctx := ctx
			if i != 2 {
				ctx = t.Context()
			}
			slot, err := m.AcquireSlot(ctx, "k", 2)
			if (err != nil) != (i == 2) {
				t.Errorf("caller %d: %v", i, err)
			}
			order <- i
			calls[i] <- slot
		}()
		// The first waits for both slots, and each of the others behind it.
		eventually(t, "the call is queued", func() bool { return m.Stats().Waiting == 2+i })
	}
	_, err := m.TryAcquireSlot(bounded(t), "k", 2)
	wantIs(t, err, manager.ErrNotAcquired)
	cancel()
	if i := ended(t, "the one that gave up", order); i != 2 {
		t.Errorf("caller %d came back", i)
	}
	for i := range callers {
		if i == 2 {
			continue
		}
		freeSlot(t, slots[0])
		if got := ended(t, "the next", order); got != i {
			t.Errorf("caller %d was served before caller %d", got, i)
		}
		slots = append(slots[1:], ended(t, "the slot", calls[i]))
	}
	for _, slot := range slots {
		freeSlot(t, slot)
	}
}

// A try is answered by the server, however long that takes: a slot that is free is not refused since the answer was late.
func TestATryOfASlotWaitsForTheServer(t *testing.T) {
	var gate atomic.Int64
	m := open(t, manager.WithHook(func(of int64, step string) {
		if of == gate.Load() && step == "try" {
			<-time.After(300 * time.Millisecond) // a try waits for a third of that behind another caller
		}
	}))
	gate.Store(m.Key("k#gate").ID())
	slot, err := m.TryAcquireSlot(bounded(t), "k", 2)
	if err != nil {
		t.Fatal(err)
	}
	freeSlot(t, slot)
}

// A try does not pass whoever has the gate, although slots are free.
func TestATryDoesNotPassTheGate(t *testing.T) {
	m := open(t)
	gate := acquire(t, m, "k#gate")
	_, err := m.TryAcquireSlot(bounded(t), "k", 2)
	wantIs(t, err, manager.ErrNotAcquired)
	release(t, gate)
	freeSlot(t, acquireSlot(t, m, 2))
}

// A caller whose context ends when some of the locks are asked for, and none is decided, leaves none of them behind.
func TestASlotThatIsGivenUpLeavesNothing(t *testing.T) {
	s := server(t)
	ctx, cancel := context.WithCancel(t.Context())
	id, arrived := openOn(t, s).Key("k#slots").ID(), 0
	m := openOn(t, s, manager.WithHook(func(of int64, step string) {
		if of == id && step == "message acquire" {
			if arrived++; arrived == 2 { // after the look whether somebody has slots
				cancel()
			}
		}
	}))
	_, err := m.AcquireSlot(ctx, "k", 2)
	wantIs(t, err, context.Canceled)
	eventually(t, "nothing is held", func() bool { return m.Stats().Held == 0 && len(held(t, s)) == 0 })
}

// The loss of a session is the loss of the slots on it, and they are free for others.
func TestASlotReleasesNothingBeforeItsEnd(t *testing.T) {
	s := server(t)
	c := openClosesLate(t, s)
	slot := acquireSlot(t, c.m, 2)
	eventually(t, "the gate is released", func() bool { return len(held(t, s)) == 4 })
	ids := []int64{c.m.Key("k").ID()} // the lead's
	for id := range held(t, s) {
		if id != ids[0] {
			ids = append(ids, id)
		}
	}
	c.close(t, s, ids...)
	wantIs(t, slot.Err(), manager.ErrClosed)
}

func TestALostSlot(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	slots := []*manager.Slot{acquireSlot(t, m, 2), acquireSlot(t, m, 2)}
	done := []<-chan struct{}{slots[0].Done(), slots[1].Done()}
	terminateAll(t, s, m)
	for i, slot := range slots {
		ended(t, "the loss", done[i])
		wantIs(t, slot.Err(), manager.ErrLost)
		wantIs(t, context.Cause(slot.Context()), manager.ErrLost)
		wantIs(t, slot.Release(bounded(t)), manager.ErrLost)
	}
	for range 2 {
		defer freeSlot(t, acquireSlot(t, m, 2))
	}
}

// DoSlot frees the slot when its function has returned, also where its context ends, or the manager closes, before.
func TestDoSlot(t *testing.T) {
	s := server(t)
	one, two := openOn(t, s), openOn(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	for name, end := range map[string]func(){"context": cancel, "close": func() { closeNow(t, one) }} {
		begun, finish, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			done <- one.DoSlot(ctx, name, 2, func(ctx context.Context) error {
				if number, ok := manager.SlotOf(ctx); !ok || number < 0 || number > 1 {
					t.Errorf("the number of the slot is %d, %v", number, ok)
				}
				close(begun)
				<-ctx.Done()
				<-finish
				return nil
			})
		}()
		ended(t, "the function", begun)
		other, err := two.AcquireSlot(t.Context(), name, 2)
		if err != nil {
			t.Fatal(err)
		}
		if name == "context" {
			end()
			ctx = t.Context()
		} else {
			go end()
			eventually(t, "the manager closes", func() bool { _, err := one.TryAcquire(t.Context(), "x"); return err != nil })
		}
		for range 10 {
			if _, err := two.TryAcquireSlot(bounded(t), name, 2); err == nil {
				t.Fatalf("%s: the slot of a running function is free", name)
			}
		}
		close(finish)
		if err := ended(t, "DoSlot", done); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		third, err := two.AcquireSlot(bounded(t), name, 2)
		if err != nil {
			t.Fatal(err)
		}
		freeSlot(t, third)
		freeSlot(t, other)
		if name == "close" {
			return
		}
	}
}

func TestSlotsRefuseBadInput(t *testing.T) {
	s := server(t)
	m := openOn(t, s)
	for want, call := range map[string]func() error{
		"the number of slots is 0":  func() error { _, err := m.AcquireSlot(t.Context(), "k", 0); return err },
		"the number of slots is -1": func() error { _, err := m.TryAcquireSlot(t.Context(), "k", -1); return err },
		"between 1 and 1000":        func() error { _, err := m.AcquireSlot(t.Context(), "k", manager.MaxSlots+1); return err },
		"the key is empty":          func() error { _, err := m.AcquireSlot(t.Context(), "", 2); return err },
		"WithDedicatedSession": func() error {
			_, err := m.AcquireSlot(t.Context(), "k", 2, manager.WithDedicatedSession())
			return err
		},
		"WithMinHold":     func() error { _, err := m.AcquireSlot(t.Context(), "k", 2, manager.WithMinHold(1)); return err },
		"WithWaitTimeout": func() error { _, err := m.AcquireSlot(t.Context(), "k", 2, manager.WithWaitTimeout(-1)); return err },
		"WithTransitions": func() error {
			_, err := m.AcquireSlot(t.Context(), "k", 2, manager.WithTransitions(func(manager.Transition) {}))
			return err
		},
		"context is nil": func() error { _, err := m.AcquireSlot(nil, "k", 2); return err }, //nolint:staticcheck // it is what is tested
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q expected, the error is %v", want, err)
		}
	}
	if left := held(t, s); len(left) > 0 {
		t.Errorf("left at the server: %v", left)
	}
}

// Callers in three managers, whose contexts end at any moment: never more than n hold, nor two with one number, and all n are used.
func TestSlotsUnderCancellation(t *testing.T) {
	s := server(t)
	var ms []*manager.Manager
	for range 3 {
		ms = append(ms, openOn(t, s))
	}
	const n, workers, rounds = 3, 30, 25
	var now, grants atomic.Int32
	var taken [n]atomic.Bool
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 4711))
			for range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(3) == 0 {
					time.AfterFunc(time.Duration(r.IntN(30))*time.Millisecond, cancel)
				}
				err := ms[w%len(ms)].DoSlot(ctx, "k", n, func(ctx context.Context) error {
					number, _ := manager.SlotOf(ctx)
					if taken[number].Swap(true) {
						t.Errorf("two hold slot %d", number)
					}
					if held := now.Add(1); held > n {
						t.Errorf("%d hold at one time, of %d", held, n)
					}
					grants.Add(1)
					<-time.After(time.Duration(r.IntN(1000)) * time.Microsecond)
					now.Add(-1)
					taken[number].Store(false)
					return nil
				})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	for i := range n { // all of them can be had at one time
		defer freeSlot(t, acquireSlot(t, ms[i], n))
	}
	t.Log(fmt.Sprint(grants.Load(), " grants"))
}

// A failure that no waiting mends ends the call.
func TestASlotForWhichThereIsNoRoom(t *testing.T) {
	m := open(t, manager.WithMaxLocksPerSession(1), manager.WithSharedSessions(1))
	_, err := m.AcquireSlot(bounded(t), "k", 2)
	wantIs(t, err, manager.ErrTooManyLocks)
}
