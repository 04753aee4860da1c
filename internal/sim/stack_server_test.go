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
	owner *backend
	queue []*statement
}

// backend is the server's end of a connection.
type backend struct {
	pgfake.Session
	w     *stack
	c     *wire     // nil: a program that does without us
	idle  time.Time // since when it waits for the client
	over  bool
	xact  []int64        // the locks of a transaction
	doubt map[int64]bool // ids of statements that failed: whether they are held is for an unlock to find out
}

// TryXact implements pgfake.Locks, as do Try, Unlock and EndXact.
func (b *backend) TryXact(id int64) bool {
	l := b.w.lock(id)
	if l.owner != nil {
		return false
	}
	l.owner = b
	b.xact = append(b.xact, id)
	return true
}

func (b *backend) EndXact() {
	for _, id := range b.xact {
		b.w.free(id, b.w.lock(id))
	}
	b.xact = nil
}

// silentUntil is when the server ends the session unless it hears from the client: its idle_session_timeout.
func (b *backend) silentUntil() time.Time { return b.idle.Add(b.setting("idle_session_timeout")) }

func (b *backend) setting(name string) time.Duration {
	ms, err := strconv.Atoi(b.Settings[name])
	if err != nil || ms == 0 {
		return time.Hour // that is never
	}
	return time.Duration(ms) * time.Millisecond
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
		l = &advisory{}
		w.locks[id] = l
	}
	return l
}

func (b *backend) Try(id int64) bool {
	l := b.w.lock(id)
	delete(b.doubt, id)
	if l.owner == b {
		b.w.violate("one session locks one id once", "%s locks %d on a session that has it", b.whose(), id)
	}
	if l.owner != nil {
		return false
	}
	l.owner = b
	return true
}

func (b *backend) Unlock(id int64) bool {
	l := b.w.lock(id)
	if l.owner != b && b.doubt[id] { // then it is known. Before, it may be asked for again
		delete(b.doubt, id)
		return false
	}
	if l.owner != b {
		b.w.violate("unlock what is locked", "%s unlocks %d on a session that does not have it", b.whose(), id)
		return false
	}
	b.w.free(id, l)
	return true
}

// free gives a lock to who waits for it.
func (w *stack) free(id int64, l *advisory) {
	l.owner = nil
	for len(l.queue) > 0 && l.owner == nil {
		s := l.queue[0]
		l.queue = l.queue[1:]
		s.queued = false
		l.owner = s.c.backend
		s.Waited(true)
		s.done()
		w.seen.add("granted in the queue")
		w.say("          the server grants %d to %v", id, s.c.p)
	}
}

// ids are what a statement wants locked or released.
func (s *statement) ids() []int64 { return append(s.Unlocks(), s.Locks()...) }

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
	case b.Try(s.ID()):
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
		if owner := s.c.w.lock(id).owner; owner != nil {
			s.Text(strconv.FormatInt(id, 10), strconv.Itoa(int(owner.PID)), "simulated", "127.0.0.1", "1700000000", "true")
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
		if l := b.w.lock(id); l.owner == b {
			if excuse && b.c != nil && !b.c.told() {
				b.c.p.excused[id] = b.c
			}
			b.w.free(id, l)
		}
	}
}

// holds reports whether the backend has any lock.
func (b *backend) holds() bool {
	for _, l := range b.w.locks {
		if l.owner == b {
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
