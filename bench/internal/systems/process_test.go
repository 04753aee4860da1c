package systems

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const childVariable = "LOCKKEEPER_BENCH_TEST_ETCD"

func playEtcd() {
	switch os.Getenv(childVariable) {
	case "good":
		fmt.Println("127.0.0.1:2379 9.9.9")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "bad":
		fmt.Fprintln(os.Stderr, "no room")
		os.Exit(1)
	}
}

func child(ctx context.Context, part string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+part)
	return cmd
}

func TestAServerSaysWhereItIsAndEnds(t *testing.T) {
	s, err := startServing(t.Context(), child(context.WithoutCancel(t.Context()), "good"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Address != "127.0.0.1:2379" || s.Env("").EtcdAddr != s.Address || s.Version != "etcd 9.9.9" {
		t.Errorf("%+v", s)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := syscall.Kill(s.PID, 0); err == nil {
		t.Error("the process is left")
	}
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	s, err := startServing(t.Context(), child(context.WithoutCancel(t.Context()), "bad"))
	if err == nil {
		t.Fatal("it started: ", s.Close())
	}
	if !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
}
