package pg

import (
	"fmt"
	"time"
)

// maxBatch bounds the locks of one statement: enough to spread the cost of a round trip thin, few enough that the first
// of them need not wait long for the last.
const maxBatch = 512

// sendNext sends the next statement where none is under way: the health question when it is due, else what has queued.
func (s *Session) sendNext() {
	if s.current != nil || s.cancel != nil {
		return
	}
	if time.Since(s.asked) >= s.config.HealthInterval {
		s.ask()
		return
	}
	for list := s.inbox.Take(); ; {
		r, ok := list.Next()
		if !ok {
			break
		}
		s.backlog = append(s.backlog, r)
	}
	if len(s.backlog) == 0 {
		return
	}
	if s.backlog[0].Op == OpTry && s.room() <= 0 {
		s.passOn()
		s.sendNext()
		return
	}
	switch s.backlog[0].Op {
	case OpWho, opCancel, OpWait:
		r := s.backlog[0]
		s.backlog = s.backlog[:copy(s.backlog, s.backlog[1:])]
		s.sendAlone(r)
	default:
		s.sendBatch()
	}
}

// passOn hands the tries that have queued to the pool, since the session is full. What else has queued stays.
func (s *Session) passOn() {
	var tries, rest []*Request
	for _, r := range s.backlog {
		if r.Op == OpTry {
			tries = append(tries, r)
		} else {
			rest = append(rest, r)
		}
	}
	s.backlog = rest
	s.handBack(tries)
}

func (s *Session) newFlight(kind flightKind) *flight {
	f := s.spare
	if f == nil {
		f = new(flight)
	}
	s.spare = nil
	clear(f.entries)
	*f = flight{kind: kind, entries: f.entries[:0], letters: f.letters[:0]}
	return f
}

func (s *Session) ask() {
	message, err := s.encode.int4(&askStatement, textFormat)
	s.asked, s.rearm = time.Now(), true
	s.send(s.newFlight(flightAsk), message, err, s.asked.Add(s.config.HealthTimeout))
}

func (s *Session) sendAlone(r *Request) {
	var message []byte
	var err error
	f := s.newFlight(flightOps)
	deadline := s.answerBy()
	switch r.Op {
	case OpWait:
		if r.abandoned.Load() { // before it was sent
			s.spare = f
			s.waiting.Add(-1)
			r.answer(s, false, nil)
			s.sendNext()
			return
		}
		s.wait, s.cancelAt, s.rearm = r, time.Time{}, true
		deadline = time.Now().Add(s.config.WaitSlice + s.config.HealthTimeout)
		message, err = s.encode.int8(&waitStatement, r.ID)
		f.single = true
	case OpWho:
		f.kind = flightWho
		message, err = s.encode.int4(&whoStatement, textFormat, uint32(uint64(r.ID)>>32), uint32(uint64(r.ID)))
	case OpTry, OpUnlock:
		panic("BUG: a " + r.Op.String() + " goes with a batch")
	case opCancel:
		f.kind = flightCancel
		message, err = s.encode.int4(&cancelStatement, binaryFormat, uint32(r.ID))
	}
	f.entries = append(f.entries, entry{id: r.ID, op: r.Op, client: r.Client, req: r})
	if r.Op == OpWait && s.misused(f) {
		return
	}
	s.send(f, message, err, deadline)
}

// sendBatch sends the tries and unlocks at the head of the backlog, up to the first request of another kind.
func (s *Session) sendBatch() {
	f := s.newFlight(flightOps)
	n := 0
	for tries := 0; n < len(s.backlog) && n < maxBatch; n++ {
		if op := s.backlog[n].Op; op != OpUnlock {
			if tries++; op != OpTry || tries > s.room() {
				break
			}
		}
	}
	for _, op := range [...]Op{OpUnlock, OpTry} {
		for _, r := range s.backlog[:n] {
			if r.Op == op {
				f.entries = append(f.entries, entry{id: r.ID, op: op, client: r.Client, req: r})
			}
		}
		if op == OpUnlock {
			f.unlocks = len(f.entries)
		}
	}
	rest := copy(s.backlog, s.backlog[n:])
	clear(s.backlog[rest:])
	s.backlog = s.backlog[:rest]
	if s.misused(f) {
		return
	}
	message, err := s.encodeOps(f)
	s.send(f, message, err, s.answerBy())
	s.pool.stats.batch(n)
}

// misused ends the session where it is asked to lock what it holds or to release what it does not. PostgreSQL stacks a
// session's own lock without a word; that it is asked to is our own broken invariant.
func (s *Session) misused(f *flight) bool {
	for i := range f.entries {
		e := &f.entries[i]
		if _, have := s.held[e.id]; have != (e.op == OpUnlock) {
			s.current = f
			s.lose(CauseDoubt, fmt.Errorf("BUG: %v of id %d, held by this session: %v", e.op, e.id, have))
			return true
		}
	}
	if id, twice := repeated(f.entries[f.unlocks:]); twice {
		s.current = f
		s.lose(CauseDoubt, fmt.Errorf("BUG: two tries of id %d in one statement", id))
		return true
	}
	return false
}

// repeated finds an id that is there twice. A small table of hash bits almost always says at once that there is none.
func repeated(entries []entry) (id int64, found bool) {
	if len(entries) < 2 {
		return 0, false
	}
	var seen [256]uint64
	for i := range entries {
		id := entries[i].id
		hash := uint64(id) * 0x9E3779B97F4A7C15 >> 50 // 14 bits, one for each of the table's
		if seen[hash/64]&(1<<(hash%64)) != 0 {
			for j := range i {
				if entries[j].id == id {
					return id, true
				}
			}
		}
		seen[hash/64] |= 1 << (hash % 64)
	}
	return 0, false
}

func (s *Session) encodeOps(f *flight) ([]byte, error) {
	if len(f.entries) != 1 {
		return s.encode.batch(f.entries[:f.unlocks], f.entries[f.unlocks:])
	}
	f.single = true
	if f.unlocks == 1 {
		return s.encode.int8(&unlockStatement, f.entries[0].id)
	}
	return s.encode.int8(&tryStatement, f.entries[0].id)
}

// answerBy is how long a statement may take: as long as the session is trusted, and never less than a health question.
func (s *Session) answerBy() time.Time {
	least := time.Now().Add(s.config.HealthTimeout)
	if until := s.TrustedUntil(); until.After(least) {
		return until
	}
	return least
}

// send writes a statement. The socket's buffer is empty when it is called, since everything before was answered, so
// the write returns at once; a deadline stands in case it does not, renewed only now and then, as each renewal costs a
// timer.
func (s *Session) send(f *flight, message []byte, err error, deadline time.Time) {
	s.current = f
	f.sent = time.Now()
	f.deadline = deadline
	if err == nil && s.canWrite.Before(f.sent.Add(s.config.HealthTimeout)) {
		s.canWrite = f.sent.Add(s.config.Trust())
		err = s.conn.SetWriteDeadline(s.canWrite)
	}
	if err != nil {
		s.lose(CauseDoubt, err)
		return
	}
	s.toReader <- f
	if _, err := s.conn.Write(message); err != nil {
		// The server may have said why, and the reader is about to read it: its end tells, or the flight's deadline.
		s.rearm = true
		s.endReading(deadline)
	}
}
