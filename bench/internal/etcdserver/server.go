package etcdserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Command is the hidden command of the main program that runs the server.
const Command = "serve-etcd"

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// Server is a running etcd.
type Server struct {
	cmd           *exec.Cmd
	life          io.Closer // its stdin: the server ends when it does, so also when this process dies
	addr, version string
	said          *strings.Builder // its stderr, to be read after done
	done          chan struct{}    // closed when the process has ended
	once          sync.Once
}

// Start starts the server and returns when it answers. ctx bounds the start alone; the server runs until Close.
func Start(ctx context.Context) (*Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, exec.CommandContext(context.WithoutCancel(ctx), self, Command))
}

func start(ctx context.Context, cmd *exec.Cmd) (*Server, error) {
	s := &Server{cmd: cmd, said: new(strings.Builder), done: make(chan struct{})}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = s.said
	s.life = in
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		defer close(s.done)
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case text := <-line:
		s.addr, s.version, _ = strings.Cut(strings.TrimSpace(text), " ")
	case <-ctx.Done():
	}
	if s.addr == "" {
		err := errors.Join(ctx.Err(), s.Close())
		return nil, fmt.Errorf("etcd does not start: %w\n%s", errors.Join(errors.New("it said no address"), err), s.said)
	}
	return s, nil
}

// Addr is "127.0.0.1:port".
func (s *Server) Addr() string { return s.addr }

// Version is "3.7.3".
func (s *Server) Version() string { return s.version }

// Pid is the process's number.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Close ends the server, which removes its folder. It is idempotent.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		err = s.life.Close()
		late := time.NewTimer(stopTimeout)
		defer late.Stop()
		select {
		case <-s.done:
		case <-late.C:
			_ = s.cmd.Process.Kill()
			<-s.done
			err = errors.Join(err, errors.New("etcd did not end by itself"))
		}
	})
	return err
}
