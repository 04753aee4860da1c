//go:build unix

package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// Bouncer is a PgBouncer before one database of a server.
type Bouncer struct {
	DSN string

	tb       testing.TB
	folder   string
	owner    [2]int
	fixed    string // the part of its configuration that does not change
	database string
	server   *pgserver.Server // it stands before
	settings map[string]string
	process  *os.Process
}

// NewBouncer starts a PgBouncer with these settings beside the usual ones. It goes with the test, which is skipped where
// there is no PgBouncer, and fails where CI=true. Like the server it refuses to be root, and it needs the server's own
// user to reach the server's socket.
func NewBouncer(tb testing.TB, s *pgserver.Server, database string, settings map[string]string) *Bouncer {
	tb.Helper()
	return NewBouncerAt(tb, s, database, Place{}, settings)
}

// NewBouncerAt is NewBouncer in another place than this machine's own network.
func NewBouncerAt(tb testing.TB, s *pgserver.Server, database string, place Place, settings map[string]string) *Bouncer {
	tb.Helper()
	path, err := pgserver.FindPgBouncer()
	switch {
	case errors.Is(err, pgserver.ErrNoPgBouncer) && os.Getenv("CI") != "true":
		tb.Skip("this test needs PgBouncer: ", err)
	case err != nil:
		tb.Fatal(err)
	}
	b := &Bouncer{tb: tb, owner: ownerOf(tb, s.DataDir())}
	if b.folder, err = os.MkdirTemp("", "bouncer"); err != nil { // the test's own folder is closed to the other user
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(b.folder) })
	if err := errors.Join(os.Chown(b.folder, b.owner[0], b.owner[1]), os.Chmod(b.folder, 0o700)); err != nil {
		tb.Fatal(err)
	}
	port := freePort(tb)
	b.database = database
	b.fixed = fmt.Sprintf("listen_addr = %s\nlisten_port = %s\nunix_socket_dir = %s\nauth_type = any\nmax_client_conn = 200\n"+
		"default_pool_size = 12\nlogfile = %s\n", place.address(), port, b.folder, filepath.Join(b.folder, "log"))
	b.DSN = fmt.Sprintf("postgres://%s@%s:%s/%s?sslmode=disable", pgserver.Superuser, place.address(), port, database)
	b.server, b.settings = s, settings
	b.write()
	b.start(place, path, port)
	return b
}

func (b *Bouncer) start(place Place, path, port string) {
	b.tb.Helper()
	cmd := place.command(b.folder, b.owner, path, "-q", b.ini())
	if err := cmd.Start(); err != nil {
		b.tb.Fatal(err)
	}
	b.process = cmd.Process
	b.tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // at once: this is PgBouncer's immediate shutdown
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for again := time.NewTicker(5 * time.Millisecond); ; {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(b.folder, ".s.PGSQL."+port))
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			b.tb.Fatal("PgBouncer does not accept connections: ", err)
		}
	}
}

// Reload changes the settings of a PgBouncer that runs, as an administrator would.
func (b *Bouncer) Reload(settings map[string]string) {
	b.tb.Helper()
	b.settings = settings
	b.write()
	b.signal(syscall.SIGHUP)
}

// Serve has a PgBouncer that runs stand before another server from here on, as an administrator would after a failover.
func (b *Bouncer) Serve(s *pgserver.Server) {
	b.tb.Helper()
	b.server = s
	b.write()
	b.signal(syscall.SIGHUP)
}

// Kill kills a PgBouncer that runs, as kill -9 does.
func (b *Bouncer) Kill() { b.signal(syscall.SIGKILL) }

// Pause is the administrator's PAUSE, and Resume its end. Neither waits.
func (b *Bouncer) Pause() { b.signal(syscall.SIGUSR1) }

// Resume ends a pause.
func (b *Bouncer) Resume() { b.signal(syscall.SIGUSR2) }

func (b *Bouncer) signal(s syscall.Signal) {
	b.tb.Helper()
	if err := b.process.Signal(s); err != nil {
		b.tb.Fatal(err)
	}
}

// Log is what a PgBouncer has logged.
func (b *Bouncer) Log() string {
	b.tb.Helper()
	text, err := os.ReadFile(filepath.Join(b.folder, "log"))
	if err != nil {
		b.tb.Fatal(err)
	}
	return string(text)
}

func (b *Bouncer) ini() string { return filepath.Join(b.folder, "ini") }

func (b *Bouncer) write() {
	b.tb.Helper()
	var text strings.Builder
	s := b.server
	fmt.Fprintf(&text, "[databases]\n%s = host=%s port=%d user=%s\n* = host=%s port=%d user=%s dbname=%s\n[pgbouncer]\n", b.database,
		s.SocketDir(), s.Port(), pgserver.Superuser, s.SocketDir(), s.Port(), pgserver.Superuser, b.database)
	text.WriteString(b.fixed)
	for name, value := range b.settings {
		fmt.Fprintf(&text, "%s = %s\n", name, value)
	}
	err := errors.Join(os.WriteFile(b.ini(), []byte(text.String()), 0o600), os.Chown(b.ini(), b.owner[0], b.owner[1]))
	if err != nil {
		b.tb.Fatal(err)
	}
}

// ownerOf is the user and the group to whom a file belongs.
func ownerOf(tb testing.TB, path string) [2]int {
	tb.Helper()
	info, err := os.Stat(path)
	if err != nil {
		tb.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		tb.Fatalf("%s has no owner", path)
	}
	return [2]int{int(stat.Uid), int(stat.Gid)}
}
