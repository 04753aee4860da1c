// Package fleet starts the worker processes of a load, gives them their orders and collects what they say.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// message is an event of one process, or its end.
type message struct {
	process int // index
	event   wire.Event
	ended   error // set in the last message, whatever the reason
}

// errEnded is the end of a process that had been told to end.
var errEnded = errors.New("ended")

// process is one worker process. Its fields are the fleet's, but for stderr and the goroutine that reads stdout.
type process struct {
	number int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	orders *json.Encoder
	stderr *tail
	exited chan struct{} // closed by the reader after the process was waited for
}

// spawn starts a process and the goroutine that reads it, which ends after the process has.
func spawn(index int, cmd *exec.Cmd, job wire.Job, messages chan<- message) (*process, error) {
	p := &process{number: job.Process, cmd: cmd, stderr: &tail{}, exited: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = p.stderr
	// The wait for the end of stderr is bounded: a grandchild could keep it open.
	cmd.WaitDelay = 2 * time.Second
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting worker process %d: %w", job.Process, err)
	}
	p.stdin, p.orders = stdin, json.NewEncoder(stdin)
	go p.read(index, stdout, messages)
	if err := p.orders.Encode(job); err != nil {
		p.kill()
		return nil, fmt.Errorf("sending worker process %d its job: %w", job.Process, err)
	}
	return p, nil
}

func (p *process) read(index int, stdout io.Reader, messages chan<- message) {
	defer close(p.exited)
	decoder := json.NewDecoder(stdout)
	for {
		var event wire.Event
		if err := decoder.Decode(&event); err != nil {
			break
		}
		messages <- message{process: index, event: event}
	}
	err := p.cmd.Wait()
	if err == nil {
		err = errEnded
	}
	messages <- message{process: index, ended: err}
}

// order is best effort: a process that cannot be told anything has ended, and its reader says so.
func (p *process) order(do string) { _ = p.orders.Encode(wire.Order{Do: do}) }

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// failure describes an end that nobody asked for, with what the process last said.
func (p *process) failure(err error) error {
	said := p.stderr.String()
	if said == "" {
		return fmt.Errorf("worker process %d ended early: %w", p.number, err)
	}
	return fmt.Errorf("worker process %d ended early: %w; it said:\n%s", p.number, err, said)
}

// tail keeps the end of what is written to it, and the beginning, where the cause of a crash stands.
type tail struct {
	mu   sync.Mutex
	head []byte
	last []byte
}

const tailSize = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	written := len(b)
	if room := tailSize - len(t.head); room > 0 {
		n := min(room, len(b))
		t.head = append(t.head, b[:n]...)
		b = b[n:]
	}
	t.last = append(t.last, b...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return written, nil
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
