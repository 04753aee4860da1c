package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os/exec"
	"strings"
	"time"
)

// process is one worker process.
type process struct {
	number int
	cmd    *exec.Cmd
	client *rpc.Client
	stderr bytes.Buffer  // readable after exited
	exited chan struct{} // closed after the process was waited for
}

// spawn starts a process, and a goroutine that ends with it.
func spawn(number int, cmd *exec.Cmd) (*process, error) {
	p := &process{number: number, cmd: cmd, exited: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = &p.stderr
	// The wait for the end of stderr is bounded: a grandchild could keep it open.
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting worker process %d: %w", number, err)
	}
	p.client = jsonrpc.NewClient(pipes{stdout, stdin})
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // cmd.ProcessState has its outcome
	}()
	return p, nil
}

// pipes are a process's; to close them is to let it go.
type pipes struct {
	io.Reader
	io.WriteCloser
}

// end lets the process go, kills it where it does not go within the bound, and returns when it has.
func (p *process) end(bound time.Duration) {
	_ = p.client.Close()
	select {
	case <-p.exited:
	case <-time.After(bound):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// failure is a call's error as the user should read it: what the process answered, or how it ended without an answer.
func (p *process) failure(err error) error {
	if answer, ok := errors.AsType[rpc.ServerError](err); ok {
		return fmt.Errorf("worker process %d: %w", p.number, answer)
	}
	p.end(exitBound)
	err = fmt.Errorf("worker process %d ended early: %v", p.number, p.cmd.ProcessState)
	if said := ends(p.stderr.String()); said != "" {
		err = fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return err
}

// ends are the end of a text and its beginning, where the cause of a crash stands.
func ends(text string) string {
	const size = 16 << 10
	if len(text) > 2*size {
		text = text[:size] + "\n...\n" + text[len(text)-size:]
	}
	return strings.TrimSpace(text)
}
