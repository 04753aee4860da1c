package pg

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Limits, ours and the server's.
var (
	// ErrTooManyLocks: each shared session holds as many locks as it may; see [Config].MaxLocksPerSession.
	ErrTooManyLocks = errors.New("too many locks on this manager's sessions (WithMaxLocksPerSession, WithSharedSessions)")
	// ErrTooManySessions: as many sessions as are allowed are in use; see [Config].MaxSessions.
	ErrTooManySessions = errors.New("too many sessions in use (WithMaxSessions)")
	// ErrLockTableFull: the server has no room for another lock, of anybody's.
	ErrLockTableFull = errors.New("the server's lock table is full")
	// ErrTooManyConnections: the server, the database or the role has all the connections that it may have.
	ErrTooManyConnections = errors.New("the server has too many connections")
)

// fullError is one of the server's limits, with its own words.
type fullError struct {
	kind   error
	server *pgconn.PgError
}

func (e *fullError) Error() string {
	text := fmt.Sprintf("%v: %v", e.kind, e.server)
	if e.server.Hint != "" {
		text += " (" + e.server.Hint + ")"
	}
	return text
}

func (e *fullError) Unwrap() []error { return []error{e.kind, e.server} }

// fullness is which limit of the server's an error speaks of, nil if none.
func fullness(e *pgconn.PgError) error {
	switch {
	case e.Code == "53300":
		return ErrTooManyConnections
	// The code is that of every lack of memory. The setting's name in the hint is the same in every language.
	case e.Code == "53200" && (strings.Contains(e.Hint, "max_locks_per_transaction") || e.Message == "out of shared memory"):
		return ErrLockTableFull
	}
	return nil
}

// serverError is what the server answered, as one of our own conditions where it is one.
func serverError(e *pgconn.PgError) error {
	if kind := fullness(e); kind != nil {
		return &fullError{kind, e}
	}
	return e
}
