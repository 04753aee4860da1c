package systems

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/harness"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// process is a server that runs as a child of this process.
type process struct {
	cmd  *exec.Cmd
	said output
	end  func() error  // asks it to end
	done chan struct{} // closed when it has ended
	once sync.Once
}

// startProcess starts a server and returns when ready returns nil. ctx bounds the start alone; the server runs until close.
func startProcess(ctx context.Context, cmd *exec.Cmd, end func() error, ready func(ctx context.Context) error) (*process, error) {
	p := &process{cmd: cmd, end: end, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.said
	}
	cmd.Stderr = &p.said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return p, nil
		}
		select {
		case <-again.C:
			continue
		case <-p.done:
			err = fmt.Errorf("it ended: %v", cmd.ProcessState)
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, &p.said), p.close())
	}
}

// close ends the process. It is idempotent.
func (p *process) close() (err error) {
	p.once.Do(func() {
		err = p.end()
		late := time.NewTimer(stopTimeout)
		defer late.Stop()
		select {
		case <-p.done:
		case <-late.C:
			_ = p.cmd.Process.Kill()
			<-p.done
			err = errors.Join(err, errors.New("it did not end by itself"))
		}
	})
	return err
}

// output keeps the beginning of what a process says.
type output struct {
	mu   sync.Mutex // guards text: the output comes on a goroutine of its own
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	const most = 4 << 10
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p[:min(len(p), most-len(o.text))]...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// EtcdCommand is the hidden command of the main program that runs an etcd. It prints the client's address and the version, and
// ends with its input, so also when this process dies.
const EtcdCommand = "serve-etcd"

// startEtcd starts an etcd of one member: this binary again, so that its CPU time is apart. It listens on TCP alone.
func startEtcd(ctx context.Context) (*harness.Instance, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServing(ctx, exec.CommandContext(context.WithoutCancel(ctx), self, EtcdCommand))
}

func startServing(ctx context.Context, cmd *exec.Cmd) (*harness.Instance, error) {
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	var out output
	cmd.Stdout = &out
	var address, version string
	p, err := startProcess(ctx, cmd, life.Close, func(context.Context) error {
		line, _, whole := strings.Cut(out.String(), "\n")
		if address, version, _ = strings.Cut(line, " "); !whole {
			return errors.New("it said no address")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("etcd does not start: %w", err)
	}
	return &harness.Instance{Version: "etcd " + version, PID: cmd.Process.Pid, Address: address, TCP: address,
		Env: func(through string) harness.Env { return harness.Env{EtcdAddr: cmp.Or(through, address)} }, Close: p.close}, nil
}
