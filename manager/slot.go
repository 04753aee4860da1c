package manager

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// A Slot is a hold of one of the slots of a key: see [Manager.AcquireSlot]. Its methods may be called from any goroutine, at any time.
type Slot struct {
	set    *LockSet
	number int
}

// Key is the key's name.
func (s *Slot) Key() string { return s.set.lead.Load().Key() }

// Number is which slot it is, from 0 to n-1: no two holders have one number at one time.
func (s *Slot) Number() int { return s.number }

// Context is the hold's, as [Lock.Context] is.
func (s *Slot) Context() context.Context { return s.set.Context() }

// Done is closed when the hold has ended, however it ended; Err says why.
func (s *Slot) Done() <-chan struct{} { return s.set.Done() }

// Err is nil while the slot is held, and afterwards says how the hold ended, as [Lock.Err] does.
func (s *Slot) Err() error { return s.set.Err() }

// Release ends the hold and frees the slot, as [Lock.Release] does a lock.
func (s *Slot) Release(ctx context.Context) error { return s.set.Release(ctx) }

// MaxSlots is how many slots a key may have.
const MaxSlots = 1000

// AcquireSlot takes one of the n slots of a key: at most n callers hold one at a time, over all processes. It waits while all are held; callers
// are served in turn, first come, first served in a process, and processes in the order in which they came. n is at most [MaxSlots],
// and the same for all who use the key: whoever comes with another while slots are held gets [ErrSlots]. With n = 1 the slot is the key's
// exclusive lock, that of [Manager.Acquire]; so whoever comes for one of several slots while somebody holds the key exclusively gets ErrSlots too.
//
// ctx bounds the wait and the hold. The options are those of Acquire but [WithDedicatedSession] and [WithMinHold]. A slot is some
// locks at the server, which are lost as one: see docs/kinds.md. Slots are not reentrant: with the context of a slot's hold the error is [ErrHeld].
func (m *Manager) AcquireSlot(ctx context.Context, key string, n int, opts ...AcquireOption) (*Slot, error) {
	return m.acquireSlot(ctx, key, n, actor.Terms{}, opts)
}

// TryAcquireSlot takes a slot if one is free and nobody waits for one, and answers [ErrNotAcquired] if not. It waits for no holder of a slot; for
// those who are about to take one before it, a tenth of a second at most.
func (m *Manager) TryAcquireSlot(ctx context.Context, key string, n int, opts ...AcquireOption) (*Slot, error) {
	return m.acquireSlot(ctx, key, n, actor.Terms{Try: true}, opts)
}

// DoSlot runs f while holding a slot, as [Manager.Do] does with a lock: the slot is free when f has returned, and not before. [SlotOf] tells f its number.
func (m *Manager) DoSlot(ctx context.Context, key string, n int, f func(ctx context.Context) error, opts ...AcquireOption) (err error) {
	if f == nil {
		return m.Key(key).refused(errNoFunction, 0)
	}
	slot, err := m.acquireSlot(ctx, key, n, actor.Terms{Hold: actor.HoldForWork}, opts)
	if err != nil {
		return err
	}
	defer func() {
		_ = slot.Err() // which looks at the clock
		err = errors.Join(err, slot.Release(context.WithoutCancel(ctx)))
	}()
	return f(context.WithValue(slot.Context(), slotKey{}, slot.number))
}

type slotKey struct{}

// SlotOf is the number of the slot that the function of [Manager.DoSlot] holds, which has this context. ok is false elsewhere.
func SlotOf(ctx context.Context) (number int, ok bool) {
	number, ok = ctx.Value(slotKey{}).(int)
	return number, ok
}

func (m *Manager) acquireSlot(ctx context.Context, key string, n int, t actor.Terms, opts []AcquireOption) (*Slot, error) {
	s := &slotting{m: m, key: m.Key(key), n: n, ctx: ctx, terms: t, opts: opts, options: collect(opts), begun: time.Now()}
	if err := s.check(); err != nil {
		return nil, err
	}
	if !s.by.IsZero() {
		s.over = make(chan struct{})
		defer time.AfterFunc(time.Until(s.by), func() { close(s.over) }).Stop()
	}
	observed := m.observing.begin(ctx, Acquisition{Key: key, ID: s.key.id, Keys: 1, Slots: n})
	returned := false
	defer func() {
		if !returned { // a method of the context panicked, or ended the goroutine
			s.releaseAll()
		}
	}()
	slot, err := s.run()
	returned = true
	if err != nil {
		m.observing.finish(observed, nil, err)
		return nil, err
	}
	m.observing.finish(observed, slot.set.lead.Load(), nil)
	return slot, nil
}

// check refuses bad input.
func (s *slotting) check() error {
	o := &s.options
	switch {
	case s.ctx == nil:
		return fmt.Errorf("lockkeeper: %w", ErrNilContext)
	case s.key.name == "":
		return s.key.refused(ErrEmptyKey, 0)
	case s.n < 1 || s.n > MaxSlots:
		return s.key.refused(fmt.Errorf("the number of slots is %d: it must be between 1 and %d", s.n, MaxSlots), 0)
	case o.dedicated:
		return s.key.refused(errors.New("WithDedicatedSession is not for slots"), 0)
	case o.transitions != nil:
		return s.key.refused(errTransitions, 0)
	case s.m.fences(o):
		return s.key.refused(errSeveral, 0)
	case o.minHold != 0:
		return s.key.refused(errors.New("WithMinHold is not for slots"), 0)
	}
	if outer, _ := s.ctx.Value(heldKey{}).(*Lock); outer.holds(s.key) {
		return s.key.refused(ErrHeld, 0)
	}
	if o.bounded {
		if err := o.checkWaitTimeout(); err != nil {
			return s.key.refused(err, 0)
		}
		switch {
		case s.terms.Try:
		case o.waitTimeout == 0:
			s.once, s.terms.Try = true, true
		default:
			s.by = s.begun.Add(o.waitTimeout)
		}
	}
	return nil
}

// The locks of a key with slots have names of their own.
func (s *slotting) gateKey() Key      { return s.m.Key(s.key.name + "#gate") }
func (s *slotting) anyKey() Key       { return s.m.Key(s.key.name + "#slots") }
func (s *slotting) countKey() Key     { return s.m.Key(s.key.name + "#slots of " + strconv.Itoa(s.n)) }
func (s *slotting) slotKey(i int) Key { return s.m.Key(s.key.name + "#slot " + strconv.Itoa(i)) }
