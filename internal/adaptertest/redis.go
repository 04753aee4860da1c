package adaptertest

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// runUntilInputEnds starts a program and ends it when the standard input ends: when the test says so, or when its process is
// gone, however that went.
const runUntilInputEnds = `"$@" & pid=$!; read -r line; kill "$pid"; wait "$pid"`

// Redis starts a Redis of the test's own on a free loopback port, without persistence, and returns its address. The test is
// skipped where this machine has no redis-server, and fails where CI=true.
func Redis(tb testing.TB) (address string) {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	switch {
	case err != nil && os.Getenv("CI") != "true":
		tb.Skip("this test needs redis-server: ", err)
	case err != nil:
		tb.Fatal(err)
	}
	free, err := pgserver.FreePort(tb.Context(), "127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	port := strconv.Itoa(free)
	address = net.JoinHostPort("127.0.0.1", port)
	cmd := exec.Command( //nolint:noctx // it ends with the test, by its input
		"/bin/sh", "-c", runUntilInputEnds, "redis", binary, "--bind", "127.0.0.1", "--port", port,
		"--dir", tb.TempDir(), "--save", "", "--appendonly", "no", "--daemonize", "no")
	output := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = output, output
	input, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = input.Close()
		_ = cmd.Wait() // its status is that of the signal
	})

	ctx, cancel := context.WithTimeout(tb.Context(), closeTimeout)
	defer cancel()
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for !answers(ctx, address) {
		select {
		case <-ctx.Done():
			tb.Fatal("redis-server does not answer: ", ctx.Err())
		case <-pause.C:
		}
	}
	return address
}

// answers reports whether a Redis says PONG.
func answers(ctx context.Context, address string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && strings.TrimSpace(line) == "+PONG"
}
