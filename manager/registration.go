package manager

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// registration is one registration with a context for the acquisitions under it. To register costs more than all else that
// a manager does for an acquisition: it puts a function into the context's map, and the release takes it out again. So where
// a context is used again the registration is kept, and all who bring that context share it.
type registration struct {
	in   *registrations
	done <-chan struct{} // the context's: who brings the same may join

	// A mutex, and no owner: to join and to leave are a few instructions each, for which a goroutine would have to be woken.
	// Nothing that could wait is called under it.
	mu      sync.Mutex
	stop    func() bool
	members member // the ring's own link: it is nobody
	kept    bool   // in the table, and there when its last member has left
	used    bool   // since the table was last looked through
	over    bool   // nobody may join any more, and who is in the ring is end's to tell
}

// member is an acquisition's place in a registration: one, for its life.
type member struct {
	lock       *Lock
	in         *registration
	prev, next *member // nil once it has left
}

// registrations are those that are kept. One for a context that is used once would only be in the way, so a context is
// remembered the first time, by one bit, and its registration kept from the second.
type registrations struct {
	seed    maphash.Seed
	seen    [seenBits / 64]atomic.Uint64
	marks   atomic.Int64 // bits set, ever
	kept    sync.Map     // of *registration, by done
	count   atomic.Int64 // of kept
	tidyAt  atomic.Int64 // at that count those out of use are let go of
	tidying atomic.Bool
	closed  atomic.Bool
}

const (
	// seenBits is large against seenMost, after which all is forgotten: where two contexts share a bit, one registration is
	// kept in vain, until its context ends.
	seenBits  = 1 << 16
	seenMost  = 1 << 13
	tidyLeast = 1024
)

// join has the lock's contextEnded called when ctx ends, until the member leaves.
func (rs *registrations) join(ctx context.Context, l *Lock) {
	done := ctx.Done()
	l.member.lock = l
	if kept, ok := rs.kept.Load(done); ok && kept.(*registration).add(&l.member) { //nolint:forcetypeassert // nothing else is in it
		return
	}
	r := &registration{in: rs, done: done}
	r.members.prev, r.members.next = &r.members, &r.members
	r.add(&l.member)
	stop := context.AfterFunc(ctx, r.end)
	r.mu.Lock()
	r.stop = stop
	if !r.over && rs.again(done) && !rs.closed.Load() {
		_, taken := rs.kept.LoadOrStore(done, r)
		r.kept = !taken
	}
	kept := r.kept
	r.mu.Unlock()
	if kept && rs.count.Add(1) >= max(rs.tidyAt.Load(), tidyLeast) {
		rs.tidy()
	}
}

// again reports whether the context has been used before. It is sometimes wrong.
func (rs *registrations) again(done <-chan struct{}) bool {
	bit := maphash.Comparable(rs.seed, done) % seenBits
	if rs.seen[bit/64].Or(1<<(bit%64))&(1<<(bit%64)) != 0 {
		return true
	}
	if rs.marks.Add(1)%seenMost == 0 {
		for i := range rs.seen {
			rs.seen[i].Store(0)
		}
	}
	return false
}

// tidy lets go of registrations that nobody has used since it last looked. It is called often enough to keep their number
// in proportion to those in use, and seldom enough to cost each a look or two.
func (rs *registrations) tidy() {
	if !rs.tidying.CompareAndSwap(false, true) {
		return
	}
	defer rs.tidying.Store(false)
	for _, r := range rs.kept.Range {
		r.(*registration).letGo(true) //nolint:forcetypeassert // as above
	}
	rs.tidyAt.Store(2 * rs.count.Load())
}

// close lets go of all. One that still has members ends with them.
func (rs *registrations) close() {
	rs.closed.Store(true)
	for _, r := range rs.kept.Range {
		r.(*registration).letGo(false) //nolint:forcetypeassert // as above
	}
}

func (r *registration) add(b *member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	r.used = true
	first := r.members.next
	b.in, b.prev, b.next = r, &r.members, first
	r.members.next, first.prev = b, b
	return true
}

func (r *registration) empty() bool { return r.members.next == &r.members }

// Unregister implements [actor.Registration]. The last to leave takes back a registration that is not kept.
func (b *member) Unregister() bool {
	r := b.in
	r.mu.Lock()
	if r.over || b.next == nil {
		r.mu.Unlock()
		return false
	}
	b.prev.next, b.next.prev = b.next, b.prev
	b.prev, b.next = nil, nil
	var stop func() bool
	if r.empty() && (!r.kept || r.in.closed.Load()) {
		stop = r.close()
	}
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
	return true
}

// letGo takes back a registration without members, unless it has been used and that counts.
func (r *registration) letGo(unlessUsed bool) {
	r.mu.Lock()
	used := r.used
	r.used = false
	var stop func() bool
	if !r.over && r.empty() && !(unlessUsed && used) {
		stop = r.close()
	}
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// close is called with mu. Its result is to be called without.
func (r *registration) close() (stop func() bool) {
	r.over = true
	if r.kept {
		r.in.kept.CompareAndDelete(r.done, r)
		r.in.count.Add(-1)
	}
	return r.stop
}

// end tells all members that the context has ended.
func (r *registration) end() {
	r.mu.Lock()
	over := r.over
	if !over {
		r.close()
	}
	r.mu.Unlock()
	if over { // it was let go of as the context ended, and has nobody
		return
	}
	for b := r.members.next; b != &r.members; {
		next := b.next
		b.prev, b.next = nil, nil // or who keeps one lock would keep them all
		b.lock.contextEnded()
		b = next
	}
	r.members.prev, r.members.next = nil, nil
}
