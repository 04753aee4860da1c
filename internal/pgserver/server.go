package pgserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Superuser and Database are the names of every server's first role and database.
const (
	Superuser = "lockkeeper"
	Database  = "lockkeeper"
)

// Options say how a server is started; the zero value is good for tests.
type Options struct {
	// BinDir is the folder of postgres and initdb; empty means FindBinaries.
	BinDir string
	// TempDir is where the server's folder is made; empty means the system's temporary folder.
	TempDir string
	// Settings are written to postgresql.conf, over this package's own. The port, the socket folder and the listen
	// address cannot be set.
	Settings map[string]string
	// NetNS is the path of a network namespace to run the server in, which takes root on Linux. Its unix socket can be
	// reached from everywhere all the same.
	NetNS string
	// Listen is an address besides 127.0.0.1 that the server listens on, which this machine must have; who connects to it
	// from the prefix is asked for the password.
	Listen netip.Prefix
	// Durable leaves fsync and full_page_writes on, for measurements that include the disk.
	Durable bool
	// KeepConnection lets Exec leave its connection to the next call, since a new one costs the server many times what a
	// statement does. It is for a server that many tests share: to a smart stop such a connection is somebody's.
	KeepConnection bool
	// Log receives the server's log whenever the server has stopped, also when a start failed.
	Log io.Writer
}

// Server is a PostgreSQL server. Its methods may be called by several goroutines; those that start and stop it exclude
// each other.
type Server struct {
	binDir, dir, dataDir, socketDir string
	version, password               string
	port                            int
	user                            account
	settings                        map[string]string
	netNS                           string
	listen                          netip.Prefix
	durable, keepConnection         bool
	log                             io.Writer
	watchdog                        *watchdog

	// lifecycle has room for the one call that starts, stops or closes: a channel, since waiting for it ends with ctx.
	lifecycle chan struct{}
	logged    int64 // how much of the log file Log has; owned by the holder of lifecycle

	mu     sync.Mutex // guards proc and closed
	proc   *process
	closed bool

	idle atomic.Pointer[wire] // what the last Exec has left
}

// ErrClosed is returned by every call that needs a server after Close.
var ErrClosed = errors.New("pgserver: the server is closed and its folder removed")

// Start makes a new server and returns when it accepts connections. ctx bounds the start alone; the server runs until
// Close.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare finds the binaries and makes the folder and the watchdog.
func prepare(ctx context.Context, o Options) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bin, version, err := o.binaries()
	if err != nil {
		return nil, err
	}
	user, err := serverAccount()
	if err != nil {
		return nil, err
	}
	dir, err := makeFolder(user, o.TempDir)
	if err != nil {
		return nil, err
	}
	watchdog, err := startWatchdog(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Server{
		binDir: bin, dir: dir, dataDir: filepath.Join(dir, "data"), socketDir: dir,
		version: version, password: rand.Text(),
		user: user, settings: o.Settings, netNS: o.NetNS, listen: o.Listen, durable: o.Durable,
		keepConnection: o.KeepConnection, log: o.Log, watchdog: watchdog,
		lifecycle: make(chan struct{}, 1),
	}, nil
}

// binaries are those of BinDir, or of FindBinaries.
func (o *Options) binaries() (dir, version string, err error) {
	if o.BinDir == "" {
		return findBinaries()
	}
	if version, err = checkBinaries(o.BinDir, ""); err != nil {
		return "", "", fmt.Errorf("pgserver: %w", err)
	}
	return o.BinDir, version, nil
}

// create fills the data folder, starts the server and creates the database.
func (s *Server) create(ctx context.Context) error {
	if err := s.initialise(ctx); err != nil {
		return fmt.Errorf("pgserver: %w", err)
	}
	if err := s.admit(); err != nil {
		return err
	}
	if err := s.startFirst(ctx, nil); err != nil {
		return err
	}
	stored, err := verifier(s.password)
	if err != nil {
		return err
	}
	return s.execOn(ctx, "postgres",
		s.createDatabase(Database),
		"ALTER ROLE "+Superuser+" PASSWORD '"+stored+"'") // a template has another server's
}

// DSN connects as the superuser over the unix socket; it holds no password.
func (s *Server) DSN() string { return s.DSNOf(Database) }

// DSNOf is DSN for another database.
func (s *Server) DSNOf(database string) string {
	q := url.Values{"host": {s.socketDir}, "port": {strconv.Itoa(s.port)}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(Superuser), Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// TCPDSN connects as the superuser over TCP to 127.0.0.1, with the password.
func (s *Server) TCPDSN() string { return s.TCPDSNOf(Database) }

// TCPDSNOf is TCPDSN for another database.
func (s *Server) TCPDSNOf(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(Superuser, s.password), Host: s.TCPAddr(),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// TCPAddr is the server's address, "127.0.0.1:port".
func (s *Server) TCPAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the same for TCP and for the name of the unix socket; it stays over restarts.
func (s *Server) Port() int { return s.port }

// SocketDir is the folder of the unix socket.
func (s *Server) SocketDir() string { return s.socketDir }

// Password is the superuser's, asked for on TCP.
func (s *Server) Password() string { return s.password }

// BinDir is the folder of the server's programs.
func (s *Server) BinDir() string { return s.binDir }

// DataDir is the server's data folder.
func (s *Server) DataDir() string { return s.dataDir }

// Version is the server's version, for example "15.18" or "18beta1".
func (s *Server) Version() string { return s.version }

func (s *Server) before15() bool {
	v, err := strconv.Atoi(major(s.version))
	return err == nil && v < 15
}

// PID is the postmaster's process id, or 0 where no server runs.
func (s *Server) PID() int {
	p := s.process()
	if p == nil || p.poll() {
		return 0
	}
	return p.pid
}

// Log returns the end of the server's log.
func (s *Server) Log() string {
	raw, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return tail(string(raw))
}

func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }

func (s *Server) socketPath() string {
	return filepath.Join(s.socketDir, ".s.PGSQL."+strconv.Itoa(s.port))
}

// copyLog hands Options.Log what it does not have yet.
func (s *Server) copyLog() {
	if s.log == nil {
		return
	}
	raw, err := os.ReadFile(s.logPath())
	if err != nil || int64(len(raw)) <= s.logged {
		return
	}
	n, _ := io.Copy(s.log, bytes.NewReader(raw[s.logged:]))
	s.logged += n
}

// tail is the last lines of a text, enough to hold what a server says before it gives up.
func tail(text string) string {
	const keep = 40
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-keep):], "\n")
}
