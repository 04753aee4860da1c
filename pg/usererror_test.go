package pg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// W8. What a function of the user's reached over a network is not what answers for PostgreSQL: a token that could not be fetched is no
// server that refused.
func TestW8_ErrorsOfOtherNetworks(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(169, 254, 169, 254), Port: 80}, Err: syscall.ECONNREFUSED}
	unknown := &net.DNSError{Err: "no such host", Name: "vault.internal", IsNotFound: true}
	functions := map[string]func(t *testing.T, dsn string, hook func() error) Source{
		"BeforeConnect": poolHooks["pgxpool's BeforeConnect"]}
	for _, name := range []string{"DialFunc", "LookupFunc", "ValidateConnect", "AfterConnect", "AfterNetConnect"} {
		functions[name] = hooked[name]
	}
	for name, source := range functions {
		for inner, c := range map[error]struct{ text, gone string }{
			refused: {"connection refused", "169.254"},
			unknown: {"a host's name could not be resolved", "vault.internal"},
		} {
			fail := &vaultError{fmt.Errorf("with %s: %w", d.Password(), &url.Error{Op: "Get", URL: "http://vault/token", Err: inner})}
			dsn := d.tcpDSN()
			if name == "LookupFunc" {
				dsn = strings.Replace(dsn, "127.0.0.1", "db.test", 1)
			}
			_, err := newTestConnector(t, source(t, dsn, func() error { return fail }), Config{}).probe(within(t))
			if err == nil {
				t.Errorf("%s: opened", name)
				continue
			}
			vault, ok := asType[*vaultError](err)
			if !ok || vault.err == nil || !strings.Contains(err.Error(), `Get "http://vault/token": `) {
				t.Errorf("%s: text or chain: %v", name, err)
			}
			if strings.Contains(err.Error(), d.Password()) {
				t.Errorf("%s: the password: %v", name, err)
			}
			if name != "AfterConnect" && (!strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), c.gone) || !Transient(err)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What nobody but pgx has wrapped is told in our words alone: its address may be a part of a DSN that was read otherwise than it was
// meant.
func TestErrorsOfTheNetworkItself(t *testing.T) {
	for _, inner := range []error{
		&net.OpError{Op: "dial", Net: "tcp", Err: errors.New(secret)},
		&net.DNSError{Err: "no such host", Name: secret},
		&net.AddrError{Err: "missing port in address", Addr: secret},
	} {
		for _, hosts := range []string{"a", "a,b", "127.0.0.1", "127.0.0.1,127.0.0.2"} {
			for _, mode := range []string{"disable", "prefer"} {
				config := parsed(t, "host="+hosts+" user=u sslmode="+mode)
				if strings.HasPrefix(hosts, "a") {
					config.LookupFunc = func(context.Context, string) ([]string, error) { return nil, inner }
				} else {
					config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, inner }
				}
				_, err := fromConfig(t, config).Connect(t.Context())
				if err == nil {
					t.Error("connected")
				}
				keepsTheSecret(t, err)
			}
		}
	}
}
