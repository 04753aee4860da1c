package sim_test

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// advisory is one lock at the server.
type advisory struct {
	id     int64
	owners []*backend // one, or any number that share the lock
	shared bool       // its mode, where it has an owner
	queue  []*statement
}

func (l *advisory) has(b *backend) bool { return slices.Contains(l.owners, b) }

// of is the connection on which a program has the lock, nil if it has not. Where it shares the lock with itself, since the server has
// yet to hear that it has left a connection, it is the one that it asked on last.
func (l *advisory) of(p *program) (c *wire) {
	for _, b := range l.owners {
		if b.c != nil && b.c.p == p {
			c = b.c.orLater(l.id, c)
		}
	}
	return c
}

// orLater is that of two connections on which a lock was asked for later. Either may be nil.
func (c *wire) orLater(id int64, other *wire) *wire {
	if c == nil || other != nil && other.lastAsked[id] > c.lastAsked[id] {
		return other
	}
	return c
}

// conflicts reports whether a lock in a mode cannot be granted beside those that are.
func (l *advisory) conflicts(shared bool) bool { return len(l.owners) > 0 && !(l.shared && shared) }

// free reports whether the lock may be had in a mode. Who waits counts: PostgreSQL grants nothing past a waiter whose mode conflicts.
func (l *advisory) free(shared bool) bool {
	return !l.conflicts(shared) && !slices.ContainsFunc(l.queue, func(s *statement) bool { return !(s.Lock().Shared && shared) })
}

func (l *advisory) grant(b *backend, shared bool) { l.owners, l.shared = append(l.owners, b), shared }

// backend is the server's end of a connection.
type backend struct {
	pgfake.Session
	w       *stack
	c       *wire     // nil: a program that does without us
	idle    time.Time // since when it waits for the client
	over    bool
	listens bool
	xact    []int64        // the locks of a transaction
	doubt   map[int64]bool // ids of statements that failed: whether they are held is for an unlock to find out
}

// TryXact implements pgfake.Locks, as do Try, Unlock and EndXact.
func (b *backend) TryXact(id int64) bool {
	l := b.w.lock(id)
	if !l.free(false) {
		return false
	}
	l.grant(b, false)
	b.xact = append(b.xact, id)
	return true
}

func (b *backend) Listen() { b.listens = true }

// Notify tells all that listen, at once where their connections let anything through.
func (b *backend) Notify(text string) {
	for _, c := range b.w.wires {
		if c.backend.listens && !c.backend.over && !c.cut && !c.hungUp {
			c.deliver(pgfake.Encode(pgfake.Notification(text)))
		}
	}
}

func (b *backend) EndXact() {
	for _, id := range b.xact {
		b.w.free(id, b)
	}
	b.xact = nil
}

// silentUntil is when the server ends the session unless it hears from the client: its idle_session_timeout.
func (b *backend) silentUntil() time.Time { return b.idle.Add(b.setting("idle_session_timeout")) }

func (b *backend) setting(name string) time.Duration {
	if text := b.Settings[name]; text != "" { // it is asked for all the time
		if ms, err := strconv.Atoi(text); err == nil && ms > 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return time.Hour // that is never
}

func (b *backend) whose() string {
	switch {
	case b == nil:
		return "nobody"
	case b.c == nil:
		return "another program"
	}
	return b.c.p.String()
}

func (w *stack) lock(id int64) *advisory {
	l := w.locks[id]
	if l == nil {
		l = &advisory{id: id}
		w.locks[id] = l
	}
	return l
}

func (b *backend) Try(lock pgfake.Lock) bool {
	l := b.w.lock(lock.ID)
	delete(b.doubt, lock.ID)
	if l.has(b) {
		b.w.violate("one session locks one id once", "%s locks %v on a session that has it", b.whose(), lock)
	}
	if !l.free(lock.Shared) {
		return false
	}
	l.grant(b, lock.Shared)
	return true
}

func (b *backend) Unlock(lock pgfake.Lock) bool {
	l := b.w.lock(lock.ID)
	if !l.has(b) && b.doubt[lock.ID] { // then it is known. Before, it may be asked for again
		delete(b.doubt, lock.ID)
		return false
	}
	if !l.has(b) || l.shared != lock.Shared {
		b.w.violate("unlock what is locked", "%s unlocks %v on a session that does not have it", b.whose(), lock)
		return false
	}
	b.w.free(lock.ID, b)
	return true
}

// free takes a lock from a session.
func (w *stack) free(id int64, b *backend) {
	l := w.lock(id)
	l.owners = slices.DeleteFunc(l.owners, func(other *backend) bool { return other == b })
	w.wake(id, l)
}

// wake gives a lock to those who wait for it, in order, up to the first whose mode conflicts.
func (w *stack) wake(id int64, l *advisory) {
	for len(l.queue) > 0 && !l.conflicts(l.queue[0].Lock().Shared) {
		s := l.queue[0]
		l.queue = l.queue[1:]
		s.queued = false
		l.grant(s.c.backend, s.Lock().Shared)
		s.Waited(true)
		s.done()
		w.seen.add("granted in the queue")
		w.say("          the server grants %d to %v", id, s.c.p)
	}
}

// ids are what a statement wants locked or released.
func (s *statement) ids() (ids []int64) {
	for _, l := range append(s.Unlocks(), s.Locks()...) {
		ids = append(ids, l.ID)
	}
	return ids
}

// done ends a statement, whose answer is on its way then.
func (s *statement) done() {
	c := s.c
	if s.Code != "" {
		for _, id := range s.ids() {
			c.backend.doubt[id] = true
		}
	}
	s.executed = true
	c.pending, c.backend.idle = c.pending[1:], time.Now()
	c.reply(s, append(s.request.Answer(), c.backend.Ready())...)
	c.answerQuestions()
}

// fail is done with an error.
func (s *statement) fail(code string) {
	if s.settles {
		s.c.doubtful = true // the session is of no more use
	}
	s.Rows, s.Code = nil, code
	s.done()
}

func (s *statement) leaveQueue() {
	if s.queued {
		l := s.c.w.lock(s.ID())
		l.queue = slices.DeleteFunc(l.queue, func(other *statement) bool { return other == s })
		s.queued = false
		s.c.w.wake(s.ID(), l) // others may have waited for nobody else
	}
}

// facts are what all sessions say of the server.
func (w *stack) facts() pgfake.Facts {
	return pgfake.Facts{Version: "PostgreSQL 16.0, simulated", Start: strconv.Itoa(w.serverStart), Timeline: fmt.Sprintf("7000 %08X", w.timeline),
		Recovery: "f", Database: "db"}
}

// execute is PostgreSQL's part. A wait may queue, and is not done then.
func (b *backend) execute(s *statement) {
	b.idle = time.Now()
	switch s.Kind {
	case pgfake.Wait, pgfake.PlainWait:
		b.wait(s)
	case pgfake.Who:
		s.who()
	default:
		if !b.Do(s.Statement, b.w.facts(), b) {
			b.w.violate("the simulation knows what is asked", "%s", s.Kind)
			s.Code = "0A000"
		}
	}
}

// noLanguage is how a server without PL/pgSQL refuses a block.
const noLanguage = "42704"

// wait may queue, and is not done then.
func (b *backend) wait(s *statement) {
	switch {
	case s.Kind == pgfake.Wait && b.w.noLanguage:
		s.Code = noLanguage
	case b.Try(s.Lock()):
		s.Waited(true)
	default:
		s.queued, s.sliceEnd = true, time.Now().Add(b.setting("lock_timeout"))
		l := b.w.lock(s.ID())
		l.queue = append(l.queue, s)
	}
}

func (s *statement) who() {
	s.Columns = 6
	for _, id := range s.Wanted() {
		l := s.c.w.lock(id)
		for _, waiting := range l.queue {
			s.Has(id, waiting.c.backend.PID, false)
		}
		for _, b := range l.owners {
			s.Has(id, b.PID, true)
		}
		if len(l.queue) > 0 && l.shared && l.of(s.c.p) != nil {
			s.c.w.seen.add("readers hear of a writer")
		}
	}
}

// end ends a backend: its locks are free. Where the client cannot have heard, excuse is true.
func (b *backend) end(excuse bool) {
	if b.over {
		return
	}
	b.over = true
	if c := b.c; c != nil {
		for _, s := range c.pending {
			s.leaveQueue()
		}
		c.pending = nil
		c.hungUp = true
	}
	for _, id := range b.w.lockIDs() {
		if b.w.lock(id).has(b) {
			if excuse && b.c != nil && !b.c.told() {
				if old := b.c.p.excused[id]; old != nil && !old.told() {
					b.c.p.excused[id] = b.c.orLater(id, old)
				} else {
					b.c.p.excused[id] = b.c
				}
			}
			b.w.free(id, b)
		}
	}
}

// holds reports whether the backend has any lock.
func (b *backend) holds() bool {
	for _, l := range b.w.locks {
		if l.has(b) {
			return true
		}
	}
	return false
}

func (w *stack) lockIDs() (ids []int64) {
	for id := range w.locks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
