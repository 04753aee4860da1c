package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors that others made, the user's functions among them: how much of them may be shown.

// secretError carries what must not be shown.
type secretError struct {
	error
	secrets []string
}

// secretsOf are the password of a configuration, and a user's name that may have it inside: that of a URL where the colon between the two
// is percent-encoded.
func secretsOf(config *pgconn.Config) []string {
	secrets := []string{config.Password}
	if strings.Contains(config.User, ":") {
		secrets = append(secrets, config.User)
	}
	return secrets
}

func (e secretError) Unwrap() error { return e.error }

// hookError is what a function of the user's returned.
type hookError struct {
	name string
	err  error
}

func (e *hookError) Error() string { return e.name + " failed: " + e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// foreignError shows an error that others made: its text is masked, and its chain is found by Is and As. What it knows of
// contexts is not shown: they are not the caller's.
type foreignError struct {
	err  error
	text string
}

func (e *foreignError) Error() string { return e.text }

func (e *foreignError) Is(target error) bool {
	return target != context.Canceled && target != context.DeadlineExceeded && errors.Is(e.err, target)
}

func (e *foreignError) As(target any) bool {
	switch target := target.(type) {
	case **pgconn.ConnectError, **pgconn.ParseConfigError: // they hold the password
		return false
	case **net.OpError, **net.DNSError, **net.AddrError: // a part of a DSN that was read otherwise than it was meant may be an address
		return showable(e.err) && errors.As(e.err, target)
	case **pgconn.PgError:
		server, ok := asType[*pgconn.PgError](e.err)
		if ok {
			*target = masked(server, nil)
		}
		return ok
	}
	return errors.As(e.err, target)
}

// dsnURL is a DSN, or the beginning of one: a server quotes what it does not understand.
var dsnURL = regexp.MustCompile(`(?i)(postgres(?:ql)?://)[^\s",][^\s"]*`)

// secretPair is a password of a DSN in key=value form, of whatever kind.
var secretPair = regexp.MustCompile(`(?i)((?:password|passwd|pwd)\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s"',;&)]+)`)

func mask(text string, secrets []string) string {
	text = dsnURL.ReplaceAllString(text, "${1}(hidden)")
	text = secretPair.ReplaceAllString(text, "${1}(hidden)")
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "(hidden)")
		}
	}
	return text
}

// foreign adds what others made: the user's functions, TLS, pgx itself.
func (e *ConnectError) foreign(err error, secrets []string) {
	for _, leaf := range leaves(err) {
		text := leaf.Error()
		if !showable(leaf) {
			if text = aroundNetwork(leaf); text == "" {
				continue
			}
		}
		text = mask(text, secrets)
		e.add("the connection failed: "+text, &foreignError{leaf, text})
	}
}

// aroundNetwork is the text of an error that a function of the user's made of one of a network's, without that one's address: a token
// that could not be fetched, for example. It is empty where nobody but pgx, or we, have wrapped the error.
func aroundNetwork(err error) string {
	short, inner := networkError(err)
	if inner == nil {
		return ""
	}
	if _, ours := asType[*exchangeError](err); ours {
		return ""
	}
	text := err.Error()
	for _, pgx := range []string{"hostname resolving error: ", "dial error: ", "tls error: ", "timeout: ", "failed to receive message: ",
		"failed to write startup message: "} {
		text = strings.TrimPrefix(text, pgx)
	}
	if text == inner.Error() {
		return ""
	}
	return strings.ReplaceAll(text, inner.Error(), short)
}

// networkError is what the first error of a network's in a chain says beside its address, and that error.
func networkError(err error) (short string, inner error) {
	var (
		parse   *pgconn.ParseConfigError
		op      *net.OpError
		dns     *net.DNSError
		address *net.AddrError
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &parse):
		return "", nil
	case errors.As(err, &op):
		short, inner = "the network failed", op
	case errors.As(err, &dns):
		short, inner = "a host's name could not be resolved", dns
	case errors.As(err, &address):
		short, inner = "an address cannot be used", address
	case errors.Is(err, io.ErrUnexpectedEOF):
		short, inner = io.ErrUnexpectedEOF.Error(), io.ErrUnexpectedEOF
	case errors.Is(err, io.EOF):
		short, inner = io.EOF.Error(), io.EOF
	}
	if errors.As(err, &errno) {
		short = errno.Error()
	}
	return short, inner
}

// wrappedOr is the text around a network error where a function of the user's has one to say, else the reason given.
func wrappedOr(err error, reason string) string {
	for _, leaf := range leaves(err) {
		if text := aroundNetwork(leaf); text != "" {
			return "the connection failed: " + text
		}
	}
	return reason
}

// leaves are the errors below those that pgx makes of several attempts, which quote the configuration.
func leaves(err error) []error {
	switch e := err.(type) { //nolint:errorlint // it walks the chain itself
	case nil:
		return nil
	case secretError:
		return leaves(e.error)
	case *pgconn.ConnectError:
		return leaves(e.Unwrap())
	}
	switch fmt.Sprintf("%T", err) { // these have no name that can be used
	case "*pgconn.perDialConnectError":
		return leaves(errors.Unwrap(err))
	case "*fmt.wrapError":
		if strings.HasPrefix(err.Error(), "hostname resolving error: ") { // of several hosts
			return leaves(errors.Unwrap(err))
		}
	case "*errors.joinError":
		joined, _ := err.(interface{ Unwrap() []error })
		var all []error
		for _, inner := range joined.Unwrap() {
			all = append(all, leaves(inner)...)
		}
		return all
	}
	return []error{err}
}

// showable tells errors whose text and chain hold nothing of a DSN that was read otherwise than it was meant.
func showable(err error) bool {
	var (
		parse   *pgconn.ParseConfigError
		dns     *net.DNSError
		address *net.AddrError
		op      *net.OpError
		hook    *hookError
	)
	switch {
	case errors.As(err, &hook):
		return true
	case errors.As(err, &parse), errors.As(err, &dns), errors.As(err, &address), errors.As(err, &op):
		return false
	}
	// A context that has ended says nothing of its own.
	return err != context.Canceled && err != context.DeadlineExceeded //nolint:errorlint // a wrapped one has more to say
}
