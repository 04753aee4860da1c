package systems

import (
	"bufio"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

func newRedis(t *testing.T) *harness.Instance {
	t.Helper()
	s, err := startRedis(t.Context())
	if errors.Is(err, errNoRedis) && os.Getenv("CI") != "true" {
		t.Skip("this test needs Redis: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ask(t *testing.T, network, addr, command string) string {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(line, "$") {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(line)
}

func TestServersAreApartAndLeaveNothing(t *testing.T) {
	a, b := newRedis(t), newRedis(t)
	if got := ask(t, "tcp", a.TCP, "SET k 1"); got != "+OK" {
		t.Errorf("SET: %q", got)
	}
	if got := ask(t, "unix", a.Address, "GET k"); got != "1" {
		t.Errorf("the same server by its socket: %q", got)
	}
	if got := ask(t, "tcp", b.TCP, "EXISTS k"); got != ":0" {
		t.Errorf("the other server: %q", got)
	}
	if version := strings.TrimPrefix(a.Version, "Redis "); version == "" || strings.ContainsAny(version, "= ") {
		t.Errorf("its version is %q", a.Version)
	}
	if err := a.Tidy(t.Context()); err != nil {
		t.Error(err)
	}
	if got := ask(t, "tcp", a.TCP, "EXISTS k"); got != ":0" {
		t.Errorf("after tidying: %q", got)
	}
	dir, pid := filepath.Dir(a.Address), a.PID
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the process is left")
	}
	if got := ask(t, "tcp", b.TCP, "PING"); got != "+PONG" {
		t.Errorf("the other server after that: %q", got)
	}
}
