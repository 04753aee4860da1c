package pg

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

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
	CauseServer     Cause = "ended by the server"     // FATAL or PANIC, the error says which
	CauseConnection Cause = "connection broken"       // end of file, reset
	CauseSilence    Cause = "no answer in time"       // trust ran out
	CauseBackend    Cause = "backend changed"         // another pid answered: a pooler switched us
	CauseRecovery   Cause = "server is in recovery"   // a standby answered
	CauseDeposed    Cause = "server was deposed"      // a standby of it has been promoted
	CauseDoubt      Cause = "state of a lock unknown" // an unlock was not confirmed, or the protocol was broken
	CauseClosed     Cause = "closed"                  // by the user
)

// LossError says that a session is gone, and every lock on it.
type LossError struct {
	Cause Cause
	PID   uint32
	Err   error // may be nil
}

func (e *LossError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("session of backend %d lost: %s", e.PID, e.Cause)
	}
	return fmt.Sprintf("session of backend %d lost: %s: %v", e.PID, e.Cause, e.Err)
}

func (e *LossError) Unwrap() error { return e.Err }

// Transient reports whether trying again may help: the connection broke or could not be made, the server is starting,
// stopping, out of a resource, or ended the statement. A wrong password, a missing right or a bad setting is not.
func Transient(err error) bool {
	if loss, ok := errors.AsType[*LossError](err); ok { // whatever ended that session, the next one may do
		return loss.Cause != CauseClosed
	}
	if errors.Is(err, ErrTooManySessions) { // one may come free
		return true
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return transientCode(pgErr.Code)
	}
	if connect, ok := errors.AsType[*ConnectError](err); ok {
		return !connect.permanent
	}
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed)
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

// ConnectError says why no session could be opened. Its text and chain are made of parts that hold no secret: pgx's own
// message quotes pieces of the DSN, and of a malformed one that can be the password.
type ConnectError struct {
	reason    string
	permanent bool
	chain     []error
}

func (e *ConnectError) Error() string { return "cannot open a session: " + e.reason }

// Unwrap gives what is safe to show: the server's own error, system error numbers and context errors.
func (e *ConnectError) Unwrap() []error { return e.chain }

func connectError(err error, secret string) error {
	if _, known := errors.AsType[*ConnectError](err); known {
		return err
	}
	out := &ConnectError{}
	out.classify(err)
	out.system(err)
	out.add("the connection failed", nil)
	if len(secret) > 0 {
		out.reason = strings.ReplaceAll(out.reason, secret, "(hidden)")
	}
	return out
}

// add links an error that is safe to show; the first reason given is the one that is told.
func (e *ConnectError) add(reason string, link error) {
	if e.reason == "" {
		e.reason = reason
	}
	if link != nil {
		e.chain = append(e.chain, link)
	}
}

// classify finds what is most telling in pgx's error.
func (e *ConnectError) classify(err error) {
	var (
		pgErr   *pgconn.PgError
		dns     *net.DNSError
		errno   syscall.Errno
		parse   *pgconn.ParseConfigError
		authErr x509.UnknownAuthorityError
		hostErr x509.HostnameError
		certErr x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		deposed *deposedError
	)
	switch {
	case errors.As(err, &deposed): // not permanent: the next host may be the new primary
		e.add(deposed.Error(), nil)
	case errors.Is(err, ErrUnsafe):
		e.permanent = true
		e.add(err.Error(), err)
	case errors.As(err, &pgErr):
		e.permanent = !transientCode(pgErr.Code)
		said := fmt.Sprintf("the server says %s: %s (SQLSTATE %s)", pgErr.Severity, pgErr.Message, pgErr.Code)
		if pgErr.Hint != "" {
			said += ": " + pgErr.Hint
		}
		e.add(said, pgErr)
		e.add("", fullness(pgErr))
	case errors.As(err, &parse):
		e.permanent = true
		e.add(parseReason(err), nil)
	case errors.As(err, &authErr), errors.As(err, &hostErr), errors.As(err, &certErr), errors.As(err, &verify):
		e.permanent = true
		e.add("the server's TLS certificate was not accepted (check sslmode and sslrootcert)", nil)
	case errors.As(err, &dns):
		e.add("the host's name could not be resolved", nil)
	case errors.As(err, &errno):
		e.add(errno.Error(), errno)
	case strings.Contains(err.Error(), "conn closed"): // pgx has no type for it
		e.add("the connection was closed while it was being set up", nil)
	case strings.Contains(err.Error(), "server refused TLS"):
		e.permanent = true
		e.add("the server refused TLS (check sslmode)", nil)
	}
}

// system adds what a program can act on beside that: contexts, timeouts, missing files.
func (e *ConnectError) system(err error) {
	var timeout net.Error
	var errno syscall.Errno
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		e.add("timed out", context.DeadlineExceeded)
	}
	if errors.Is(err, context.Canceled) {
		e.add("cancelled", context.Canceled)
	}
	if errors.Is(err, os.ErrNotExist) && !errors.As(err, &errno) {
		e.add("no such file", os.ErrNotExist)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		e.add("the server closed the connection before it was ready", io.ErrUnexpectedEOF)
	}
}

// parseReason names what is wrong with a DSN in our words. Only fixed phrases are looked for, nothing is quoted.
func parseReason(err error) string {
	text := err.Error()
	for _, known := range [][2]string{
		{"invalid port", "the DSN's port is not a number from 1 to 65535 (a password with @ : / or # must be percent-encoded)"},
		{"sslmode is invalid", "the DSN's sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full"},
		{"target_session_attrs", "the DSN's target_session_attrs is unknown"},
		{"service", "the DSN's service or the service file cannot be read"},
		{"sslrootcert", "the DSN's TLS files cannot be read"},
		{"CA file", "the DSN's TLS files cannot be read"},
		{"connect_timeout", "the DSN's connect_timeout is not a number of seconds"},
		{"invalid URL escape", "the DSN has a percent sign that starts no escape (write %25)"},
		{"invalid userinfo", "the DSN's user or password has a character that must be percent-encoded"},
	} {
		if strings.Contains(text, known[0]) {
			return known[1]
		}
	}
	return "the DSN is neither a postgres:// URL nor key=value pairs that can be parsed (not quoted here, as it may hold a password)"
}
