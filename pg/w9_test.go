package pg

import (
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// W9. A certificate that is not accepted: x509's own text and types say why.
func TestW9_CertificatesThatAreNotAccepted(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	strict := func(host, root string) Source {
		dsn := strings.Replace(d.tcpDSN(), "sslmode=disable", "sslmode=verify-full&sslrootcert="+url.QueryEscape(root), 1)
		return sourceOf(t, strings.Replace(dsn, "127.0.0.1", host, 1))
	}
	check := func(name string, source Source, text string, is func(error) bool) {
		t.Helper()
		var err error
		eventually(t, name, func() bool { // the server may still show the certificate that it had before
			_, err = Open(within(t), source, quick())
			return err != nil && is(err)
		})
		if Transient(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	root := withTLS(t, d, tomorrow())
	other := filepath.Join(t.TempDir(), "other.crt")
	if err := os.WriteFile(other, selfSigned(t), 0o600); err != nil {
		t.Fatal(err)
	}
	check("of an unknown authority", strict("127.0.0.1", other), "unknown authority", func(err error) bool {
		_, ok := asType[x509.UnknownAuthorityError](err)
		return ok
	})
	check("for another host", strict("localhost", root), "localhost", func(err error) bool {
		_, ok := asType[x509.HostnameError](err)
		return ok
	})
	expired := withTLS(t, d, time.Now().Add(-time.Hour))
	check("expired", strict("127.0.0.1", expired), "expired", func(err error) bool {
		invalid, ok := asType[x509.CertificateInvalidError](err)
		return ok && invalid.Reason == x509.Expired
	})
}
