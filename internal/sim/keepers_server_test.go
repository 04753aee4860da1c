package sim_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// keeperTrust is how long a silent session is believed in, and serverPatience how long the server keeps its locks.
	keeperTrust    = 700 * time.Millisecond
	serverPatience = 2 * keeperTrust
	keeperSlice    = 200 * time.Millisecond
)

var (
	errBroken    = errors.New("connection reset")
	errStatement = errors.New("the statement failed")
	errWithdrawn = errors.New("reservation withdrawn")
)

// server has the locks, and knows nothing of keepers. All is guarded by the world's mu.
type server struct {
	w        *world
	locks    map[int64]*serverLock
	sessions []*session // whose locks have not been released
	pids     uint32
}

type serverLock struct {
	id     int64
	owners []owner // one, or any number that share the lock
	shared bool    // its mode, where it has an owner
	grants int     // so far
	queue  []*op   // who waits
}

// owner is a session that has a lock, by the server's grant of that number.
type owner struct {
	s      *session
	tenure int
}

// session implements actor.Session: a connection, as its client sees it, and the server's end of it.
type session struct {
	w      *world
	p      *process // nil: a program that does without us
	pid    uint32
	silent atomic.Int64 // since when nothing gets through, in nanoseconds since the start; 0: all is well
	lost   atomic.Pointer[lossError]
	ended  bool // its locks at the server are free
	killed bool // by the server, before the client could know
	shared bool // by many keys
}

type lossError struct{ err error }

func (s *session) PID() uint32 { return s.pid }

func (s *session) Lost() error {
	if l := s.lost.Load(); l != nil {
		return l.err
	}
	return nil
}

// TrustedUntil is what the health questions would have made it: answered all the time until the session fell silent.
func (s *session) TrustedUntil() time.Time {
	if s.lost.Load() != nil {
		return s.w.start
	}
	heard := time.Now()
	if silent := s.silent.Load(); silent != 0 {
		heard = s.w.start.Add(time.Duration(silent))
	}
	return heard.Add(keeperTrust)
}

func (s *session) fallSilent() {
	s.silent.CompareAndSwap(0, max(1, int64(time.Since(s.w.start))))
}

func (s *session) String() string {
	if s.p == nil {
		return fmt.Sprintf("outsider's session %d", s.pid)
	}
	return fmt.Sprintf("session %d of %v", s.pid, s.p)
}

func (v *server) open(p *process) *session {
	v.pids++
	s := &session{w: v.w, p: p, pid: v.pids}
	v.sessions = append(v.sessions, s)
	return s
}

func (v *server) openShared(p *process) *session {
	s := v.open(p)
	s.shared = true
	return s
}

func (v *server) lock(id int64) *serverLock {
	l := v.locks[id]
	if l == nil {
		l = &serverLock{id: id}
		v.locks[id] = l
	}
	return l
}

func (v *server) grant(l *serverLock, s *session, shared bool) {
	l.grants++
	l.owners, l.shared = append(l.owners, owner{s, l.grants}), shared
}

// of finds the grant by which a session has the lock, 0 where it has not.
func (l *serverLock) of(s *session) (tenure int) {
	for _, o := range l.owners {
		if o.s == s {
			return o.tenure
		}
	}
	return 0
}

// free reports whether the lock may be had in a mode, by a session that is not one of its owners. Who waits counts: PostgreSQL grants
// nothing past a waiter whose mode conflicts.
func (l *serverLock) free(shared bool) bool {
	if !shared {
		return len(l.owners)+len(l.queue) == 0
	}
	return (len(l.owners) == 0 || l.shared) && !slices.ContainsFunc(l.queue, func(o *op) bool { return !o.shared })
}

// execute does what an operation asks for, if its session is still there. A wait may have to queue.
func (v *server) execute(o *op) {
	if o.executed || o.queued || o.unsent != nil || o.s.ended || o.s.silent.Load() != 0 {
		return
	}
	l := v.lock(o.l.id)
	if o.kind != opUnlock && l.of(o.s) > 0 {
		v.w.violate("one session locks one id once", "%v: %v of id %d, which this session holds", o.s, o.kind, l.id)
	}
	switch {
	case o.kind == opUnlock:
		if o.ok = l.of(o.s) > 0 && l.shared == o.shared; !o.ok {
			v.w.violate("unlock what is locked", "%v unlocks %d, which it does not hold", o.s, l.id)
		} else {
			v.release(l, o.s)
			if o.offer != nil {
				v.w.tell(o.l.p, l.id, o.offer)
			}
		}
	case o.kind == opPoll && o.asked && v.w.hintsOnly && !o.stopping:
		return
	case l.free(o.shared):
		v.grant(l, o.s, o.shared)
		o.ok = true
		v.tainted(o, l)
	case o.kind == opWait:
		o.queued, o.sliceEnd = true, time.Now().Add(keeperSlice)
		l.queue = append(l.queue, o)
		return
	case o.kind == opPoll && !o.stopping:
		o.asked = true
		return // it asks again
	}
	o.executed = true
}

// tainted notes that the lock was granted to an operation of a keeper that has failed since.
func (v *server) tainted(o *op, l *serverLock) {
	if o.tainted {
		o.l.p.failTenure[l.id] = l.grants
	}
}

func (v *server) release(l *serverLock, s *session) {
	l.owners = slices.DeleteFunc(l.owners, func(o owner) bool { return o.s == s })
	v.wake(l)
}

// wake grants the lock to those who wait, in order, up to the first whose mode conflicts.
func (v *server) wake(l *serverLock) {
	for len(l.queue) > 0 {
		o := l.queue[0]
		if len(l.owners) > 0 && !(l.shared && o.shared) {
			return
		}
		l.queue = l.queue[1:]
		o.queued = false
		if o.s.ended {
			continue
		}
		v.grant(l, o.s, o.shared)
		o.executed, o.ok = true, true
		v.tainted(o, l)
	}
}

// leave takes a wait out of the queue, as a timeout or a cancellation does. Others may have waited for nobody else.
func (v *server) leave(o *op) {
	l := v.lock(o.l.id)
	l.queue = slices.DeleteFunc(l.queue, func(other *op) bool { return other == o })
	o.queued = false
	v.wake(l)
}

// undo leaves nothing of an operation at the server: it failed, and was settled.
func (v *server) undo(o *op) {
	if o.queued {
		v.leave(o)
	}
	if l := v.lock(o.l.id); o.executed && o.ok && o.kind != opUnlock && l.of(o.s) > 0 {
		v.release(l, o.s)
	}
}

// end ends the server's side of a session: its locks are free.
func (v *server) end(s *session) {
	if s.ended {
		return
	}
	s.ended = true
	s.killed = s.lost.Load() == nil && time.Now().Before(s.TrustedUntil())
	s.fallSilent()
	v.sessions = slices.DeleteFunc(v.sessions, func(other *session) bool { return other == s })
	for _, id := range v.w.ids() {
		l := v.lock(id)
		for _, o := range slices.Clone(l.queue) {
			if o.s == s {
				v.leave(o)
			}
		}
		if l.of(s) > 0 {
			v.release(l, s)
		}
	}
}

// expire ends the sessions that have been silent for longer than the server bears.
func (v *server) expire() {
	for _, s := range slices.Clone(v.sessions) {
		silent := s.silent.Load()
		if silent == 0 || time.Now().Before(v.w.start.Add(time.Duration(silent)+serverPatience)) {
			continue
		}
		for _, c := range v.w.open {
			if c.live() && c.Session == s {
				v.w.violate("no silent loss", "%v holds on while the server frees %d", c, c.ID)
			}
		}
		v.end(s)
	}
}
