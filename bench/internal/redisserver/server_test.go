package redisserver

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startTest(t *testing.T) *Server {
	t.Helper()
	s, err := Start(t.Context())
	if errors.Is(err, ErrNoBinary) && os.Getenv("CI") != "true" {
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
	a, b := startTest(t), startTest(t)
	if got := ask(t, "tcp", a.Addr(), "SET k 1"); got != "+OK" {
		t.Errorf("SET: %q", got)
	}
	if got := ask(t, "unix", a.Socket(), "GET k"); got != "1" {
		t.Errorf("the same server by its socket: %q", got)
	}
	if got := ask(t, "tcp", b.Addr(), "EXISTS k"); got != ":0" {
		t.Errorf("the other server: %q", got)
	}
	if a.Version() == "" || strings.ContainsAny(a.Version(), "= ") {
		t.Errorf("its version is %q", a.Version())
	}
	if err := a.Tidy(t.Context()); err != nil {
		t.Error(err)
	}
	if got := ask(t, "tcp", a.Addr(), "EXISTS k"); got != ":0" {
		t.Errorf("after tidying: %q", got)
	}
	dir, pid := a.dir, a.Pid()
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
	if got := ask(t, "tcp", b.Addr(), "PING"); got != "+PONG" {
		t.Errorf("the other server after that: %q", got)
	}
}
