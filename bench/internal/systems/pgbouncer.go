//go:build !baseline

package systems

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// The aliases of one database at one PgBouncer, and so the modes.
const (
	inSession     = "session"
	inTransaction = "transaction"
)

// poolers are the systems behind a PgBouncer: the same library in both modes of the same PgBouncer. Commits before the option for transaction
// mode have none: the tag keeps this file out of a baseline's program.
func poolers() []harness.System {
	bouncer := &harness.Server{Name: "PgBouncer", Start: startPgBouncer}
	scenarios := []string{"lone", "distinct-10", "distinct-100", "distinct-1000"}
	return []harness.System{
		{Name: "pgbouncer-session", Server: bouncer, Scenarios: scenarios, Open: func(ctx context.Context, e harness.Env) (harness.Client, error) {
			return openManager(ctx, e, manager.WithDatabase(pgserver.Database))
		}},
		{Name: "pgbouncer-transaction", Server: bouncer, Scenarios: scenarios, Open: func(ctx context.Context, e harness.Env) (harness.Client, error) {
			e.PostgresDSN = strings.Replace(e.PostgresDSN, "/"+inSession+"?", "/"+inTransaction+"?", 1)
			return openManager(ctx, e, manager.WithDatabase(pgserver.Database), manager.WithTransactionPooler())
		}},
	}
}

// startPgBouncer starts a PostgreSQL and a PgBouncer before it. The server's CPU is PostgreSQL's alone.
func startPgBouncer(ctx context.Context) (*harness.Instance, error) {
	program, err := pgserver.FindPgBouncer()
	if err != nil {
		return nil, err
	}
	server, s, err := startPostgresServer(ctx)
	if err != nil {
		return nil, err
	}
	p, err := startPgBouncerBefore(ctx, program, server, s)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("PgBouncer does not start: %w", err), s.Close())
	}
	return p, nil
}

func startPgBouncerBefore(ctx context.Context, program string, server *pgserver.Server, s *harness.Instance) (_ *harness.Instance, err error) {
	folder, err := os.MkdirTemp("", "lkbouncer")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	free, err := pgserver.FreePort(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(free)
	tcp := net.JoinHostPort("127.0.0.1", port)
	to := fmt.Sprintf("host=%s port=%d user=%s dbname=%s", server.SocketDir(), server.Port(), pgserver.Superuser, pgserver.Database)
	ini, socket := filepath.Join(folder, "ini"), filepath.Join(folder, ".s.PGSQL."+port)
	text := fmt.Sprintf("[databases]\n%s = %s pool_mode=session\n%s = %s pool_mode=transaction\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"+
		"listen_port = %s\nunix_socket_dir = %s\nauth_type = any\ndefault_pool_size = 60\n", inSession, to, inTransaction, to, port, folder)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "-q", ini)
	cmd.Dir = folder
	cmd.SysProcAttr = endWithParent()
	if err := errors.Join(os.WriteFile(ini, []byte(text), 0o600), pgserver.RunAsOwner(cmd, server.DataDir(), folder, ini)); err != nil {
		return nil, err
	}
	p, err := startProcess(ctx, cmd, func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		return nil
	}, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	version, _ := exec.CommandContext(ctx, program, "--version").Output() // for people
	name, _, _ := strings.Cut(string(version), "\n")
	behind := *s
	behind.Version, behind.Address, behind.TCP = name+" before "+s.Version, socket, tcp
	behind.Env = func(through string) harness.Env {
		host, at := folder, port
		if through != "" {
			host, at, _ = net.SplitHostPort(through)
		}
		q := url.Values{"host": {host}, "port": {at}, "sslmode": {"disable"}}
		return harness.Env{PostgresDSN: fmt.Sprintf("postgres://%s@/%s?%s", pgserver.Superuser, inSession, q.Encode())}
	}
	behind.Close = func() error { return errors.Join(p.close(), os.RemoveAll(folder), s.Close()) }
	return &behind, nil
}
