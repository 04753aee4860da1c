package pgfake

import (
	"cmp"
	"slices"
	"sync"
)

// Table is the advisory locks of a server, as PostgreSQL has them: a session may have a lock several times over and in both modes, those who
// wait are granted in their order, and a try passes nobody whose mode conflicts. Any goroutine may use it.
type Table struct {
	mu    sync.Mutex
	locks map[int64]*entry
}

// entry is one lock.
type entry struct {
	holds map[hold]int
	queue []*Waiter
}

// hold is a session that has a lock in a mode.
type hold struct {
	pid    uint32
	shared bool
}

// Waiter is a session in the queue of a lock.
type Waiter struct {
	hold
	id      int64
	granted chan struct{}
}

// Granted is closed when the session has the lock.
func (w *Waiter) Granted() <-chan struct{} { return w.granted }

// Row is a session that has a lock in a mode, or waits for it so.
type Row struct {
	Lock
	PID     uint32
	Granted bool
	Times   int // that it has the lock; 0 where it waits
}

func (t *Table) entry(id int64) *entry {
	e := t.locks[id]
	if e == nil {
		if t.locks == nil {
			t.locks = make(map[int64]*entry)
		}
		e = &entry{holds: make(map[hold]int)}
		t.locks[id] = e
	}
	return e
}

// tidy forgets a lock that nobody has and nobody wants.
func (t *Table) tidy(id int64, e *entry) {
	if len(e.holds) == 0 && len(e.queue) == 0 {
		delete(t.locks, id)
	}
}

// Try takes the lock for a session, if it is free.
func (t *Table) Try(pid uint32, l Lock) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.try(hold{pid, l.Shared}, l.ID)
}

func (t *Table) try(h hold, id int64) bool {
	e := t.entry(id)
	passes := slices.ContainsFunc(e.queue, func(w *Waiter) bool { return !w.shared || !h.shared })
	if e.holds[h] == 0 && (e.conflicts(h) || passes) {
		return false
	}
	e.holds[h]++
	return true
}

// conflicts reports whether another session has the lock so that h cannot be.
func (e *entry) conflicts(h hold) bool {
	for other := range e.holds {
		if other.pid != h.pid && !(other.shared && h.shared) {
			return true
		}
	}
	return false
}

// Unlock releases the lock once. It answers false where the session has it not, or not in this mode.
func (t *Table) Unlock(pid uint32, l Lock) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, h := t.entry(l.ID), hold{pid, l.Shared}
	defer t.tidy(l.ID, e)
	switch e.holds[h] {
	case 0:
		return false
	case 1:
		delete(e.holds, h)
		e.wake()
	default:
		e.holds[h]--
	}
	return true
}

// wake grants the lock to those who wait, in order, up to the first whose mode conflicts.
func (e *entry) wake() {
	for len(e.queue) > 0 && !e.conflicts(e.queue[0].hold) {
		w := e.queue[0]
		e.queue = e.queue[1:]
		e.holds[w.hold]++
		close(w.granted)
	}
}

// Wait puts a session into the lock's queue, or grants the lock.
func (t *Table) Wait(pid uint32, l Lock) *Waiter {
	w := &Waiter{hold: hold{pid, l.Shared}, id: l.ID, granted: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.try(w.hold, l.ID) {
		close(w.granted)
		return w
	}
	e := t.entry(l.ID)
	e.queue = append(e.queue, w)
	e.wake()
	return w
}

// Leave takes a waiter out of the queue, and reports false where it has been granted.
func (t *Table) Leave(w *Waiter) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.entry(w.id)
	defer t.tidy(w.id, e)
	i := slices.Index(e.queue, w)
	if i >= 0 {
		e.queue = slices.Delete(e.queue, i, i+1)
		e.wake() // others may have waited for nobody else
	}
	return i >= 0
}

// End releases all that a session has, and takes it out of all queues.
func (t *Table) End(pid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.locks {
		e.queue = slices.DeleteFunc(e.queue, func(w *Waiter) bool { return w.pid == pid })
		delete(e.holds, hold{pid, false})
		delete(e.holds, hold{pid, true})
		e.wake()
		t.tidy(id, e)
	}
}

// Rows lists who has a lock and who waits for it: by id, and those who have it first. With ids it lists these alone.
func (t *Table) Rows(ids ...int64) (all []Row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, e := range t.locks {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		for h, n := range e.holds {
			all = append(all, Row{Lock{id, h.shared}, h.pid, true, n})
		}
		for _, w := range e.queue {
			all = append(all, Row{Lock{id, w.shared}, w.pid, false, 0})
		}
	}
	slices.SortStableFunc(all, func(a, b Row) int {
		granted := 0
		if a.Granted != b.Granted {
			granted = 1
			if a.Granted {
				granted = -1
			}
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), granted)
	})
	return all
}
