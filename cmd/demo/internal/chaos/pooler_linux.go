package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// poolerRoom is how many server connections a pooler has for each worker process: for its sessions, and those of its killed predecessor.
const poolerRoom = 80

// pooler is a PgBouncer in transaction mode before one server. It ends with its standard input, as the other children do.
type pooler struct {
	cmd     *exec.Cmd
	input   interface{ Close() error }
	folder  string
	address string
}

// startPooler starts one at a port of this host.
func startPooler(ctx context.Context, s *pgserver.Server, host string, processes int) (_ *pooler, err error) {
	program, err := pgserver.FindPgBouncer()
	if err != nil {
		return nil, err
	}
	p := &pooler{}
	if p.folder, err = os.MkdirTemp("", "lockkeeper-pooler-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.address, err = freeAddress(ctx, host); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return nil, err
	}
	// A server that is down, or frozen, is tried again soon.
	ini := fmt.Sprintf(`[databases]
%s = host=%s port=%d user=%s
[pgbouncer]
pool_mode = transaction
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = any
logfile = %s
max_client_conn = %d
default_pool_size = %d
server_login_retry = 1
server_connect_timeout = 2
`, pgserver.Database, s.SocketDir(), s.Port(), pgserver.Superuser, host, port, filepath.Join(p.folder, "log"), 20*poolerRoom*processes,
		poolerRoom*processes)
	file := filepath.Join(p.folder, "ini")
	if err = os.WriteFile(file, []byte(ini), 0o600); err != nil {
		return nil, err
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", `"$0" -q "$1" & read -r end; kill $!; wait`, program, file)
	p.cmd.Dir = p.folder
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err = pgserver.RunAsOwner(p.cmd, s.DataDir(), p.folder, file); err != nil {
		return nil, err
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err = p.cmd.Start(); err != nil {
		return nil, err
	}
	err = until(ctx, func() bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
		return err == nil && conn.Close() == nil
	})
	if err != nil {
		err = fmt.Errorf("PgBouncer does not accept connections at port %s: %w", port, err)
	}
	return p, err
}

// freeAddress is an address of a host that nobody listens at.
func freeAddress(ctx context.Context, host string) (string, error) {
	port, err := pgserver.FreePort(ctx, host)
	return net.JoinHostPort(host, strconv.Itoa(port)), err
}

// close ends it and returns when it has ended.
func (p *pooler) close() {
	if p.input != nil {
		_ = p.input.Close()
		_ = p.cmd.Wait()
	}
	_ = os.RemoveAll(p.folder)
}

// startPoolers puts a pooler before each server, where the plan says so.
func (s *stage) startPoolers(ctx context.Context) error {
	if s.plan.Pooler == "" {
		return nil
	}
	for _, server := range []*pgserver.Server{s.first, s.second} {
		p, err := startPooler(ctx, server, s.host(), s.plan.Processes)
		if err != nil {
			return fmt.Errorf("starting a pooler: %w", err)
		}
		s.poolers = append(s.poolers, p)
	}
	return nil
}

// targets are the addresses of the servers, and behind them those of the poolers before them.
func (s *stage) targets(host string) []string {
	all := []string{
		net.JoinHostPort(host, strconv.Itoa(s.first.Port())), net.JoinHostPort(host, strconv.Itoa(s.second.Port())),
	}
	for _, p := range s.poolers {
		all = append(all, p.address)
	}
	return all
}
