// Package child starts processes of this program that serve calls. A call is one of net/rpc, as JSON over the child's
// standard input and output. A child ends with its standard input, so that it does not outlive its parent.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"strings"
	"time"
)

// service is the name under which a child's methods are called.
const service = "Child"

// Process is a child process, as its parent sees it.
type Process struct {
	Cmd    *exec.Cmd
	Exited chan struct{} // closed when the process has ended
	Name   string        // for error messages
	client *rpc.Client
	stderr bytes.Buffer // read after Exited
}

// Start starts a process.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, Exited: make(chan struct{}), Name: name}
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
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.client = jsonrpc.NewClient(parentEnd{stdout, stdin})
	go func() {
		defer close(p.Exited)
		_ = cmd.Wait() // cmd.ProcessState has its outcome
	}()
	return p, nil
}

// parentEnd joins the pipes of a child. Close lets the child end.
type parentEnd struct {
	io.Reader
	io.WriteCloser
}

// Call calls a method and waits for its answer. If the context ends first the error is its cause.
func (p *Process) Call(ctx context.Context, method string, arguments, answer any) error {
	call := p.client.Go(service+"."+method, arguments, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return p.failure(call.Error)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

const exitBound = 5 * time.Second

// failure says what the process answered, or how it ended without an answer.
func (p *Process) failure(err error) error {
	if answer, ok := errors.AsType[rpc.ServerError](err); ok {
		return fmt.Errorf("%s: %w", p.Name, answer)
	}
	p.End(exitBound)
	return p.Early()
}

// Early describes the end of a process that should not have ended. It is called after that.
func (p *Process) Early() error {
	err := fmt.Errorf("%s ended early: %v", p.Name, p.Cmd.ProcessState)
	if said := ends(p.stderr.String()); said != "" {
		err = fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return err
}

// ends returns the beginning of a text, which has the cause of a crash, and its end.
func ends(text string) string {
	const size = 16 << 10
	if len(text) > 2*size {
		text = text[:size] + "\n...\n" + text[len(text)-size:]
	}
	return strings.TrimSpace(text)
}

// End lets the process end, kills it after the bound, and returns when it has ended.
func (p *Process) End(bound time.Duration) {
	_ = p.client.Close()
	select {
	case <-p.Exited:
	case <-time.After(bound):
		_ = p.Cmd.Process.Kill()
		<-p.Exited
	}
}

// Serve serves the exported methods of a value, one call after another. The process ends when in does, during a call too.
func Serve(methods any, in io.Reader, out io.Writer) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, methods); err != nil {
		return err
	}
	lines, copied := io.Pipe()
	go func() {
		_, _ = io.Copy(copied, in)
		os.Exit(0)
	}()
	codec := jsonrpc.NewServerCodec(struct {
		*io.PipeReader
		io.Writer
	}{lines, out})
	for {
		if err := server.ServeRequest(codec); err != nil {
			return err
		}
	}
}
