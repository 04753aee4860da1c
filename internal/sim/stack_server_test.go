package sim_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// advisory is one lock at the server.
type advisory struct {
	owner *backend
	queue []*statement
}

// backend is the server's end of a connection.
type backend struct {
	w        *stack
	c        *wire // nil: a program that does without us
	pid      uint32
	settings map[string]string
	idle     time.Time // since when it waits for the client
	over     bool
	inBlock  bool           // a transaction,
	xact     []int64        // and its locks
	doubt    map[int64]bool // ids of statements that failed: whether they are held is for an unlock to find out
}

func (b *backend) status() byte {
	if b.inBlock {
		return 'T'
	}
	return 'I'
}

// tryXact is for a transaction, which ends with the statement outside of a block.
func (b *backend) tryXact(id int64) bool {
	l := b.w.lock(id)
	if l.owner != nil {
		return false
	}
	if b.inBlock {
		l.owner = b
		b.xact = append(b.xact, id)
	}
	return true
}

func (b *backend) rollback() {
	for _, id := range b.xact {
		b.w.free(id, b.w.lock(id))
	}
	b.inBlock, b.xact = false, nil
}

// silentUntil is when the server ends the session unless it hears from the client: its idle_session_timeout.
func (b *backend) silentUntil() time.Time { return b.idle.Add(b.setting("idle_session_timeout")) }

func (b *backend) setting(name string) time.Duration {
	ms, err := strconv.Atoi(b.settings[name])
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

func (b *backend) try(id int64) bool {
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

func (b *backend) unlock(id int64) bool {
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
		s.waited(true)
		s.done()
		w.seen.add("granted in the queue")
		w.say("          the server grants %d to %v", id, s.c.p)
	}
}

// ids are what a statement wants locked or released.
func (s *statement) ids() []int64 {
	switch s.kind {
	case kindBatch:
		return append(idsIn(s.params[0]), idsIn(s.params[1])...)
	case kindTry, kindUnlock, kindWait:
		return []int64{s.id()}
	}
	return nil
}

// done ends a statement, whose answer is on its way then.
func (s *statement) done() {
	c := s.c
	if s.code != "" {
		for _, id := range s.ids() {
			c.backend.doubt[id] = true
		}
	}
	s.executed = true
	c.pending, c.backend.idle = c.pending[1:], time.Now()
	c.reply(s, append(s.messages(false), &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
	c.answerQuestions()
}

// fail is done with an error.
func (s *statement) fail(code string) {
	if s.settles {
		s.c.doubtful = true // the session is of no more use
	}
	s.rows, s.code = nil, code
	s.done()
}

func (s *statement) leaveQueue() {
	if s.queued {
		l := s.c.w.lock(s.id())
		l.queue = slices.DeleteFunc(l.queue, func(other *statement) bool { return other == s })
		s.queued = false
	}
}

// execute is PostgreSQL's part. A wait may queue, and is not done then.
func (b *backend) execute(s *statement) {
	b.idle = time.Now()
	switch s.kind {
	case kindSet:
		values := textElements(s.params[1])
		for i, name := range textElements(s.params[0]) {
			b.settings[name] = values[i]
			s.text(name, values[i])
		}
	case kindReadBack:
		for _, name := range textElements(s.params[0]) {
			s.text(name, b.settings[name])
		}
	case kindAsk:
		s.text(fmt.Sprintf("%d f %d 1 db", b.pid, b.w.serverStart))
	case kindPID:
		s.text(strconv.Itoa(int(b.pid)))
	case "database":
		s.text("6462") // "db" in hex
	case "who am I":
		s.text(fmt.Sprintf("%d %d", b.pid, b.w.serverStart))
	case "name the session":
	case "begin":
		b.inBlock = true
	case "rollback":
		b.rollback()
	case "timeline":
		s.text(fmt.Sprintf("7000 %08X", b.w.timeline))
	case "version":
		s.text("PostgreSQL 16.0, simulated")
	case "recovery":
		s.text("f")
	case "read only":
		s.text("off")
	case kindTry:
		s.bool(b.try(s.id()))
	case kindTryXact:
		s.bool(b.tryXact(s.id()))
	case kindUnlock:
		s.bool(b.unlock(s.id()))
	case kindBatch:
		s.rows = [][][]byte{{b.each(s.params[0], b.unlock), b.each(s.params[1], b.try)}}
	case kindWho:
		s.who()
	case kindWait:
		b.wait(s)
	default:
		b.w.violate("the simulation knows what is asked", "%s", s.kind)
		s.code = "0A000"
	}
}

// noLanguage is how a server without PL/pgSQL refuses a block.
const noLanguage = "42704"

// wait may queue, and is not done then.
func (b *backend) wait(s *statement) {
	switch {
	case s.simple && b.w.noLanguage:
		s.code = noLanguage
	case b.try(s.id()):
		s.waited(true)
	default:
		s.queued, s.sliceEnd = true, time.Now().Add(b.setting("lock_timeout"))
		l := b.w.lock(s.id())
		l.queue = append(l.queue, s)
	}
}

// waited is the answer of a wait: a letter, or that of pg_advisory_lock, which returns void or fails.
func (s *statement) waited(granted bool) {
	switch {
	case s.simple:
		s.rows, s.columns = nil, 1
		s.text(letter(granted))
	case granted:
		s.rows = [][][]byte{{{}}}
	default:
		s.code = "55P03"
	}
}

func textElements(array []byte) []string {
	return strings.Split(strings.Trim(string(array), `{}"`), `","`)
}

func (b *backend) each(array []byte, f func(int64) bool) []byte {
	var letters []byte
	for _, id := range idsIn(array) {
		letters = append(letters, letter(f(id))...)
	}
	return letters
}

func (s *statement) who() {
	id := int64(binary.BigEndian.Uint32(s.params[0]))<<32 | int64(binary.BigEndian.Uint32(s.params[1]))
	if owner := s.c.w.lock(id).owner; owner != nil {
		s.text(strconv.Itoa(int(owner.pid)), "simulated", "127.0.0.1", "1700000000")
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
