//go:build unix

package child

import (
	"errors"
	"fmt"
	"io"
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
	if err := Serve(methods{}, os.Stdin, os.Stdout, func() { os.Exit(0) }); err != nil {
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

const bound = time.Minute

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
	if err := p.Call("Double", 21, &answer, bound); err != nil || answer != 42 {
		t.Errorf("%d, %v", answer, err)
	}
	if err := p.Call("Refuse", "", nil, bound); err == nil || err.Error() != "process 7: no" {
		t.Errorf("%v", err)
	}
	if err := p.Call("Hang", struct{}{}, nil, time.Millisecond); err == nil || !strings.Contains(err.Error(), `process 7 did not answer "Hang"`) {
		t.Errorf("%v", err)
	}
	p.End(bound) // the hanging call does not keep it
	if state := p.Cmd.ProcessState; !state.Success() {
		t.Errorf("it ended with %v", state)
	}
}

func TestAProcessThatCrashesSaysWhy(t *testing.T) {
	err := start(t).Call("Crash", "", nil, bound)
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

func TestServeEndsWithItsInput(t *testing.T) {
	in, parent := io.Pipe()
	orphaned := make(chan struct{}, 9)
	done := make(chan error, 1)
	go func() { done <- Serve(methods{}, in, io.Discard, func() { orphaned <- struct{}{} }) }()
	parent.Close()
	<-orphaned
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTailKeepsTheBeginningAndTheEnd(t *testing.T) {
	var kept tail
	_, _ = kept.Write([]byte("first words\n"))
	for range 1000 {
		_, _ = kept.Write([]byte(strings.Repeat("x", 100)))
	}
	_, _ = kept.Write([]byte("\nlast words"))
	text := kept.String()
	if !strings.HasPrefix(text, "first words") || !strings.HasSuffix(text, "last words") || len(text) > 3*tailSize {
		t.Errorf("kept %d bytes: %.20q ... %q", len(text), text, text[len(text)-20:])
	}
}
