package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/forward"
)

// forwarderJob is the first line that a forwarder process reads: where to listen, and where to connect to, one for one.
// Each line after it is a forward.Pace.
type forwarderJob struct {
	Listen []string `json:"listen"`
	To     []string `json:"to"`
}

// forwarderBound is its answer: the addresses that it listens on.
type forwarderBound struct {
	Addresses []string `json:"addresses"`
	Error     string   `json:"error,omitempty"`
}

// RunForwarder is the life of a forwarder process: it ends with its standard input, which is the parent's. It is a process
// of its own because its kernel acknowledges while it is frozen, so that neither side sees a dead connection.
func RunForwarder(ctx context.Context, in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	var job forwarderJob
	if err := decoder.Decode(&job); err != nil {
		return err
	}
	var all []*forward.Forwarder
	var bound forwarderBound
	for i, address := range job.Listen {
		f, err := forward.Start(ctx, address, "tcp", job.To[i])
		if err != nil {
			bound.Error = err.Error()
			break
		}
		defer f.Close()
		all = append(all, f)
		bound.Addresses = append(bound.Addresses, f.Addr())
	}
	if err := json.NewEncoder(out).Encode(bound); err != nil {
		return err
	}
	for {
		var pace forward.Pace
		switch err := decoder.Decode(&pace); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading an order: %w", err)
		}
		for _, f := range all {
			f.SetPace(pace)
		}
	}
}

// gateway is a forwarder process, as its parent sees it.
type gateway struct {
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	orders    *json.Encoder
	addresses []string
}

func startGateway(cmd *exec.Cmd, job forwarderJob) (*gateway, error) {
	g := &gateway{cmd: cmd}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a forwarder: %w", err)
	}
	g.stdin, g.orders = stdin, json.NewEncoder(stdin)
	var bound forwarderBound
	if err := errors.Join(g.orders.Encode(job), json.NewDecoder(stdout).Decode(&bound)); err != nil || bound.Error != "" {
		g.end()
		return nil, fmt.Errorf("starting a forwarder: %s %w", bound.Error, err)
	}
	g.addresses = bound.Addresses
	return g, nil
}

func (g *gateway) pace(delay, jitter time.Duration) error {
	return g.orders.Encode(forward.Pace{Delay: delay, Jitter: jitter})
}

func (g *gateway) end() {
	_ = g.stdin.Close()
	_ = g.cmd.Process.Signal(syscall.SIGCONT)
	_ = g.cmd.Process.Kill() // it has nothing to put in order
	_ = g.cmd.Wait()
}
