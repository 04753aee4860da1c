package etcdserver

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// The test binary stands in for the program: what is tested here is how a server is started and ended, not etcd.
const childVariable = "LOCKKEEPER_BENCH_TEST_ETCD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "good":
		fmt.Println("127.0.0.1:2379 9.9.9")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "bad":
		fmt.Fprintln(os.Stderr, "no room")
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func child(ctx context.Context, part string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+part)
	return cmd
}

func TestAServerSaysWhereItIsAndEnds(t *testing.T) {
	s, err := start(t.Context(), child(context.WithoutCancel(t.Context()), "good"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr() != "127.0.0.1:2379" || s.Version() != "9.9.9" || s.Pid() == 0 {
		t.Errorf("%q %q %d", s.Addr(), s.Version(), s.Pid())
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	<-s.done
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	s, err := start(t.Context(), child(context.WithoutCancel(t.Context()), "bad"))
	if err == nil {
		t.Fatal("it started: ", s.Close())
	}
	if !strings.Contains(err.Error(), "no room") {
		t.Error(err)
	}
}
