package pgserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// closeTimeout is how long Close waits for an immediate shutdown before it kills: the postmaster itself kills
	// backends that ignore it after 5 s.
	closeTimeout = 8 * time.Second
	// killTimeout is how long a killed process may take to be gone.
	killTimeout = 10 * time.Second
	// portAttempts bounds the search for a free port.
	portAttempts = 20
)

// The ports that are tried lie below those from which the systems take a connection's own port (Linux: 32768 and up),
// so that a server which is down for a moment finds its port free again.
const firstPort, lastPort = 15000, 32000

// StopMode says how clients are treated when a server stops.
type StopMode string

// The stop modes of pg_ctl.
const (
	Smart StopMode = "smart" // waits for clients to leave
	// Fast ends their sessions. PostgreSQL 15 and later never end one that comes while they recover from the crash of a backend.
	Fast      StopMode = "fast"
	Immediate StopMode = "immediate" // crashes: no checkpoint, recovery at the next start
)

func (m StopMode) signal() (syscall.Signal, error) {
	switch m {
	case Smart:
		return syscall.SIGTERM, nil
	case Fast:
		return syscall.SIGINT, nil
	case Immediate:
		return syscall.SIGQUIT, nil
	}
	return 0, fmt.Errorf("pgserver: no stop mode %q", string(m))
}

// startFirst picks a port and starts the server on it; another program may take the port in between, so it tries more
// than one.
func (s *Server) startFirst(ctx context.Context, extra map[string]string) error {
	for attempt := 1; ; attempt++ {
		port, err := FreePort(ctx, "127.0.0.1")
		if err != nil {
			return err
		}
		s.port = port
		if err := s.writeConfig(extra); err != nil {
			return err
		}
		err = s.Start(ctx)
		var failed *startError
		if errors.As(err, &failed) && strings.Contains(failed.log, "Address already in use") && attempt < portAttempts {
			continue
		}
		return err
	}
}

// FreePort is a port of an address of this machine that nobody listens on, and that no system gives to a connection.
func FreePort(ctx context.Context, address string) (int, error) {
	var lastErr error
	for range portAttempts {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			lastErr = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, fmt.Errorf("pgserver: no free port of %s: %w", address, lastErr)
}

// startError is a server that ended while it was starting.
type startError struct{ log string }

func (e *startError) Error() string {
	return "pgserver: the server did not start; the end of its log:\n" + e.log
}

// lock takes the right to start and stop.
func (s *Server) lock(ctx context.Context) error {
	select {
	case s.lifecycle <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Server) unlock() { <-s.lifecycle }

// Start starts a stopped server again, with the same port and data, and returns when it accepts connections. It does
// nothing where the server runs.
func (s *Server) Start(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	return s.start(ctx)
}

// start is Start for the holder of lifecycle.
func (s *Server) start(ctx context.Context) error {
	for {
		if s.isClosed() {
			return ErrClosed
		}
		if s.PID() != 0 {
			return nil
		}
		err := s.startOnce(ctx)
		var failed *startError
		// After a kill the old backends hold the shared memory for a moment, until they notice.
		if errors.As(err, &failed) && strings.Contains(failed.log, "is still in use") && ctx.Err() == nil {
			continue
		}
		return err
	}
}

func (s *Server) startOnce(ctx context.Context) error {
	logFile, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	from, err := logFile.Seek(0, 2)
	if err != nil {
		return err
	}
	p, err := s.spawn(logFile)
	if err != nil {
		return err
	}
	ended := false
	err = pollUntil(ctx, func() bool {
		ended = p.poll()
		return ended || s.ready(p.pid)
	})
	if err == nil && !ended {
		return nil
	}
	if !ended {
		s.kill(p)
	}
	s.copyLog()
	text := s.logFrom(from)
	if err != nil {
		return fmt.Errorf("pgserver: the server was not ready in time: %w; the end of its log:\n%s", err, text)
	}
	return &startError{log: text}
}

// spawn starts the postmaster, unless Close has come first.
func (s *Server) spawn(logFile *os.File) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	user, program, args := s.user, filepath.Join(s.binDir, "postgres"), []string{"-D", s.dataDir}
	if s.netNS != "" { // the namespace is entered as root; nsenter becomes the user, and then the program
		args = append([]string{"--net=" + s.netNS, "--setuid=" + strconv.Itoa(user.uid), "--setgid=" + strconv.Itoa(user.gid),
			"--", program}, args...)
		user, program = account{}, "nsenter"
	}
	p, err := startProcess(user, s.dir, logFile, program, args...)
	if err != nil {
		return nil, err
	}
	s.proc = p
	return p, nil
}

// ready reads the postmaster's own word from its pid file, as pg_ctl does: the first line is its pid and the eighth its
// state. "ready" comes when clients may connect, on a standby too.
func (s *Server) ready(pid int) bool {
	raw, err := os.ReadFile(filepath.Join(s.dataDir, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(raw), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}

func (s *Server) logFrom(offset int64) string {
	raw, err := os.ReadFile(s.logPath())
	if err != nil || offset > int64(len(raw)) {
		return ""
	}
	return tail(string(raw[offset:]))
}

// Stop ends the sessions and stops the server; its data stays for Start. Where ctx ends first the server is still on
// its way down.
func (s *Server) Stop(ctx context.Context) error { return s.StopMode(ctx, Fast) }

// StopMode is Stop in a mode of choice.
func (s *Server) StopMode(ctx context.Context, mode StopMode) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	return s.stop(ctx, mode)
}

func (s *Server) stop(ctx context.Context, mode StopMode) error {
	sig, err := mode.signal()
	if err != nil {
		return err
	}
	p := s.process()
	if p == nil {
		return nil
	}
	if err := p.signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("pgserver: stop: %w", err)
	}
	if err := p.wait(ctx); err != nil {
		return fmt.Errorf("pgserver: %s stop of pid %d: %w; the end of its log:\n%s", mode, p.pid, err, s.Log())
	}
	s.copyLog()
	return nil
}

// Restart stops the server and starts it again on the same port. Where the server was killed, it only starts it.
func (s *Server) Restart(ctx context.Context, mode StopMode) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	if err := s.stop(ctx, mode); err != nil {
		return err
	}
	return s.start(ctx)
}

// Signal sends a signal to the postmaster alone.
func (s *Server) Signal(sig syscall.Signal) error {
	p := s.process()
	if p == nil {
		return os.ErrProcessDone
	}
	return p.signal(sig)
}

// SignalAll sends a signal to the postmaster and to all of its children. SIGSTOP makes a server that accepts
// connections and answers nothing, and returns when every process has stopped; SIGCONT ends that; SIGKILL is a crash.
func (s *Server) SignalAll(sig syscall.Signal) error {
	p := s.process()
	if p == nil {
		return os.ErrProcessDone
	}
	return p.signalTree(sig)
}

// Close stops the server at once and removes its folder. It is safe to call at any time and more than once; a call of
// Start or Stop that is under way is cut short.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	p := s.proc
	s.mu.Unlock()
	if p != nil {
		s.kill(p)
	}
	// With the process gone and closed set, whoever holds lifecycle is about to let go.
	s.lifecycle <- struct{}{}
	defer s.unlock()
	s.forget()
	s.copyLog()
	s.watchdog.end()
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	return nil
}

// kill ends a server whose data is not wanted any more: by an immediate shutdown, since that alone gives back its shared
// memory, and by SIGKILL where that does not help.
func (s *Server) kill(p *process) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	p.wake() // stopped processes would not hear of it
	_ = p.signal(syscall.SIGQUIT)
	if p.wait(ctx) == nil && len(strays(s.dataDir)) == 0 {
		s.dropSharedMemory()
		return
	}
	ctx, cancel = context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	_ = p.signalTree(syscall.SIGKILL)
	_ = p.wait(ctx)
	_ = pollUntil(ctx, func() bool {
		left := strays(s.dataDir)
		for _, pid := range left {
			killPID(pid)
		}
		return len(left) == 0
	})
	s.dropSharedMemory()
}

// dropSharedMemory removes the segment by which PostgreSQL notices a second server on its folder. A server that was
// killed leaves it to the next one, and here there is none. It holds 56 bytes, but a system has room for 4096 of them.
func (s *Server) dropSharedMemory() {
	// A server that ended by itself has removed the file and the segment.
	raw, err := os.ReadFile(filepath.Join(s.dataDir, "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(raw), "\n")
	if len(lines) < 7 {
		return
	}
	if f := strings.Fields(lines[6]); len(f) == 2 { // its key and its id
		_, _ = output("ipcrm", "-m", f[1]) // best effort: the program may be missing
	}
}
