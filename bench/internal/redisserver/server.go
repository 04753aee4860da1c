package redisserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNoBinary says that this machine has no redis-server.
var ErrNoBinary = errors.New("redis-server is not installed: apt-get install redis-server")

const (
	startAttempts = 5
	startTimeout  = 10 * time.Second
	stopTimeout   = 5 * time.Second
)

// Server is a running Redis.
type Server struct {
	dir     string
	version string
	port    int
	cmd     *exec.Cmd
	log     *tail
	done    chan struct{} // closed when the process has ended
	once    sync.Once
}

// Start starts a server and returns when it answers. ctx bounds the start alone; the server runs until Close, and ends with
// this process where the system allows.
func Start(ctx context.Context) (*Server, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBinary, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	version, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("redis-server --version: %w", err)
	}
	var failures []error
	for range startAttempts { // somebody may take the port between our look and the server's
		s, err := start(ctx, binary)
		if err == nil {
			s.version = parseVersion(string(version))
			return s, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("redis-server does not start: %w", errors.Join(failures...))
}

func start(ctx context.Context, binary string) (*Server, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lkredis")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, port: port, log: new(tail), done: make(chan struct{})}
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), binary, "--bind", "127.0.0.1", "--port", strconv.Itoa(port),
		"--unixsocket", s.Socket(), "--unixsocketperm", "700", "--dir", dir, "--save", "", "--appendonly", "no",
		"--daemonize", "no", "--maxclients", "10000")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = endWithParent()
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
	}()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, s.log), s.Close())
	}
	return s, nil
}

// parseVersion finds 7.0.15 in "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0".
func parseVersion(text string) string {
	for word := range strings.FieldsSeq(text) {
		if v, ok := strings.CutPrefix(word, "v="); ok {
			return v
		}
	}
	return "of unknown version"
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%v is not a TCP address", l.Addr())
	}
	return addr.Port, nil
}

// ready waits until it is our process that answers.
func (s *Server) ready(ctx context.Context) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %v", s.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-again.C:
		}
	}
}

func (s *Server) ping(ctx context.Context) error {
	line, err := s.ask(ctx, "PING")
	if err == nil && line != "+PONG" {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}

// Tidy removes all keys, and with them what clients that were killed have left.
func (s *Server) Tidy(ctx context.Context) error {
	line, err := s.ask(ctx, "FLUSHALL")
	if err == nil && line != "+OK" {
		err = fmt.Errorf("redis: %s", line)
	}
	return err
}

// ask sends a command and returns the first line of the answer. It goes by the socket in our own folder: on the port
// somebody else's server could answer.
func (s *Server) ask(ctx context.Context, command string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", s.Socket())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// Version is "7.0.15".
func (s *Server) Version() string { return s.version }

// Addr is "127.0.0.1:port".
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Socket is the path of the unix socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "redis.sock") }

// Pid is the process's number.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Close ends the server and removes its folder. It is idempotent.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		late := time.NewTimer(stopTimeout)
		defer late.Stop()
		select {
		case <-s.done:
		case <-late.C:
			_ = s.cmd.Process.Kill()
			<-s.done
		}
		err = os.RemoveAll(s.dir)
	})
	return err
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex // guards buf: the process's output comes on a goroutine of its own
	buf bytes.Buffer
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if over := t.buf.Len() - tailSize; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}
