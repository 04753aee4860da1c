package pg

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// serverEndError is the server's own last word: a FATAL or PANIC, after which it hangs up.
type serverEndError struct{ err *pgconn.PgError }

func (e *serverEndError) Error() string { return e.err.Error() }
func (e *serverEndError) Unwrap() error { return e.err }

// read is the reader: in Receive whenever nobody else is, so that the end of the connection is seen when it comes, not
// when somebody next has something to send. While callers read their own answers (attend.go) it dozes.
func (s *Session) read() {
	defer s.signal(signalRead)
	defer close(s.readDone)
	for {
		landed, err := s.receive()
		switch {
		case errors.Is(err, errTurnOver): // a caller's, which came to an end as the reader took over
			s.setReadDeadline(time.Time{})
			continue
		case err != nil:
			s.readErr = err
			return
		case !landed:
			continue
		}
		s.work()
		if s.letCallersRead() {
			s.doze()
		}
	}
}

// receive takes one message off the wire, and reports whether it completed the answer to a statement, which has then
// been delivered. Only who has the duty to read calls it. An error is final, but for errTurnOver.
func (s *Session) receive() (landed bool, err error) {
	if s.readFailed != nil {
		return false, s.readFailed
	}
	message, err := s.front.Receive()
	if err != nil {
		if s.turnOver(err) {
			return false, errTurnOver
		}
		if s.lastWord != nil {
			err = s.lastWord
		}
		s.readFailed = orEOF(err)
		return false, s.readFailed
	}
	if s.lastWord != nil {
		return false, nil //nolint:nilerr // nothing counts after a last word but that the server hangs up
	}
	switch m := message.(type) {
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		return false, nil // unasked for, and allowed at any time
	case *pgproto3.ErrorResponse:
		server := pgconn.ErrorResponseToPgError(m)
		if server.Severity == "FATAL" || server.SeverityUnlocalized == "FATAL" || server.SeverityUnlocalized == "PANIC" {
			// The server says so before it releases the locks and hangs up after: there is no time to lose. Reading goes
			// on to the end of file, which is how it is known that they are released.
			s.lastWord = &serverEndError{server}
			s.fatal.Store(s.lastWord)
			s.signal(signalFatal)
			return false, nil
		}
	}
	if s.incoming == nil {
		select {
		case s.incoming = <-s.toReader:
		default:
			s.readFailed = fmt.Errorf("the server sent %T, and nothing was asked", message)
			return false, s.readFailed
		}
	}
	f := s.incoming
	if done := f.take(message); !done {
		return false, nil
	}
	s.incoming = nil
	s.land(f)
	return true, nil
}

// land delivers a complete answer, and gives its flight back to the owner.
func (s *Session) land(f *flight) {
	s.trust(f.sent)
	now := time.Now()
	s.pool.stats.roundTrip(now.Sub(f.sent), f)
	s.noteAlone(f, now)
	f.check()
	if f.kind == flightOps && f.err == nil && f.broken == nil {
		s.locks.Add(-int64(f.unlocks)) // whoever hears that a lock is released may count on the room for another
	}
	pause, took := s.pauseAfter(len(f.entries)), now.Sub(f.sent)
	s.telling.Take()
	if s.lost.Load() == nil || !f.mayGrant() {
		f.deliver(s)
	}
	s.answers <- f
	s.telling.Give()
	s.pause(pause, took) // f is the owner's from here on
}

// take adds one message to the answer and reports whether that is complete.
func (f *flight) take(message pgproto3.BackendMessage) bool {
	switch m := message.(type) {
	case *pgproto3.DataRow:
		f.rows++
		f.row(m.Values)
	case *pgproto3.ErrorResponse:
		f.err = serverError(pgconn.ErrorResponseToPgError(m))
	case *pgproto3.CommandComplete:
		f.completed = true
	case *pgproto3.BindComplete, *pgproto3.EmptyQueryResponse:
	case *pgproto3.ReadyForQuery:
		if m.TxStatus != 'I' {
			f.broken = fmt.Errorf("the session is inside a transaction (status %q)", m.TxStatus)
		}
		return true
	default:
		f.broken = fmt.Errorf("unexpected message %T", message)
	}
	return false
}

func (f *flight) row(values [][]byte) {
	switch f.kind {
	case flightAsk:
		if len(values) == 1 {
			f.identity = string(values[0])
		}
	case flightWho:
		if len(values) == 4 {
			f.holder = parseHolder(values)
		}
	case flightCancel:
	case flightOps, flightSettle:
		f.lockRow(values)
	}
}

// lockRow reads what came of locks. A row of another form adds nothing, and check finds that something is missing.
func (f *flight) lockRow(values [][]byte) {
	switch {
	case !f.single:
		if len(values) == 2 && len(values[0]) == f.unlocks { // null where there was no id of that kind
			f.letters = append(append(f.letters, values[0]...), values[1]...)
		}
	case len(values) != 1:
	case f.kind == flightOps && f.entries[0].op == OpWait:
		if values[0] != nil && len(values[0]) == 0 { // pg_advisory_lock returns void: that it returned is the answer
			f.letters = append(f.letters, 't')
		}
	case len(values[0]) == 1 && values[0][0] <= 1:
		f.letters = append(f.letters, "ft"[values[0][0]])
	}
}

// check refuses an answer of another form than was asked for: a server that answers so keeps no locks that we know.
func (f *flight) check() {
	if f.err != nil || f.broken != nil || f.kind != flightOps && f.kind != flightSettle {
		return
	}
	if f.rows != 1 || len(f.letters) != len(f.entries) || !f.completed {
		f.broken = fmt.Errorf("%d rows with %d answers came for %d locks", f.rows, len(f.letters), len(f.entries))
		return
	}
	for _, letter := range f.letters {
		if letter != 't' && letter != 'f' {
			f.broken = errors.New("an answer is neither true nor false")
			return
		}
	}
}

// mayGrant reports whether a lock was asked for.
func (f *flight) mayGrant() bool { return f.kind == flightOps && len(f.entries) > f.unlocks }

// deliver tells the clients what came of their requests, on the reader, to spare a hand-over. What failed is left to the
// owner: it has to be settled first.
func (f *flight) deliver(s *Session) {
	switch {
	case f.kind == flightWho || f.kind == flightCancel:
		e := &f.entries[0]
		e.req.Holder = f.holder
		f.answered = true
		s.waiting.Add(-1)
		e.req.answer(s, f.err == nil, f.err)
	case f.kind == flightOps && f.err == nil && f.broken == nil:
		f.answered = true
		s.waiting.Add(-int64(len(f.entries))) // first: who has been answered may look for a session that is at rest
		for i := range f.entries {
			e := &f.entries[i]
			e.ok = f.letters[i] == 't'
			e.req.answer(s, e.ok, nil)
		}
	}
}

func parseHolder(values [][]byte) *Holder {
	pid, _ := strconv.ParseUint(string(values[0]), 10, 32)
	h := &Holder{PID: uint32(pid), ApplicationName: string(values[1]), ClientAddr: string(values[2])}
	if seconds, err := strconv.ParseFloat(string(values[3]), 64); err == nil {
		h.SessionSince = time.UnixMicro(int64(seconds * 1e6))
	}
	return h
}

// orEOF makes an end of file say what it was.
func orEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}
