package manager_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// What tests break: a server that may be stopped, a network in the test's hands, and a source that fails by a script.

var breaking struct {
	once   sync.Once
	server *pgserver.Server
	err    error
}

// breakable is a server that a test may freeze, stop and restart. It is one for all such tests, which run one by one.
func breakable(t *testing.T) *pgserver.Server {
	t.Helper()
	server(t) // skips where this machine has none
	breaking.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		breaking.server, breaking.err = pgserver.Start(ctx, pgserver.Options{})
	})
	if breaking.err != nil {
		t.Fatal(breaking.err)
	}
	return breaking.server
}

func closeBreakable() error {
	breaking.once.Do(func() { breaking.err = errors.New("the tests are over") })
	if breaking.server == nil {
		return nil
	}
	return breaking.server.Close()
}

// freeze makes the server answer nothing, while its connections stay open, until thaw is called or the test is over.
func freeze(t *testing.T, s *pgserver.Server) (thaw func()) {
	t.Helper()
	if err := s.SignalAll(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	thaw = sync.OnceFunc(func() {
		if err := s.SignalAll(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// stop stops the server until start is called or the test is over.
func stop(t *testing.T, s *pgserver.Server) (start func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	start = sync.OnceFunc(func() {
		if err := s.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(start)
	return start
}

// network stands between a manager and a real server.
type network struct {
	deaf  gate // while shut, nothing that the server sends arrives
	stuck gate // while shut, a write blocks whatever its deadline: whoever writes stands still
	mu    sync.Mutex
	fail  func(dial int) error // nil: every dial reaches the server
	dials int
	open  int
}

// manager opens one that reaches the server through the network, whose gates are open again before it is closed.
func (n *network) manager(t *testing.T, s *pgserver.Server, opts ...manager.Option) *manager.Manager {
	t.Helper()
	m := openFrom(t, s, n.source(t, s), opts...)
	t.Cleanup(func() {
		n.failWith(nil)
		n.deaf.open()
		n.stuck.open()
	})
	return m
}

func (n *network) source(t *testing.T, s *pgserver.Server) manager.Source {
	t.Helper()
	config, err := pgx.ParseConfig(dsn(s))
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = n.dial
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// failWith makes every dial fail from now on, as the function says, until it is called with nil.
func (n *network) failWith(fail func(dial int) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail, n.dials = fail, 0
}

// openNow is how many connections are open.
func (n *network) openNow() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open
}

func (n *network) dial(ctx context.Context, kind, addr string) (net.Conn, error) {
	n.mu.Lock()
	fail := n.fail
	n.dials++
	dial := n.dials
	n.mu.Unlock()
	if fail != nil {
		if err := fail(dial); err != nil {
			return nil, &net.OpError{Op: "dial", Net: kind, Err: err}
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, kind, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.open++
	n.mu.Unlock()
	return &wire{Conn: conn, network: n, closed: make(chan struct{})}, nil
}

func refused(int) error { return syscall.ECONNREFUSED }

// wire is one connection through a network.
type wire struct {
	net.Conn
	network  *network
	deadline atomic.Pointer[time.Time] // of reads
	once     sync.Once
	closed   chan struct{}
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for n > 0 { // what has come is kept back while the gate is shut
		select {
		case <-w.network.deaf.passage():
			return n, err
		case <-w.closed:
			return 0, net.ErrClosed
		case <-ticker.C:
			if by := w.deadline.Load(); by != nil && !by.IsZero() && time.Now().After(*by) {
				return 0, os.ErrDeadlineExceeded
			}
		}
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	select {
	case <-w.network.stuck.passage():
		return w.Conn.Write(p)
	case <-w.closed:
		return 0, net.ErrClosed
	}
}

func (w *wire) SetDeadline(by time.Time) error {
	w.deadline.Store(&by)
	return w.Conn.SetDeadline(by)
}

func (w *wire) SetReadDeadline(by time.Time) error {
	w.deadline.Store(&by)
	return w.Conn.SetReadDeadline(by)
}

func (w *wire) Close() error {
	w.once.Do(func() {
		close(w.closed)
		w.network.mu.Lock()
		w.network.open--
		w.network.mu.Unlock()
	})
	return w.Conn.Close()
}

// gate lets pass unless it is shut. The zero gate is open.
type gate struct {
	mu  sync.Mutex
	bar chan struct{} // closed when the gate is opened again; nil while it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bar == nil {
		g.bar = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bar != nil {
		close(g.bar)
		g.bar = nil
	}
}

var free = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (g *gate) passage() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bar == nil {
		return free
	}
	return g.bar
}

// sourceFunc is a source whose failures are the server's own words, which a dial cannot say.
type sourceFunc func(ctx context.Context) (*pgconn.PgConn, error)

func (f sourceFunc) Connect(ctx context.Context) (*pgconn.PgConn, error) { return f(ctx) }

// script is a source that first fails as written and then connects.
type script struct {
	mu       sync.Mutex
	failures []error
	calls    int
	real     manager.Source
}

func newScript(t *testing.T, s *pgserver.Server) *script {
	t.Helper()
	return &script{real: new(network).source(t, s)}
}

// play sets what the next calls fail with, and forgets the calls so far.
func (s *script) play(failures ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.calls = failures, 0
}

func (s *script) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *script) source() manager.Source {
	return sourceFunc(func(ctx context.Context) (*pgconn.PgConn, error) {
		s.mu.Lock()
		s.calls++
		var err error
		if len(s.failures) > 0 {
			err, s.failures = s.failures[0], s.failures[1:]
		}
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return s.real.Connect(ctx)
	})
}
