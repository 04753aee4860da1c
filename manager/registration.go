package manager

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// registration is one registration with a context for all the acquisitions under it. Workers mostly have a context in
// common; with a registration each they put themselves into that context's map and take themselves out again, which cost a
// thousand of them a sixth of the client's time. It ends with its last member.
type registration struct {
	slot *atomic.Pointer[registration] // where it may be found
	done <-chan struct{}               // the context's: who brings the same may join

	// A mutex, and no owner: to join and to leave are a few instructions each, for which a goroutine would have to be woken.
	// Nothing that could wait is called under it.
	mu      sync.Mutex
	stop    func() bool
	members member // the ring's own link: it is nobody
	over    bool   // nobody may join any more, and who is in the ring is end's to tell
}

// member is an acquisition's place in a registration: one, for its life.
type member struct {
	lock       *Lock
	in         *registration
	prev, next *member // nil once it has left
}

// registrations are where those who come find one to share: a slot for each of so many contexts. A context whose slot is
// taken by another's does without: where many come with few contexts that is rare, and where each comes with its own
// there is nothing to share.
type registrations struct {
	seed  maphash.Seed
	slots [64]atomic.Pointer[registration]
}

// join has the lock's contextEnded called when ctx ends, until the member leaves.
func (rs *registrations) join(ctx context.Context, l *Lock) {
	done := ctx.Done()
	l.member.lock = l
	slot := &rs.slots[maphash.Comparable(rs.seed, done)%uint64(len(rs.slots))]
	found := slot.Load()
	if found != nil && found.done == done && found.add(&l.member) {
		return
	}
	r := &registration{slot: slot, done: done}
	r.members.prev, r.members.next = &r.members, &r.members
	r.add(&l.member)
	stop := context.AfterFunc(ctx, r.end)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop = stop
	if found == nil && !r.over {
		slot.CompareAndSwap(nil, r)
	}
}

func (r *registration) add(b *member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	first := r.members.next
	b.in, b.prev, b.next = r, &r.members, first
	r.members.next, first.prev = b, b
	return true
}

// Unregister implements [actor.Registration]. The last to leave takes the registration back.
func (b *member) Unregister() bool {
	r := b.in
	r.mu.Lock()
	if r.over || b.next == nil {
		r.mu.Unlock()
		return false
	}
	b.prev.next, b.next.prev = b.next, b.prev
	b.prev, b.next = nil, nil
	empty := r.members.next == &r.members
	if empty {
		r.close()
	}
	stop := r.stop
	r.mu.Unlock()
	if empty {
		stop()
	}
	return true
}

// close is called with mu.
func (r *registration) close() {
	r.over = true
	if r.slot.Load() == r {
		r.slot.CompareAndSwap(r, nil)
	}
}

// end tells all members that the context has ended.
func (r *registration) end() {
	r.mu.Lock()
	r.close()
	r.mu.Unlock()
	for b := r.members.next; b != &r.members; {
		next := b.next
		b.prev, b.next = nil, nil // or who keeps one lock would keep them all
		b.lock.contextEnded()
		b = next
	}
	r.members.prev, r.members.next = nil, nil
}
