package systems

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

// errNoRedis is returned when this machine has no redis-server.
var errNoRedis = errors.New("redis-server is not installed: apt-get install redis-server")

// startRedis starts a throwaway Redis on a free loopback port and on a unix socket, without persistence, which is its best case.
// It ends with this process where the system allows.
func startRedis(ctx context.Context) (*harness.Instance, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRedis, err)
	}
	text, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("redis-server --version: %w", err)
	}
	version := "of unknown version"
	for word := range strings.FieldsSeq(string(text)) { // Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64
		if v, ok := strings.CutPrefix(word, "v="); ok {
			version = v
		}
	}
	const attempts = 5
	var failures []error
	for range attempts { // another process may take the port between our look and the server's
		s, err := startRedisOnce(ctx, binary)
		if err == nil {
			s.Version = "Redis " + version
			return s, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("redis-server does not start: %w", errors.Join(failures...))
}

func startRedisOnce(ctx context.Context, binary string) (*harness.Instance, error) {
	free, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = free.Close()
	dir, err := os.MkdirTemp("", "lkredis")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "--bind", "127.0.0.1", "--port", port,
		"--unixsocket", socket, "--unixsocketperm", "700", "--dir", dir, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--maxclients", "10000")
	cmd.SysProcAttr = endWithParent()
	p, err := startProcess(ctx, cmd, func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		return nil
	}, func(ctx context.Context) error { return askRedis(ctx, socket, "PING", "+PONG") })
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &harness.Instance{PID: cmd.Process.Pid, Address: socket, TCP: address,
		Env: func(through string) harness.Env { return harness.Env{RedisAddr: cmp.Or(through, socket)} },
		// Tidy removes all keys, and with them what clients that were killed have left.
		Tidy:  func(ctx context.Context) error { return askRedis(ctx, socket, "FLUSHALL", "+OK") },
		Close: func() error { return errors.Join(p.close(), os.RemoveAll(dir)) },
	}, nil
}

// askRedis sends a command and wants an answer. It goes by the socket in our own folder: on the port another server could
// answer.
func askRedis(ctx context.Context, socket, command, want string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if line = strings.TrimSpace(line); err == nil && line != want {
		err = fmt.Errorf("redis says %q", line)
	}
	return err
}
