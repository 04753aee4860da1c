package pg

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// The conditions that a client can meet.
var (
	// ErrClosed: the pool is closed, or closing.
	ErrClosed = errors.New("the pool of sessions is closed")
	// ErrWithdrawn answers a reservation that its client took back.
	ErrWithdrawn = errors.New("the reservation was withdrawn")
	// ErrUnsafe: this server or proxy cannot keep a lock safe.
	ErrUnsafe = errors.New("not safe for locks")
)

// Cause is why a session was lost, in one of a few words, so that losses can be counted.
type Cause string

// The causes of loss.
const (
	CauseServer     Cause = "ended by the server"      // FATAL or PANIC, the error says which
	CauseConnection Cause = "connection broken"        // end of file, reset
	CauseSilence    Cause = "no answer in time"        // trust ran out
	CauseBackend    Cause = "backend changed"          // another pid answered: a pooler switched us
	CauseRecovery   Cause = "server is in recovery"    // a standby answered
	CauseFailedOver Cause = "a standby was promoted"   // the session was on the old primary
	CauseCluster    Cause = "another cluster answered" // a later session was on another; this one was not
	CauseDoubt      Cause = "state of a lock unknown"  // an unlock was not confirmed, or the protocol was broken
	CauseWork       Cause = "ended by its transaction" // a statement was cut short: the context ended, or the hold
	CauseClosed     Cause = "closed"                   // by us: unused for long, or the pool closes
)

// LossError says that a session is gone, and every lock on it.
type LossError struct {
	Cause Cause
	PID   uint32
	Err   error // may be nil

	// Made once, by the session's owner: Err may come from a connection that a user's DialFunc made, and others ask for the text, keepers
	// among them.
	text string
}

func newLossError(cause Cause, pid uint32, err error) *LossError {
	e := &LossError{Cause: cause, PID: pid, Err: err, text: fmt.Sprintf("session of backend %d lost: %s", pid, cause)}
	if err != nil {
		e.text += fmt.Sprintf(": %v", err)
	}
	return e
}

func (e *LossError) Error() string { return e.text }

func (e *LossError) Unwrap() error { return e.Err }

// Transient reports whether trying again may help: the connection broke or could not be made, the server is starting,
// stopping, out of a resource, or ended the statement. A wrong password, a missing right or a bad setting is not.
func Transient(err error) bool {
	// Owners ask this. An error that may have methods of the user's behind it is one of ours in front: only the front is looked at.
	switch known := err.(type) { //nolint:errorlint // see above
	case *LossError: // the next session may do
		return true
	case *ConnectError:
		return !known.permanent
	}
	if errors.Is(err, ErrTooManySessions) { // one may come free
		return true
	}
	if pgErr, ok := asType[*pgconn.PgError](err); ok {
		return transientCode(pgErr.Code)
	}
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed)
}

// Ended reports whether the session ended: what was asked on it may succeed on another one.
func Ended(err error) bool {
	_, ok := err.(*LossError) //nolint:errorlint // only the front is looked at: see Transient
	return ok
}

// asType is the first error of a type in a chain. (Go has errors.AsType since 1.26.)
func asType[T error](err error) (found T, ok bool) {
	ok = errors.As(err, &found)
	return found, ok
}

// sqlState is the server's code of an error, if it has one.
func sqlState(err error) string {
	if server, ok := asType[*pgconn.PgError](err); ok {
		return server.Code
	}
	return ""
}

// Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
func transientCode(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", // shut down, crash, cannot connect now, idle session ended
		"57014",          // cancelled: by a timeout of the role's, or by an administrator
		"55P03", "40P01", // lock timeout, deadlock victim
		"25P03", "25P04", // idle in transaction and transaction timeout
		"XX000", "58000", "58030": // internal, system and I/O errors: often a server that is going down
		return true
	}
	return strings.HasPrefix(code, "53") || // out of memory, connections, lock table, disk
		strings.HasPrefix(code, "08") // connection exceptions
}
