package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/forward"
)

// gateway is a forwarder process.
type gateway struct {
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	orders    *json.Encoder
	addresses []string
}

func startGateway(cmd *exec.Cmd, job forward.Job) (*gateway, error) {
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
	var bound forward.Bound
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
