//go:build unix

package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// variable makes this binary a child.
const variable = "LOCKKEEPER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(variable) == "" {
		os.Exit(m.Run())
	}
	if err := Serve(methods{}, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

type methods struct{}

func (methods) Double(n int, answer *int) error {
	*answer = 2 * n
	return nil
}

func (methods) Refuse(string, *struct{}) error { return errors.New("no") }

func (methods) Crash(string, *struct{}) error { panic("at the disco") }

func (methods) Hang(struct{}, *struct{}) error { select {} }

func start(t *testing.T) *Process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"=1")
	p, err := Start("process 7", cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.End(0) })
	return p
}

func TestCalls(t *testing.T) {
	p := start(t)
	var answer int
	if err := p.Call(t.Context(), "Double", 21, &answer); err != nil || answer != 42 {
		t.Errorf("%d, %v", answer, err)
	}
	if err := p.Call(t.Context(), "Refuse", "", nil); err == nil || err.Error() != "process 7: no" {
		t.Errorf("%v", err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, why)
	defer cancel()
	if err := p.Call(ctx, "Hang", struct{}{}, nil); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	p.End(time.Minute) // the hanging call does not keep it
	if state := p.Cmd.ProcessState; !state.Success() {
		t.Errorf("it ended with %v", state)
	}
}

func TestAProcessThatCrashesSaysWhy(t *testing.T) {
	err := start(t).Call(t.Context(), "Crash", "", nil)
	if err == nil || !strings.Contains(err.Error(), "process 7 ended early: exit status 2") || !strings.Contains(err.Error(), "at the disco") {
		t.Errorf("%v", err)
	}
}

func TestAProcessThatDoesNotGoIsKilled(t *testing.T) {
	p, err := Start("a script", exec.Command("/bin/sh", "-c", "while true; do sleep 0.1; done"))
	if err != nil {
		t.Fatal(err)
	}
	p.End(time.Millisecond)
	if p.Cmd.ProcessState == nil {
		t.Error("it still runs")
	}
}

func TestEndsAreTheBeginningAndTheEnd(t *testing.T) {
	text := ends("first words\n" + strings.Repeat("x", 100_000) + "\nlast words\n")
	if !strings.HasPrefix(text, "first words") || !strings.HasSuffix(text, "last words") || len(text) > 40_000 {
		t.Errorf("kept %d bytes: %.20q ... %q", len(text), text, text[len(text)-20:])
	}
	if got := ends("short\n"); got != "short" {
		t.Errorf("kept %q", got)
	}
}
