package pg

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// landed takes a flight back from the reader.
func (s *Session) landed(f *flight) {
	s.current, s.wait = nil, nil
	switch {
	case f.broken != nil:
		s.current = f
		s.lose(CauseDoubt, f.broken)
	case f.err != nil && f.kind == flightOps:
		if s.cancel != nil {
			s.parked = f // the cancellation might hit the unlock instead
			return
		}
		s.settle(f)
	case f.err != nil && f.kind == flightAsk:
		s.current = f
		s.lose(CauseDoubt, fmt.Errorf("the health question failed: %w", f.err))
	case f.err != nil && f.kind == flightSettle:
		s.current = f
		s.lose(CauseDoubt, errors.Join(f.doubt, f.err))
	case f.kind == flightSettle:
		s.settled(f)
	case f.kind == flightAsk:
		s.identify(f)
	default:
		s.record(f)
	}
	if s.current != f {
		s.spare = f
	}
}

// record keeps account of which ids the session holds, after the reader has told the clients.
func (s *Session) record(f *flight) {
	for i := range f.entries {
		e := &f.entries[i]
		switch {
		case e.op == OpUnlock && e.ok:
			delete(s.held, e.id)
		case e.op == OpUnlock:
			delete(s.held, e.id)
			s.lose(CauseDoubt, fmt.Errorf("the server did not have the lock %d that it was told to release", e.id))
		case e.ok && (e.op == OpTry || e.op == OpWait):
			s.held[e.id] = e.client
		}
	}
	s.locks.Store(int64(len(s.held)))
}

// identify compares the health question's answer with the first one. Its second word is "t" on a standby.
func (s *Session) identify(f *flight) {
	if f.identity == s.identity {
		return
	}
	cause := CauseBackend
	if words := strings.Fields(f.identity); len(words) > 1 && words[1] == "t" {
		cause = CauseRecovery
	}
	s.lose(cause, fmt.Errorf("%q answered, %q was expected (backend, in recovery, server's start, database, role)",
		f.identity, s.identity))
}

// settle unlocks once every id of a failed statement. The boolean tells what became of it: true, it was held and is
// free now; false, it was not. Nobody is answered before.
func (s *Session) settle(f *flight) {
	for i := range f.entries {
		f.entries[i].ok = false
	}
	f.kind, f.doubt, f.err = flightSettle, f.err, nil
	f.unlocks, f.rows, f.completed, f.letters = len(f.entries), 0, false, f.letters[:0]
	var message []byte
	var err error
	if f.single = len(f.entries) == 1; f.single {
		message, err = s.encode.int8(&unlockStatement, f.entries[0].id)
	} else {
		message, err = s.encode.batch(f.entries, nil)
	}
	s.send(f, message, err, s.answerBy())
}

// settled answers the entries of a failed statement, now that none of its ids is held.
func (s *Session) settled(f *flight) {
	s.waiting.Add(-int64(len(f.entries)))
	for i := range f.entries {
		e := &f.entries[i]
		delete(s.held, e.id)
		switch {
		case e.op == OpUnlock:
			e.req.answer(s, true, nil)
		case e.op == OpWait && sliceOver(f.doubt, e.req):
			e.req.answer(s, false, nil)
		default:
			e.req.answer(s, false, f.doubt)
		}
	}
	s.locks.Store(int64(len(s.held)))
}

// sliceOver reports whether a wait ended as it was meant to: its slice ran out, or its client abandoned it.
func sliceOver(err error, r *Request) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	return server.Code == "55P03" || server.Code == "57014" && r.abandoned.Load()
}
