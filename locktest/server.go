package locktest

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Server is a database server in memory that has locks alone. Any goroutine may use it. Make one with [NewServer].
type Server struct {
	table pgfake.Table
	facts pgfake.Facts
	began time.Time

	mu       sync.Mutex
	sessions map[uint32]*session
	lastPID  uint32
	closed   bool
	faults   faults
	done     sync.WaitGroup
}

// faults are what goes wrong from now on.
type faults struct {
	refuse string        // new connections get this SQLSTATE
	fail   string        // requests for locks get this one
	delay  time.Duration // before each answer
	hung   chan struct{} // answers wait until it is closed; nil: they do not
}

// NewServer starts a server. Nothing listens on a port. [Server.Close] ends it.
func NewServer() *Server {
	return &Server{sessions: make(map[uint32]*session), lastPID: 1000, began: time.Now(),
		facts: pgfake.Facts{Version: "PostgreSQL 15 (locktest)", Start: "1700000000500000", Timeline: "7000 00000001", Recovery: "f", Database: "locktest"}}
}

// Open returns a manager on a server of its own. Both are closed when the test ends, and the test fails if that fails.
func Open(t testing.TB, opts ...manager.Option) *manager.Manager {
	t.Helper()
	s := NewServer()
	t.Cleanup(s.Close)
	m, err := s.Open(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Open opens a manager, with options as for [manager.Open]. Each manager is what a process is to a database: it has sessions of its own. The
// caller closes it, before the server.
func (s *Server) Open(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
	config, err := pgx.ParseConfig("host=locktest user=locktest dbname=locktest sslmode=disable")
	if err != nil {
		return nil, err
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return s.dial() }
	source, err := manager.FromConfig(config)
	if err != nil {
		return nil, err
	}
	return manager.New(ctx, source, opts...)
}

// Close ends all sessions: managers that are open lose their locks, and find no server any more. It waits for all goroutines of the server.
func (s *Server) Close() {
	s.change(func() {
		s.closed = true
		s.faults.resume()
	})
	s.Lose()
	s.done.Wait()
}

// Lose ends the sessions that hold one of the locks, or all sessions where none is named, as a restart of the server does. All holders of
// locks on these sessions lose them and are told. The managers connect again.
func (s *Server) Lose(keys ...manager.Key) {
	hit := s.all()
	if len(keys) > 0 {
		hit = hit[:0]
		for _, pid := range s.holders(keys) {
			if session := s.session(pid); session != nil {
				hit = append(hit, session)
			}
		}
	}
	for _, session := range hit {
		session.terminate()
	}
}

// holders are the sessions that hold one of the locks.
func (s *Server) holders(keys []manager.Key) (pids []uint32) {
	ids := make([]int64, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	for _, row := range s.table.Rows(ids...) {
		if row.Granted && !slices.Contains(pids, row.PID) {
			pids = append(pids, row.PID)
		}
	}
	return pids
}

// Hang stops all answers, as a frozen server or a network that swallows packets does, until [Server.Resume]. A manager's trust ends after
// its health interval and its health timeout: then its holders are told that their locks are lost. See [manager.WithHealth].
func (s *Server) Hang() {
	s.change(func() {
		if s.faults.hung == nil && !s.closed {
			s.faults.hung = make(chan struct{})
		}
	})
}

// Resume undoes [Server.Hang]. What was asked in the meantime is answered now.
func (s *Server) Resume() { s.change(s.faults.resume) }

func (f *faults) resume() {
	if f.hung != nil {
		close(f.hung)
		f.hung = nil
	}
}

// The codes by which a server turns requests away, for [Server.Refuse] and [Server.Fail]. Any other SQLSTATE will do as well.
const (
	TooManyConnections = "53300"
	StartingUp         = "57P03"
	LockTableFull      = "53200"
	PermissionDenied   = "42501"
)

// Refuse has new connections refused with a SQLSTATE, until it is called with none. Sessions that are open stay.
func (s *Server) Refuse(code string) { s.change(func() { s.faults.refuse = code }) }

// Fail answers each request for a lock with an error of this SQLSTATE, until it is called with none. Locks can be released all the same.
func (s *Server) Fail(code string) { s.change(func() { s.faults.fail = code }) }

// Delay has each answer wait so long.
func (s *Server) Delay(d time.Duration) { s.change(func() { s.faults.delay = d }) }

// Hold has a session that is no manager's hold a key's lock, as psql or another program would. It waits for nobody: where the lock is held it
// returns [manager.ErrNotAcquired]. The function that it returns releases the lock, and does so once.
func (s *Server) Hold(key manager.Key) (release func(), err error) {
	var pid uint32
	s.change(func() {
		s.lastPID++
		pid = s.lastPID
	})
	if !s.table.Try(pid, pgfake.Lock{ID: key.ID()}) {
		return nil, manager.ErrNotAcquired
	}
	return func() { s.table.End(pid) }, nil
}

// dial makes a connection.
func (s *Server) dial() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("connection refused: the locktest.Server is closed")
	}
	client, server := pgfake.Pipe()
	s.lastPID++
	session := newSession(s, s.lastPID, server)
	s.sessions[session.PID] = session
	s.done.Go(session.serve)
	return client, nil
}

func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// current are the faults of now.
func (s *Server) current() (f faults) {
	s.change(func() { f = s.faults })
	return f
}

func (s *Server) session(pid uint32) (found *session) {
	s.change(func() { found = s.sessions[pid] })
	return found
}

func (s *Server) all() (all []*session) {
	s.change(func() { all = slices.Collect(maps.Values(s.sessions)) })
	return all
}

// end is the end of a session: its locks are free.
func (s *Server) end(pid uint32) {
	s.change(func() { delete(s.sessions, pid) })
	s.table.End(pid)
}
