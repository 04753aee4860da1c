// Package child starts processes of this program that serve calls. A call is one of net/rpc, as JSON over the child's
// standard input and output. A child ends with its standard input, so that it does not outlive its parent.
package child

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// service is the name under which a child's methods are called.
const service = "Child"

// Process is a child process, as its parent sees it.
type Process struct {
	Cmd    *exec.Cmd
	Exited chan struct{} // closed when the process has ended
	name   string        // for error messages
	client *rpc.Client
	stderr tail
}

// Start starts a process.
func Start(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, Exited: make(chan struct{}), name: name}
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
	ownGroup(cmd)
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

// Call calls a method and waits for its answer until the bound.
func (p *Process) Call(method string, arguments, answer any, bound time.Duration) error {
	call := p.client.Go(service+"."+method, arguments, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return p.failure(call.Error)
		}
		return nil
	case <-time.After(bound):
		return fmt.Errorf("%s did not answer %q within %v", p.name, method, bound)
	}
}

const exitBound = 5 * time.Second

// failure says what the process answered, or how it ended without an answer.
func (p *Process) failure(err error) error {
	if answer, ok := errors.AsType[rpc.ServerError](err); ok {
		return fmt.Errorf("%s: %w", p.name, answer)
	}
	p.End(exitBound)
	return p.Early()
}

// Early describes the end of a process that should not have ended. It is called after that.
func (p *Process) Early() error {
	err := fmt.Errorf("%s ended early: %v", p.name, p.Cmd.ProcessState)
	if said := p.stderr.String(); said != "" {
		err = fmt.Errorf("%w; it said:\n%s", err, said)
	}
	return err
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

// tail keeps the end of what is written to it, and the beginning, which has the cause of a crash.
type tail struct {
	mu         sync.Mutex
	head, last []byte
}

const tailSize = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := min(tailSize-len(t.head), len(b))
	t.head = append(t.head, b[:first]...)
	t.last = append(t.last, b[first:]...)
	t.last = t.last[max(0, len(t.last)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := string(t.head)
	if len(t.last) > 0 {
		text += "\n...\n" + string(t.last)
	}
	return strings.TrimSpace(text)
}

// Serve serves the exported methods of a value. When in ends it calls orphaned, whatever the methods are doing, and
// returns.
func Serve(methods any, in io.Reader, out io.Writer, orphaned func()) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, methods); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(childEnd{in, out, orphaned}))
	return nil
}

type childEnd struct {
	io.Reader
	io.Writer
	orphaned func()
}

func (c childEnd) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err != nil {
		c.orphaned()
	}
	return n, err
}

func (c childEnd) Close() error { return nil }
