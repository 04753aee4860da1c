//go:build unix

package pgserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestCloseLeavesNothing(t *testing.T) {
	current := goleak.IgnoreCurrent()
	states := map[string]func(*pgserver.Server) error{
		"running":  func(*pgserver.Server) error { return nil },
		"hung":     func(s *pgserver.Server) error { return s.SignalAll(syscall.SIGSTOP) },
		"beheaded": func(s *pgserver.Server) error { return s.Signal(syscall.SIGKILL) },
	}
	if os.Getenv("LOCKKEEPER_STRESS") != "" { // each starts a server: the three that differ most are enough for every day
		states["stopped"] = func(s *pgserver.Server) error { return s.Stop(context.Background()) }
		states["killed"] = func(s *pgserver.Server) error { return s.SignalAll(syscall.SIGKILL) }
		states["hung and headless"] = func(s *pgserver.Server) error {
			return errors.Join(s.SignalAll(syscall.SIGSTOP), s.Signal(syscall.SIGKILL))
		}
	}
	for name, before := range states {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := pgtest.New(t, pgserver.Options{Log: &log})
			folder := filepath.Dir(s.DataDir())
			segment := sharedMemoryID(t, s)
			goleak.VerifyNone(t, current) // a running server costs the process no goroutine
			if err := before(s); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			requireGone(t, folder)
			if sharedMemoryExists(t, segment) {
				t.Errorf("shared memory segment %s is left", segment)
			}
			if !strings.Contains(log.String(), "ready to accept connections") {
				t.Errorf("log = %q", log.String())
			}
			if err := s.Start(testContext(t)); !errors.Is(err, pgserver.ErrClosed) {
				t.Errorf("start after close: %v", err)
			}
		})
	}
}

// sharedMemoryID reads the id of the server's System V segment from its pid file.
func sharedMemoryID(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.DataDir(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(strings.Split(string(raw), "\n")[6])
	return fields[len(fields)-1]
}

func sharedMemoryExists(t *testing.T, id string) bool {
	t.Helper()
	raw, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Skip("this check needs /proc/sysvipc")
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == id {
			return true
		}
	}
	return false
}

func TestCloseCutsAStopShort(t *testing.T) {
	s := pgtest.New(t, pgserver.Options{})
	ctx := testContext(t)
	busy := make(chan error, 1)
	go func() {
		_, err := s.Exec(ctx, "SELECT pg_sleep(1000)")
		busy <- err
	}()
	eventually(t, func() bool {
		return one(t, s, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'") == "1"
	})
	stopped := make(chan error, 1)
	go func() { stopped <- s.StopMode(ctx, pgserver.Smart) }() // waits for the sleeper
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil {
		t.Error("stop:", err)
	}
	if err := <-busy; err == nil {
		t.Error("the sleeper slept through it")
	}
}

const abandonArg = "start-a-server-and-be-killed"

// abandon is the body of the child process below: it starts a server, says where, and waits to be killed.
func abandon() {
	s, err := pgserver.Start(context.Background(), pgserver.Options{})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(filepath.Dir(s.DataDir()))
	select {}
}

func TestTheWatchdogCleansUpAfterKill9(t *testing.T) {
	pgtest.Shared(t) // skips without binaries
	child := exec.Command(os.Args[0], abandonArg)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	folder := strings.TrimSpace(string(line[:n]))
	if err != nil || !filepath.IsAbs(folder) {
		t.Fatalf("the child said %q, %v", folder, err)
	}
	if len(serverProcesses(t, folder)) == 0 {
		t.Fatal("the child's server does not run")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	eventually(t, func() bool {
		_, err := os.Stat(folder)
		return errors.Is(err, os.ErrNotExist) && len(serverProcesses(t, folder)) == 0
	})
	requireGone(t, folder)
}
