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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// ConnectError says why no session could be opened. Its text and chain are made of parts that hold no secret: pgx's own
// message quotes pieces of the DSN, and of a malformed one that can be the password. Errors that functions of the user's
// made are in both, with the password masked. context.Canceled and context.DeadlineExceeded are in the chain only where the
// caller's own context has ended; a limit of ours is os.ErrDeadlineExceeded.
type ConnectError struct {
	reason    string
	permanent bool
	chain     []error
}

func (e *ConnectError) Error() string { return "cannot open a session: " + e.reason }

// Unwrap gives what is safe to show.
func (e *ConnectError) Unwrap() []error { return e.chain }

// connectError makes a ConnectError. The context is the caller's. The secrets are masked wherever they stand.
func connectError(ctx context.Context, err error, secrets ...string) error {
	out := &ConnectError{}
	if contextError(ctx) != nil {
		out.ended(ctx)
		return out
	}
	if known, ok := asType[*ConnectError](err); ok {
		return known
	}
	if e, ok := asType[secretError](err); ok {
		secrets = append(secrets, e.secrets...)
	}
	if e, ok := asType[*pgconn.ConnectError](err); ok && e.Config != nil {
		secrets = append(secrets, secretsOf(e.Config)...)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		out.classify(err, secrets)
		out.foreign(err, secrets) // it is somebody else's context, of which they say more
		out.system(err)
	default:
		out.classify(err, secrets)
		out.system(err)
		out.foreign(err, secrets)
	}
	out.add("the connection failed", nil)
	out.reason = mask(out.reason, secrets)
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

// ended tells of the caller's context.
func (e *ConnectError) ended(ctx context.Context) {
	err, reason := contextError(ctx), "cancelled"
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "timed out: the context's deadline has passed"
	}
	e.add(reason, err)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		e.add("", cause)
	}
}

// contextError is the context's error, also in the moment between its deadline and the timer that ends it.
func contextError(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// classify finds what is most telling in pgx's error.
func (e *ConnectError) classify(err error, secrets []string) {
	var (
		pgErr   *pgconn.PgError
		dns     *net.DNSError
		errno   syscall.Errno
		parse   *pgconn.ParseConfigError
		old     *failedOverError
		silence *silenceError
		hook    *hookError
		failed  *panicError
		noTLS   tls.RecordHeaderError
		tooLong *pgproto3.ExceededMaxBodyLenErr
		misread dsnError
	)
	switch {
	case errors.As(err, &failed): // not permanent: the next attempt may do
		e.add(failed.Error(), nil)
	case errors.As(err, &old): // not permanent: the next host may be the new primary
		e.add(old.Error(), nil)
	case errors.Is(err, ErrUnsafe):
		e.permanent = !errors.Is(err, errDemoted)
		e.add(unsafeText(err), ErrUnsafe)
	case errors.As(err, &hook):
		e.permanent = !Transient(hook.err)
		e.add(hook.Error(), nil)
	case errors.As(err, &pgErr):
		e.permanent = !transientCode(pgErr.Code)
		pgErr = masked(pgErr, secrets)
		said := fmt.Sprintf("the server says %s: %s (SQLSTATE %s)", pgErr.Severity, pgErr.Message, pgErr.Code)
		if pgErr.Hint != "" {
			said += ": " + pgErr.Hint
		}
		e.add(said, pgErr)
		e.add("", fullness(pgErr))
	case errors.As(err, &misread):
		e.permanent = true
		e.add(misread.Error(), nil)
	case errors.Is(err, errBusy):
		e.permanent = true
		e.add(errBusy.Error(), nil)
	case errors.As(err, &parse):
		e.permanent = true
		e.add(parseReason(err), nil)
	case certificateError(err) != nil:
		e.permanent = true
		e.add(fmt.Sprintf("the server's TLS certificate was not accepted (check sslmode and sslrootcert): %v",
			certificateError(err)), nil)
	case errors.Is(err, errForeign), errors.As(err, &noTLS), errors.As(err, &tooLong):
		e.add("what answers there does not speak PostgreSQL: is the port another server's?", nil)
	case errors.As(err, &silence):
		e.add(silence.Error(), nil)
	case errors.As(err, &dns):
		e.add(wrappedOr(err, "the host's name could not be resolved"), nil)
	case errors.As(err, &errno):
		e.add(wrappedOr(err, errno.Error()+dialled(err, errno)), errno)
	case errors.Is(err, pgconn.ErrConnClosed), errors.Is(err, net.ErrClosed):
		e.add("the connection was closed while it was being set up", nil)
	case refusedTLS(err):
		e.permanent = true
		e.add("the server refused TLS (check sslmode)", nil)
	}
}

// dialled says where connections failed so: at addresses that a name was resolved to.
func dialled(err error, errno syscall.Errno) string {
	var all []string
	for _, leaf := range leaves(err) {
		var op *net.OpError
		if !errors.As(leaf, &op) || op.Op != "dial" || !errors.Is(op, errno) {
			continue
		}
		if tcp, ok := op.Addr.(*net.TCPAddr); ok && !slices.Contains(all, tcp.String()) {
			all = append(all, tcp.String())
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " at " + strings.Join(all, ", ")
}

// refusedTLS reports whether nothing but the lack of TLS is in the way: with sslmode=prefer another attempt was made without.
func refusedTLS(err error) bool {
	return !slices.ContainsFunc(leaves(err), func(leaf error) bool { return !strings.Contains(leaf.Error(), "server refused TLS") })
}

// masked is a server's error without the secrets, and without the password of a URL in it.
func masked(err *pgconn.PgError, secrets []string) *pgconn.PgError {
	out := *err
	for _, text := range []*string{&out.Message, &out.Detail, &out.Hint, &out.Where, &out.InternalQuery} {
		*text = mask(*text, secrets)
	}
	return &out
}

// certificateError is what x509 says, nil if it says nothing.
func certificateError(err error) error {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &authority):
		return authority
	case errors.As(err, &host):
		return host
	case errors.As(err, &invalid):
		return invalid
	case errors.As(err, &verify):
		return verify
	}
	return nil
}

// unsafeText is the text of the error that says why a server is not safe, without what pgx puts around it.
func unsafeText(err error) string {
	for _, leaf := range leaves(err) {
		if errors.Is(leaf, ErrUnsafe) {
			text := leaf.Error()
			if at := strings.Index(text, ErrUnsafe.Error()); at >= 0 {
				return text[at:]
			}
		}
	}
	return err.Error()
}

// system adds what a program can act on beside that: timeouts, missing files.
func (e *ConnectError) system(err error) {
	var timeout net.Error
	var errno syscall.Errno
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		e.add("timed out", os.ErrDeadlineExceeded)
	}
	if errors.Is(err, os.ErrNotExist) && !errors.As(err, &errno) {
		e.add("no such file", os.ErrNotExist)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		e.add(wrappedOr(err, "the server closed the connection before it was ready"), io.ErrUnexpectedEOF)
	}
	e.chain = slices.DeleteFunc(e.chain, func(link error) bool { return link == nil })
}

// parseReason names what is wrong with a DSN in our words. Only fixed phrases are looked for, nothing is quoted. What pgx says comes
// after its quotation of the DSN, which may have such phrases too.
func parseReason(err error) string {
	text := err.Error()
	text = text[max(strings.LastIndex(text, "`: "), 0):]
	for _, known := range [][2]string{
		{"invalid port", "the DSN's port is not a number from 1 to 65535 (a password with @ : / or # must be percent-encoded)"},
		{"port numbers", "the DSN has several ports, and not as many as hosts"},
		{"sslmode is invalid", "the DSN's sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full"},
		{"target_session_attrs", "the DSN's target_session_attrs is unknown"},
		{"service", "the DSN's service or the service file cannot be read"},
		{"sslcertmode", "the DSN's sslcertmode is not one of disable, allow, require"},
		{`both "sslcert" and "sslkey"`, "the DSN has only one of sslcert and sslkey"},
		{"sslpassword", "the DSN's sslkey is encrypted, and there is no sslpassword"},
		{"failed to configure TLS", "the DSN's TLS files (sslrootcert, sslcert, sslkey) cannot be read, or are not what they should be"},
		{"connect_timeout", "the DSN's connect_timeout is not a number of seconds"},
		{"protocol_version", "the DSN's min_protocol_version or max_protocol_version is unknown, or they contradict each other"},
		{"channel_binding", "the DSN's channel_binding is not one of disable, prefer, require"},
		{"require_auth", "the DSN's require_auth is unknown"},
		{"failed to parse as URL", "the DSN is a URL that cannot be parsed: % @ : / ? # and blanks in a user's name or a password must be " +
			"percent-encoded"},
	} {
		if strings.Contains(text, known[0]) {
			return known[1]
		}
	}
	return "the DSN is neither a postgres:// URL nor key=value pairs that can be parsed (not quoted here, as it may hold a password)"
}
