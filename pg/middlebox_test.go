package pg

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/internal/forward"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// signal sends a signal to one backend of a test's server.
func signal(t testing.TB, pid uint32, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(int(pid), sig); err != nil {
		t.Fatal(err)
	}
}

// middlebox stands between a test's sessions and a server. It goes with the test.
type middlebox struct{ *forward.Forwarder }

func newMiddlebox(t testing.TB, network, target string) middlebox {
	t.Helper()
	f, err := forward.Start(t.Context(), "127.0.0.1:0", network, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return middlebox{f}
}

// through is the DSN of a server by way of the middlebox.
func (m middlebox) through(t testing.TB, tcpDSN string) string {
	t.Helper()
	u, err := url.Parse(tcpDSN)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = m.Addr()
	return u.String()
}

// newSocketMiddlebox leads to the server's unix socket, where no password is asked for: that takes long under the race
// detector.
func newSocketMiddlebox(t testing.TB, d database) (m middlebox, dsn string) {
	t.Helper()
	m = newMiddlebox(t, "unix", filepath.Join(d.SocketDir(), ".s.PGSQL."+strconv.Itoa(d.Port())))
	return m, m.through(t, fmt.Sprintf("postgres://%s@host/%s?sslmode=disable", pgserver.Superuser, d.name))
}
