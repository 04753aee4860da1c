package pg

import (
	"errors"
	"os"
	"time"
)

// Who reads the answers. A reader that is always in Receive costs a lone caller a second wake-up per answer: the reader
// is woken by the socket, and has to wake the caller. A wake-up costs as much as the rest of a pair, so where statements
// come one at a time and close upon each other the reader dozes, and a caller who has nothing else to do reads its own
// answer. As soon as there is more to read than that, or nothing for a moment, the reader is back.

// The duty to read: one goroutine has it, and with it the receiving half of the connection.
const (
	dutyReader uint32 = iota // the reader is in Receive, or on its way there
	dutyFree                 // the reader dozes; a caller may take the duty, or the reader may when it wakes
	dutyCaller               // a caller reads
)

const (
	// aloneAfter is after how many lone statements in a row callers may read.
	aloneAfter = 4
	// aloneWithin is how soon one must follow the other: to doze and wake for each costs more than it saves.
	aloneWithin = 500 * time.Microsecond
	// dozeFor is how long the reader dozes before it looks whether callers still come. The end of the connection is
	// seen that much later, twice at worst.
	dozeFor = time.Millisecond
	// attendFor bounds how long a caller reads, who has a context of its own to heed. The deadline on the socket is
	// renewed only when half of it is gone: each renewal costs a timer.
	attendFor = 8 * time.Millisecond
)

// noteAlone counts the statements in a row that had one caller each.
func (s *Session) noteAlone(f *flight, now time.Time) {
	if f.kind == flightOps && len(f.entries) == 1 && f.entries[0].op != OpWait && f.sent.Sub(s.landedAt) < aloneWithin {
		s.alone++
	} else {
		s.alone = 0
	}
	s.landedAt = now
}

// letCallersRead gives up the reader's duty where statements come one at a time, and reports whether it did.
func (s *Session) letCallersRead() bool {
	return s.alone >= aloneAfter && !s.out.Load() && s.putDuty()
}

// putDuty makes the duty free, unless a statement was sent meanwhile by somebody who thought that it was not.
func (s *Session) putDuty() bool {
	s.duty.Store(dutyFree)
	return !s.out.Load() || !s.duty.CompareAndSwap(dutyFree, dutyReader)
}

// doze waits until the reader has the duty again: it is called, or no caller has come for a moment.
func (s *Session) doze() {
	timer := time.NewTimer(dozeFor)
	defer timer.Stop()
	for seen := s.attended.Load(); ; {
		select {
		case <-s.callReader:
		case <-timer.C:
			if now := s.attended.Load(); now != seen || !s.duty.CompareAndSwap(dutyFree, dutyReader) {
				seen = now
				timer.Reset(dozeFor)
				continue
			}
		}
		s.alone = 0
		if !s.readBy.IsZero() {
			s.setReadDeadline(time.Time{})
		}
		return
	}
}

// MustRead sees to it that somebody reads the answer to what has been sent, where nobody has said that he would. It never
// blocks.
func (s *Session) MustRead() {
	if s.duty.Load() == dutyFree && s.out.Load() && s.duty.CompareAndSwap(dutyFree, dutyReader) {
		s.callReader <- struct{}{}
	}
}

// Attend reads the answer to the statement under way on the caller's goroutine, if the reader is not at it, for a few
// milliseconds at most. It reports whether a value was received from answered, which is what the caller waits for.
func (s *Session) Attend(answered <-chan struct{}) (received bool) {
	if !s.duty.CompareAndSwap(dutyFree, dutyCaller) {
		return false
	}
	if !s.out.Load() || s.readEnd.Load() != nil { // it has been answered, or is about to be by somebody else's doing
		s.giveDuty()
		return false
	}
	if now := time.Now(); s.readBy.Sub(now) < attendFor/2 {
		s.setReadDeadline(now.Add(attendFor))
	}
	for landed := false; !landed; {
		var err error
		if landed, err = s.receive(); err != nil {
			s.alone = 0 // the reader meets the same error, or goes on in the middle of the answer
			s.giveDuty()
			return false
		}
	}
	s.attended.Add(1)
	s.work()
	select {
	case <-answered:
		received = true
	default:
	}
	s.giveDuty()
	return received
}

// giveDuty ends a caller's turn at reading.
func (s *Session) giveDuty() {
	if s.alone == 0 || !s.putDuty() {
		s.duty.Store(dutyReader)
		s.callReader <- struct{}{}
	}
}

// errTurnOver ends a caller's turn at reading. It is not the end of the connection.
var errTurnOver = errors.New("the caller has read for long enough")

// turnOver reports whether a read failed by a caller's deadline alone.
func (s *Session) turnOver(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	end := s.readEnd.Load()
	return end == nil || time.Now().Before(*end)
}

// setReadDeadline is for who has the duty. It never lifts a deadline that endReading has set.
func (s *Session) setReadDeadline(t time.Time) {
	s.readBy = t
	_ = s.conn.SetReadDeadline(t) // where it fails the connection is closed, and the next read says so
	if end := s.readEnd.Load(); end != nil && (t.IsZero() || end.Before(t)) {
		_ = s.conn.SetReadDeadline(*end)
	}
}

// endReading bounds all reading from here on. A caller, who has a context of its own to heed, is not kept until then: its
// turn ends at once, and none begins.
func (s *Session) endReading(by time.Time) {
	s.readEnd.Store(&by)
	if s.duty.Load() == dutyCaller {
		_ = s.conn.SetReadDeadline(time.Now())
		return
	}
	_ = s.conn.SetReadDeadline(by)
}

// Attend is [Session.Attend] on the session that the request was last submitted to. Any goroutine may call it.
func (r *Request) Attend(answered <-chan struct{}) (received bool) {
	s := r.at.Load()
	return s != nil && s.Attend(answered)
}

// MustRead is [Session.MustRead] on the session that the request was last submitted to. Any goroutine may call it.
func (r *Request) MustRead() {
	if s := r.at.Load(); s != nil {
		s.MustRead()
	}
}
