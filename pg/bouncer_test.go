package pg

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// startBouncer puts a PgBouncer before a test's database and returns its DSN. It goes with the test. Like the server it
// refuses to be root, and it needs the server's own user to reach the server's socket.
func startBouncer(t *testing.T, d database, settings map[string]string) (dsn string) {
	t.Helper()
	path, err := pgserver.FindPgBouncer()
	switch {
	case errors.Is(err, pgserver.ErrNoPgBouncer) && os.Getenv("CI") != "true":
		t.Skip("this test needs PgBouncer: ", err)
	case err != nil:
		t.Fatal(err)
	}
	owner := ownerOf(t, d.DataDir())
	folder, err := os.MkdirTemp("", "bouncer") // t.TempDir is closed to the other user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := errors.Join(os.Chown(folder, owner[0], owner[1]), os.Chmod(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	var ini strings.Builder
	fmt.Fprintf(&ini, "[databases]\n%s = host=%s port=%d user=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\n"+
		"unix_socket_dir =\nauth_type = any\nmax_client_conn = 200\ndefault_pool_size = 12\nlogfile = %s\n",
		d.name, d.SocketDir(), d.Port(), pgserver.Superuser, port, filepath.Join(folder, "log"))
	for name, value := range settings {
		fmt.Fprintf(&ini, "%s = %s\n", name, value)
	}
	writeAs(t, owner, filepath.Join(folder, "ini"), []byte(ini.String()))
	cmd := exec.Command(path, "-q", filepath.Join(folder, "ini"))
	cmd.Dir = folder
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(owner[0]), Gid: uint32(owner[1])}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // at once: this is PgBouncer's immediate shutdown
		_ = cmd.Wait()
	})
	dsn = fmt.Sprintf("postgres://%s@127.0.0.1:%s/%s?sslmode=disable", pgserver.Superuser, port, d.name)
	eventually(t, "PgBouncer accepts connections", func() bool {
		conn, err := pgconn.Connect(within(t), dsn)
		if err != nil {
			return false
		}
		closeConn(conn, patience)
		return true
	})
	return dsn
}
