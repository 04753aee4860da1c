package pg

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// serverEndError is the server's own last word: a FATAL or PANIC, after which it hangs up.
type serverEndError struct {
	err    *pgconn.PgError
	advice string // what to do about it, where that is known
}

func (e *serverEndError) Error() string { return e.err.Error() + e.advice }
func (e *serverEndError) Unwrap() error { return e.err }

// read is the reader's goroutine: it receives and delivers, always, so that the end of the connection is seen when it comes and
// not when something is next sent. Nothing that it sends waits.
func (s *session) read() {
	returned := false
	defer close(s.readEnded)
	defer func() { // a connection that a user's DialFunc made may panic, or end the goroutine
		if !returned {
			value := recover()
			s.readErr = errBadConn // for a value whose text ends the goroutine
			s.readErr = connPanic(value)
		}
	}()
	s.readEnd, s.readErr = s.readAll()
	returned = true
}

// readEnd says how a reader ended.
type readEnd uint8

const (
	connectionEnded readEnd = iota // nothing more can be read
	serverEnded                    // after the server's last word
	misunderstood                  // what was read makes no sense: the server may have the session still
	endedInOrder                   // as the owner asked for
)

// endCauses are the causes of a loss by that.
var endCauses = [...]Cause{connectionEnded: CauseConnection, serverEnded: CauseServer, misunderstood: CauseDoubt, endedInOrder: CauseClosed}

// input is a connection as its frontend reads it.
type input struct {
	conn   net.Conn
	failed bool // a read has failed
}

func (i *input) Read(b []byte) (int, error) {
	n, err := i.conn.Read(b)
	i.failed = i.failed || err != nil
	return n, err
}

var errBadConn = errors.New("a method of the connection that DialFunc gave panicked")

// connPanic is the error of a connection's method that panicked, or called runtime.Goexit where value is nil.
func connPanic(value any) error {
	if value == nil {
		return errors.New("a method of the connection that DialFunc gave called runtime.Goexit")
	}
	return fmt.Errorf("a method of the connection that DialFunc gave panicked: %v\n%s", value, debug.Stack())
}

// readAll reads until the connection ends, and says how and why it did.
func (s *session) readAll() (readEnd, error) {
	var coming *sending // whose answer is coming in
	var last *serverEndError
	var lent *Loan // the session is lent: what is no answer to the owner's is its holder's
	for {
		message, err := s.front.Receive()
		switch {
		case err != nil && last != nil:
			return serverEnded, last
		case err != nil:
			return s.whyItEnded(err)
		case last != nil:
			continue // nothing counts after a last word but that the server hangs up
		}
		switch m := message.(type) {
		case *pgproto3.NotificationResponse, *pgproto3.NoticeResponse, *pgproto3.ParameterStatus: // allowed at any time
			if n, ok := m.(*pgproto3.NotificationResponse); ok && lent == nil {
				s.hear(n)
			}
			if lent != nil {
				lent.pass(m, s.front.ReadBufferLen())
			}
			continue
		case *pgproto3.ErrorResponse:
			if last = lastWordOf(m); last != nil {
				// The server says so before it releases the locks, and hangs up after. Reading goes on to the end of file: then
				// it is known that they are released.
				last.advice = s.config.scope.advice[last.err.Message]
				s.lastWord <- last
				if lent != nil {
					lent.pass(m, 0)
				}
				continue
			}
		}
		if coming == nil {
			select {
			case coming = <-s.sent:
			default:
				if lent != nil {
					lent.pass(message, s.front.ReadBufferLen())
					continue
				}
				return misunderstood, fmt.Errorf("the server sent %T, and nothing was asked", message)
			}
		}
		if coming.receive(message) {
			switch {
			case coming.kind == kindEnd:
				return endedInOrder, nil
			case coming.kind == kindLend && coming.err == nil && coming.broken == nil:
				lent = coming.loan
				s.front.SetMaxBodyLen(0) // a holder's rows are as long as they are
			case coming.kind == kindBack:
				lent = nil
				s.front.SetMaxBodyLen(maxMessage)
			}
			s.deliver(coming)
			coming = nil
		}
	}
}

// maxUnheard bounds the notifications that nobody has received yet. Those beyond it are dropped.
const maxUnheard = 10_000

// hear passes a notification on, with those that have not been received.
func (s *session) hear(m *pgproto3.NotificationResponse) {
	if s.heard == nil || m.Channel != hintChannel {
		return // a user's function had the connection listen
	}
	var texts []string
	select {
	case texts = <-s.heard:
	default:
	}
	if len(texts) < maxUnheard {
		texts = append(texts, m.Payload)
	} else {
		s.pool.stats.hintsLost.Add(1)
	}
	s.heard <- texts
}

func lastWordOf(m *pgproto3.ErrorResponse) *serverEndError {
	server := pgconn.ErrorResponseToPgError(m)
	if !isLastWord(server) {
		return nil
	}
	return &serverEndError{err: server}
}

func isLastWord(server *pgconn.PgError) bool {
	return server.Severity == "FATAL" || server.SeverityUnlocalized == "FATAL" || server.SeverityUnlocalized == "PANIC"
}

// deliver tells the clients what came of their requests and gives the statement back to the owner. What failed is the owner's: it
// has to be settled before anybody is told.
func (s *session) deliver(f *sending) {
	s.trust(f.sent)
	s.inAir.Add(-1)
	s.pool.stats.roundTrip(time.Since(f.sent), f)
	if f.err != nil && f.kind != kindWho && f.kind != kindHint || f.skipped || f.broken != nil || f.kind == kindAsk || f.kind == kindSettle ||
		f.kind >= kindLend {
		s.toOwner <- f
		return
	}
	f.told.Store(true)
	n, released := len(f.entries), f.released()
	s.tell(f)
	if !released {
		s.toOwner <- f // the owner must not wait to look: every lock on this session is in doubt
		return
	}
	if n > 1 {
		// Those who have been answered ask again before the next statement goes, which then carries what they ask for.
		// Measured: a thousand goroutines make twice the pairs.
		runtime.Gosched() //arch:yield to those who have been answered
	}
	s.answered <- f
}

// tell answers the requests of a statement.
func (s *session) tell(f *sending) {
	if f.kind == kindWho {
		if f.err == nil { // else nothing is known, nor that nobody waits
			f.whole.inquiry.copyAnswers(f)
		}
		f.whole.answer(s.self, f.err == nil, f.err)
		return
	}
	if f.kind == kindHint && f.whole == nil {
		return // nobody waits for it
	}
	if f.kind == kindHint {
		f.whole.answer(s.self, f.err == nil, f.err)
		return
	}
	s.locks.Add(int64(f.granted() - len(f.entries))) // first: whoever hears of a release may count on the room for another lock
	if f.whole != nil {
		f.whole.polls.copyAnswers(f)
		f.whole.answer(s.self, true, nil)
		return
	}
	var self Session = s.self // converted once, and not for each entry
	for i := range f.entries {
		e := &f.entries[i]
		e.req.answer(self, e.ok, nil)
	}
}

// whyItEnded tells a message that makes no sense from the end of the connection, and makes an end of file say what it was.
func (s *session) whyItEnded(err error) (readEnd, error) {
	if s.input != nil && !s.input.failed {
		return misunderstood, err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return connectionEnded, err
}
