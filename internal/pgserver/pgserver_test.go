//go:build unix

package pgserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == abandonArg {
		abandon()
	}
	os.Exit(pgtest.Run(m))
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually looks again and again until the condition holds, and fails the test where that takes minutes.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatal("the condition did not come true")
		case <-tick.C:
		}
	}
}

func one(t *testing.T, s *pgserver.Server, sql string) string {
	t.Helper()
	rows, err := s.Exec(testContext(t), sql)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s returned %v", sql, rows)
	}
	return rows[0][0]
}

// serverProcesses lists the processes whose command line names the folder.
func serverProcesses(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Skip("this check needs /proc")
	}
	var found []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err == nil && bytes.Contains(raw, []byte(folder)) {
			found = append(found, string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func requireGone(t *testing.T, folder string) {
	t.Helper()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", folder, err)
	}
	if left := serverProcesses(t, folder); len(left) > 0 {
		t.Errorf("processes left: %q", left)
	}
}

func TestStartGivesAServer(t *testing.T) {
	s := pgtest.Shared(t)
	if got := one(t, s, "SELECT current_user || '/' || current_database()"); got != "lockkeeper/lockkeeper" {
		t.Errorf("user/database = %s", got)
	}
	if got := one(t, s, "SHOW server_version"); !strings.HasPrefix(got, s.Version()) {
		t.Errorf("server_version = %s, Version = %s", got, s.Version())
	}
	for setting, want := range map[string]string{
		"fsync": "off", "synchronous_commit": "on", "max_connections": "300", "server_encoding": "UTF8",
		"data_directory": s.DataDir(), "port": fmt.Sprint(s.Port()),
	} {
		if got := one(t, s, "SHOW "+setting); got != want {
			t.Errorf("%s = %s, want %s", setting, got, want)
		}
	}
	if pid := s.PID(); pid == 0 || syscall.Kill(pid, 0) != nil {
		t.Errorf("PID = %d", pid)
	}
	if info, err := os.Stat(s.SocketDir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the passwordless socket: %v, %v", info.Mode(), err)
	}
}

// What the server shares outside its folder would stay until the machine is booted, were the server killed.
func TestNothingIsSharedOutsideTheFolder(t *testing.T) {
	s := pgtest.Shared(t)
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what a process shares")
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", s.PID()))
	if err != nil || !bytes.Contains(maps, []byte(s.DataDir()+"/pg_dynshmem/")) {
		t.Errorf("%v, nothing shared in the folder:\n%s", err, maps)
	}
	if bytes.Contains(maps, []byte("/PostgreSQL.")) {
		t.Errorf("a segment of the system's:\n%s", maps)
	}
}

func TestDSNsNameTheServer(t *testing.T) {
	s := pgtest.Shared(t)
	u, err := url.Parse(s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s.DSN(), s.Password()) {
		t.Error("the socket's DSN holds the password")
	}
	if _, err := os.Stat(fmt.Sprintf("%s/.s.PGSQL.%s", u.Query().Get("host"), u.Query().Get("port"))); err != nil {
		t.Error(err)
	}
	u, err = url.Parse(s.TCPDSN())
	if err != nil {
		t.Fatal(err)
	}
	if pw, _ := u.User.Password(); pw != s.Password() || pw == "" {
		t.Errorf("the TCP DSN's password is %q", pw)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestTCPAsksForAPassword speaks the first two messages by hand: the answer must be SASL (10), not OK (0).
func TestTCPAsksForAPassword(t *testing.T) {
	s := pgtest.Shared(t)
	conn, err := net.Dial("tcp", s.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := "\x00\x03\x00\x00user\x00lockkeeper\x00\x00"
	if _, err := conn.Write(append([]byte{0, 0, 0, byte(4 + len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 9)
	if _, err := conn.Read(answer); err != nil {
		t.Fatal(err)
	}
	if answer[0] != 'R' || answer[8] != 10 {
		t.Errorf("answer %q, want a request for SASL", answer)
	}
}

func TestExecReportsTheServersError(t *testing.T) {
	s := pgtest.Shared(t)
	_, err := s.Exec(testContext(t), "SELECT 1/0")
	if err == nil || !strings.Contains(err.Error(), "22012") {
		t.Errorf("error = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Exec(ctx, "SELECT pg_sleep(100)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the context's", err)
	}
}

func TestNewDatabaseIsEmptyAndOwn(t *testing.T) {
	s, a := pgtest.NewDatabase(t)
	_, b := pgtest.NewDatabase(t)
	if a == b {
		t.Fatalf("both are %s", a)
	}
	if got := one(t, s, fmt.Sprintf("SELECT count(*) FROM pg_database WHERE datname IN ('%s', '%s')", a, b)); got != "2" {
		t.Errorf("%s databases", got)
	}
}

func TestAFailedStartTellsWhyAndLeavesNothing(t *testing.T) {
	tmp := pgtest.Folder(t)
	t.Run("bad setting", func(t *testing.T) {
		_, err := pgserver.Start(testContext(t), pgserver.Options{TempDir: tmp, Settings: map[string]string{"no_such_setting": "1"}})
		if errors.Is(err, pgserver.ErrNoBinaries) {
			t.Skip(err)
		}
		if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("context ended before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := pgserver.Start(ctx, pgserver.Options{TempDir: tmp}); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
	})
	for _, within := range []time.Duration{20, 100, 300, 600, 900} {
		t.Run(fmt.Sprintf("context ends after %d ms", within), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), within*time.Millisecond)
			defer cancel()
			s, err := pgserver.Start(ctx, pgserver.Options{TempDir: tmp})
			if err == nil {
				err = s.Close()
				if err != nil {
					t.Error(err)
				}
				return // a fast machine
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v", err)
			}
		})
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if left := serverProcesses(t, tmp); len(left) > 0 {
		t.Errorf("processes left: %q", left)
	}
}
