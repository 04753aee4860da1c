package pg

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// withTLS makes the shared server speak TLS for as long as the test lasts, and returns its certificate's file.
func withTLS(t *testing.T, d database, expires time.Time) (certFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test's server"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: expires, IsCA: true,
		BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"test.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		"test.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: rawKey}),
	}
	for name, content := range files {
		writeAs(t, ownerOf(t, d.DataDir()), filepath.Join(d.DataDir(), name), content)
	}
	certFile = filepath.Join(t.TempDir(), "root.crt")
	if err := os.WriteFile(certFile, files["test.crt"], 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(statements ...string) {
		for _, s := range append(statements, "SELECT pg_reload_conf()") {
			d.exec(t, "%s", s)
		}
	}
	t.Cleanup(func() {
		set("ALTER SYSTEM RESET ssl", "ALTER SYSTEM RESET ssl_cert_file", "ALTER SYSTEM RESET ssl_key_file")
	})
	set("ALTER SYSTEM SET ssl_cert_file = 'test.crt'", "ALTER SYSTEM SET ssl_key_file = 'test.key'", "ALTER SYSTEM SET ssl = on")
	eventually(t, "the server speaks TLS", func() bool { return d.exec(t, "SHOW ssl")[0][0] == "on" })
	return certFile
}

// ownerOf says which user a folder of the server belongs to.
func ownerOf(t *testing.T, path string) (owner [2]int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]int{int(st.Uid), int(st.Gid)}
	}
	return [2]int{os.Getuid(), os.Getgid()}
}

func writeAs(t *testing.T, owner [2]int, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, owner[0], owner[1]); err != nil {
		t.Fatal(err)
	}
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

func TestTLS(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	strict := func(dsn, mode, root string) string {
		return strings.Replace(dsn, "sslmode=disable", "sslmode="+mode+"&sslrootcert="+url.QueryEscape(root), 1)
	}
	if _, err := Open(within(t), sourceOf(t, strict(d.tcpDSN(), "require", "")), quick()); err == nil || Transient(err) ||
		!strings.Contains(err.Error(), "refused TLS") {
		t.Errorf("a server without TLS: %v", err)
	}
	root := withTLS(t, d, tomorrow())
	otherRoot := filepath.Join(t.TempDir(), "other.crt")
	if err := os.WriteFile(otherRoot, selfSigned(t), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(within(t), sourceOf(t, strict(d.tcpDSN(), "verify-full", otherRoot)), quick())
	if err == nil || Transient(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of somebody else's: %v", err)
	}
	box := newMiddlebox(t, "tcp", d.TCPAddr())
	config := quick()
	config.CloseTimeout = 200 * time.Millisecond
	p := openDSN(t, strict(box.through(t, d.tcpDSN()), "verify-full", root), config)
	callers := newCallers(span(1, 300))
	var s Session
	for _, c := range callers {
		c.ask(p)
	}
	for _, c := range callers {
		a := c.await(t)
		if !a.ok {
			t.Fatalf("%+v", a)
		}
		s = a.session
	}
	rows := d.exec(t, "SELECT ssl FROM pg_stat_ssl WHERE pid = %d", s.PID())
	if len(rows) != 1 || rows[0][0] != "t" {
		t.Errorf("the session's TLS: %v", rows)
	}
	// A close does not wait for the farewell of a peer that has fallen silent.
	box.Freeze()
	closePool(t, p)
	for _, c := range callers {
		c.lost(t, CauseClosed)
	}
	box.Thaw()
	d.isEmpty(t)
}

func selfSigned(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "somebody else"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
}
