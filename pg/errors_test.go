package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"
)

// What errors say, what they must not say, and whether it helps to try again.

// secret is a password that no error may hold a part of.
const secret = "hunter2xyzzy"

// secretParts are pieces as a parser might cut them out.
var secretParts = []string{secret, "hunter2", "xyzzy"}

// keepsTheSecret checks an error, all it wraps, and every way to print it.
func keepsTheSecret(t testing.TB, err error) {
	t.Helper()
	var all func(err error)
	all = func(err error) {
		if err == nil {
			return
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err)} {
			for _, part := range secretParts {
				if strings.Contains(text, part) {
					t.Errorf("the error has a part of the password: %s", text)
				}
			}
		}
		switch e := err.(type) { //nolint:errorlint // it walks the chain itself
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				all(inner)
			}
		case interface{ Unwrap() error }:
			all(e.Unwrap())
		}
	}
	all(err)
}

// malformed are DSNs that pgx does not parse, or parses otherwise than their author meant.
var malformed = []string{
	"postgres://user:" + secret + "@localhost:port/db",
	"postgres://user:" + secret + "@localhost:99999/db",
	"postgres://user:hunter2@xyzzy@localhost/db",
	"postgres://user:hunter2/xyzzy@localhost/db",
	"postgres://user:hunter2?xyzzy@localhost/db",
	"postgres://user:hunter2#xyzzy@localhost/db",
	"postgres://user:hunter2:xyzzy@localhost/db",
	"postgres://user:hunter2%xyzzy@localhost/db",
	"postgres://user:hunter2 xyzzy@localhost/db",
	"postgres://user:hunter2[xyzzy@localhost/db",
	"postgres://user:hunter2]xyzzy@localhost/db",
	"postgres://user:hunter2\x00xyzzy@localhost/db",
	"postgres://user:hunter2\nxyzzy@localhost/db",
	"postgres://" + secret + "@:::/db",
	"postgres:user:" + secret + "@localhost/db",
	"postgres://localhost/db?password=" + secret + "&sslmode=what",
	"postgres://localhost/db?password=" + secret + "&port=x",
	"postgres://localhost/db?password=" + secret + "&connect_timeout=soon",
	"postgres://localhost/db?password=" + secret + "&target_session_attrs=best",
	"postgres://localhost/db?password=" + secret + "&service=none",
	"postgres://localhost/db?password=" + secret + "&sslrootcert=/no/such/" + secret,
	"postgres://localhost/db?password=" + secret + "&sslcert=/no/such/" + secret + "&sslkey=/no/such/file",
	"postgres://localhost/db?password=" + secret + "&sslpassword=" + secret + "&sslcert=x",
	"postgres://localhost/db?password=" + secret + "&sslnegotiation=" + secret,
	"postgres://localhost/db?password=" + secret + "&min_protocol_version=" + secret,
	"postgres://localhost/db?password=" + secret + "&channel_binding=" + secret,
	"postgres://localhost/db?password=" + secret + "&default_query_exec_mode=" + secret,
	"postgres://localhost/db?password=" + secret + "&statement_cache_capacity=" + secret,
	"postgresql://user:" + secret + "@/db?host=/no/such/socket&port=" + secret,
	"user=u password=" + secret + " port=" + secret,
	"user=u password=hunter2 xyzzy host=localhost",
	"user=u password = hunter2 xyzzy",
	`user=u password=hunter2\ xyzzy port=x`,
	`user=u password='hunter2xyzzy port=5432`,
	`user=u password=hunter2'xyzzy port=x`,
	`user=u password='hunter2\' xyzzy`,
	`user=u password="hunter2 xyzzy"`,
	"user=u password=" + secret + " sslmode=" + secret,
	"password=" + secret + "=",
	"=" + secret,
	"password=" + secret + " host",
	secret,
	" " + secret + " ",
	"mysql://user:" + secret + "@localhost/db",
	"user:" + secret + "@tcp(localhost:3306)/db",
	"host=localhost port=5432,5433,x password=" + secret,
	"host=a,b port=1,2,3 password=" + secret,
}

func TestNoErrorHoldsAPassword(t *testing.T) {
	failed := 0
	for _, dsn := range malformed {
		if failsQuietly(t, dsn) {
			failed++
		}
	}
	if failed < len(malformed)/2 {
		t.Errorf("only %d of %d are malformed", failed, len(malformed))
	}
}

// failsQuietly makes a source of a DSN, and a connection if that can be done; nothing is dialled. It reports whether
// the source was refused.
func failsQuietly(t testing.TB, dsn string) bool {
	t.Helper()
	source, err := FromDSN(dsn)
	if err != nil {
		keepsTheSecret(t, err)
		if _, ok := asType[*ConnectError](err); !ok || Transient(err) {
			t.Errorf("%T %v: no permanent ConnectError", err, err)
		}
		return true
	}
	_, err = undialled(t, source).Connect(t.Context())
	if err == nil {
		t.Errorf("connected to nowhere")
	}
	keepsTheSecret(t, err)
	return false
}

// undialled lets a source of a DSN find nobody who listens.
func undialled(t testing.TB, source Source) Source {
	t.Helper()
	config, err := source.(configSource).config() //nolint:forcetypeassert // it is what FromDSN makes
	if err != nil {
		t.Fatal(err)
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) {
		if net.ParseIP(host) != nil {
			return []string{host}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	config.DialFunc = func(_ context.Context, network, addr string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %w", addr, syscall.ECONNREFUSED)}
	}
	return fromConfig(t, config)
}

func FuzzDSN(f *testing.F) {
	for _, dsn := range malformed {
		f.Add(dsn)
	}
	f.Fuzz(func(t *testing.T, dsn string) {
		if strings.Contains(dsn, "service") || strings.Contains(dsn, "file") || strings.Contains(dsn, "ssl") {
			return // they read files: whatever is in those is no part of this
		}
		failsQuietly(t, dsn)
	})
}

func TestConnectionErrors(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	d.exec(t, "CREATE ROLE outsider LOGIN PASSWORD '%s'", secret)
	d.exec(t, "CREATE ROLE lonely LOGIN CONNECTION LIMIT 1")
	d.exec(t, "REVOKE CONNECT ON DATABASE %s FROM public", d.name)
	d.exec(t, "GRANT CONNECT ON DATABASE %s TO lonely", d.name)
	t.Cleanup(func() {
		d.exec(t, "REVOKE CONNECT ON DATABASE %s FROM lonely", d.name)
		d.exec(t, "DROP ROLE outsider")
		d.exec(t, "DROP ROLE lonely")
	})
	rude := listen(t, func(c net.Conn) { c.Close() })
	other := listen(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		c.Close()
	})
	with := func(user, password, host, database string) string {
		return (&url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: host, Path: "/" + database,
			RawQuery: "sslmode=disable"}).String()
	}
	for name, c := range map[string]struct {
		dsn       string
		code      string
		is        error
		transient bool
	}{
		"nobody listens":         {dsn: with("u", secret, "127.0.0.1:1", "db"), is: syscall.ECONNREFUSED, transient: true},
		"no such socket":         {dsn: "host=" + filepath.Join(t.TempDir(), "none") + " user=u password=" + secret, is: syscall.ENOENT, transient: true},
		"no such host":           {dsn: with("u", secret, "nowhere.invalid", "db"), transient: true},
		"wrong password":         {dsn: with("lockkeeper", secret, d.TCPAddr(), d.name), code: "28P01"},
		"no such role":           {dsn: "host=" + d.SocketDir() + fmt.Sprintf(" port=%d user=nobody_here dbname=%s", d.Port(), d.name), code: "28000"},
		"no such database":       {dsn: with("lockkeeper", d.Password(), d.TCPAddr(), "nothing"), code: "3D000"},
		"no right to connect":    {dsn: with("outsider", secret, d.TCPAddr(), d.name), code: "42501"},
		"too many connections":   {dsn: d.as(t, "lonely"), code: "53300", transient: true},
		"hangs up at once":       {dsn: with("u", secret, rude, "db"), transient: true},
		"another kind of server": {dsn: with("u", secret, other, "db"), transient: true},
	} {
		t.Run(name, func(t *testing.T) {
			var events []string
			var mu sync.Mutex
			config := quick()
			config.Event = func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, fmt.Sprintf("%+v", e))
			}
			p, err := Open(within(t), sourceOf(t, c.dsn), config)
			if err == nil {
				closePool(t, p)
				t.Fatal("opened")
			}
			keepsTheSecret(t, err)
			if strings.Contains(err.Error(), d.Password()) || strings.Contains(fmt.Sprint(events), secret) {
				t.Errorf("a password in %v or %v", err, events)
			}
			if sqlState(err) != c.code {
				t.Errorf("code %q of %v", sqlState(err), err)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if Transient(err) != c.transient {
				t.Errorf("transient: %v, for %v", Transient(err), err)
			}
			if text := err.Error(); strings.HasSuffix(text, "the connection failed") && name != "another kind of server" {
				t.Errorf("an error that says nothing: %s", text)
			}
		})
	}
}

func listen(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	})
	t.Cleanup(func() {
		l.Close()
		done.Wait()
	})
	return l.Addr().String()
}

func TestOpeningIsBoundedByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"dial", "version", "try", "set", "ask"} {
			f := newFake(t)
			if kind == "dial" {
				f.dial = func(context.Context, string) error { return errMute }
			}
			f.onStatement(func(_ *fakeSession, q *question) { q.never = q.Kind == kind })
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := Open(ctx, f.source(t), Config{}); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", kind, err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), minDuration)
			if _, err := Open(ctx, f.source(t), Config{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", kind, err)
			}
			cancel()
			_, err := Open(t.Context(), f.source(t), Config{})
			if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || !Transient(err) {
				t.Errorf("%s, with its own bound only: %v", kind, err)
			}
		}
	})
}

func TestAServerThatTurnsEverybodyAway(t *testing.T) {
	for code, transient := range map[string]bool{"57P03": true, "53300": true, "57P01": true, "08006": true, "28000": false,
		"42501": false, "0A000": false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			f.turnAway = code
			_, err := Open(t.Context(), f.source(t), Config{})
			if sqlState(err) != code || Transient(err) != transient {
				t.Errorf("%s: %v, transient: %v", code, err, Transient(err))
			}
		})
	}
}

func TestTransient(t *testing.T) {
	server := func(code string) error { return &pgconn.PgError{Code: code} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("anything"), false},
		{context.Canceled, false},
		{ErrClosed, false},
		{ErrWithdrawn, false},
		{ErrUnsafe, false},
		{server("57P01"), true}, {server("57P02"), true}, {server("57P03"), true}, {server("57P05"), true},
		{server("57014"), true}, {server("55P03"), true}, {server("40P01"), true}, {server("25P03"), true},
		{server("53000"), true}, {server("53100"), true}, {server("53200"), true}, {server("53300"), true},
		{server("08000"), true}, {server("08P01"), true}, {server("XX000"), true}, {server("58030"), true},
		{server("28P01"), false}, {server("28000"), false}, {server("42501"), false}, {server("3D000"), false},
		{server("42883"), false}, {server("42P05"), false}, {server("0A000"), false}, {server("22023"), false},
		{&LossError{Cause: CauseServer, Err: server("28000")}, true},
		{&LossError{Cause: CauseConnection, Err: io.ErrUnexpectedEOF}, true},
		{&LossError{Cause: CauseSilence}, true}, {&LossError{Cause: CauseBackend}, true},
		{&LossError{Cause: CauseRecovery}, true}, {&LossError{Cause: CauseDoubt}, true},
		{&LossError{Cause: CauseClosed}, true}, // it was unused: the next session may do
		{io.EOF, true}, {io.ErrUnexpectedEOF, true}, {net.ErrClosed, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		{os.ErrDeadlineExceeded, true},
		{connectError(t.Context(), server("53300")), true},
		{connectError(t.Context(), server("28P01")), false},
		{connectError(t.Context(), io.EOF), true},
		{connectError(t.Context(), fmt.Errorf("%w: why", ErrUnsafe)), false},
	} {
		errs := []error{c.err, fmt.Errorf("wrapped: %w", c.err), errors.Join(c.err, errors.New("another"))}
		switch c.err.(type) { //nolint:errorlint // only those that come unwrapped
		case *LossError, *ConnectError: // owners get them as they are, and look at nothing behind them
			errs = errs[:1]
		}
		for _, err := range errs {
			if got := Transient(err); got != c.want && c.err != nil {
				t.Errorf("%T %v: transient: %v", c.err, err, got)
			}
		}
	}
}

func TestALossSaysWhatHappened(t *testing.T) {
	err := newLossError(CauseServer, 7, &pgconn.PgError{Severity: "FATAL", Code: "57P01", Message: "bye"})
	if text := err.Error(); !strings.Contains(text, "backend 7") || !strings.Contains(text, string(CauseServer)) ||
		!strings.Contains(text, "57P01") {
		t.Error(text)
	}
	if sqlState(err) != "57P01" {
		t.Error("the server's error is not in the chain")
	}
	if text := newLossError(CauseClosed, 7, nil).Error(); text != "session of backend 7 lost: closed" {
		t.Error(text)
	}
}
