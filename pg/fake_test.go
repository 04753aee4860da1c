package pg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// fakeServer answers as PostgreSQL would, as far as this package asks anything, and has locks of its own. It misbehaves
// where a test wants it to, which a real server cannot be made to do, and it runs inside a synctest bubble.
type fakeServer struct {
	// For a test to set before the first connection.
	settings map[string]string                            // what it knows, with the values that a new session has; nil: whatever it is asked to set
	noKey    bool                                         // it sends no BackendKeyData, as some proxies do
	turnAway string                                       // the code by which it refuses everybody
	dial     func(ctx context.Context, addr string) error // may refuse a connection; errMute: nobody answers on it
	gone     func()                                       // is called when a client has gone, before its locks are free

	table pgfake.Table

	mu       sync.Mutex
	meddle   func(s *fakeSession, q *question) // sees every statement before it is answered
	sessions map[uint32]*fakeSession
	lastPID  uint32
	facts    pgfake.Facts
	done     sync.WaitGroup
}

func newFake(t testing.TB) *fakeServer {
	t.Helper()
	f := &fakeServer{sessions: make(map[uint32]*fakeSession), lastPID: 1000,
		facts: pgfake.Facts{Version: "PostgreSQL 15 (fake)", Start: "1700000000500000", Timeline: "7000 00000001", Recovery: "f", Database: "fake"}}
	t.Cleanup(func() {
		for _, s := range f.all() {
			s.conn.Close()
		}
		f.done.Wait()
	})
	return f
}

var errMute = errors.New("accept the connection and say nothing")

// source makes connections to it, in memory.
func (f *fakeServer) source(t testing.TB) Source {
	t.Helper()
	return f.sourceOf(t, "host=127.0.0.1 port=1 user=fake password=secret dbname=fake sslmode=disable")
}

func (f *fakeServer) sourceOf(t testing.TB, dsn string) Source {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) {
		f.mu.Lock()
		dial := f.dial
		f.mu.Unlock()
		var fate error
		if dial != nil {
			fate = dial(ctx, addr)
		}
		if fate != nil && !errors.Is(fate, errMute) {
			return nil, fate
		}
		client, server := pgfake.Pipe()
		if fate == nil {
			f.accept(server)
		}
		return client, nil
	}
	source, err := FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// rawSource makes connections to a server that says these bytes when it is first spoken to, and then hangs up, or nothing.
func (f *fakeServer) rawSource(t testing.TB, raw []byte, hangUp bool) Source {
	t.Helper()
	source := f.source(t)
	config, _ := source.(configSource).config() //nolint:forcetypeassert // it is what FromConfig makes
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, server := pgfake.Pipe()
		f.done.Go(func() {
			defer server.Close()
			b := make([]byte, 4096)
			if _, err := server.Read(b); err != nil {
				return
			}
			_, _ = server.Write(raw)
			for !hangUp {
				if _, err := server.Read(b); err != nil {
					return
				}
			}
		})
		return client, nil
	}
	return source
}

func (f *fakeServer) accept(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastPID++
	s := &fakeSession{Session: pgfake.Session{PID: f.lastPID, Settings: maps.Clone(f.settings), Fixed: f.settings != nil},
		Backend: pgfake.NewBackend(&f.table, f.lastPID), server: f, conn: conn, backend: pgproto3.NewBackend(conn, conn), canceled: make(chan struct{}, 1),
		gone: make(chan struct{}), requests: make(chan *pgfake.Request, 256)}
	f.sessions[s.PID] = s
	f.done.Go(s.serve)
}

// onStatement sets what sees every statement from now on.
func (f *fakeServer) onStatement(meddle func(s *fakeSession, q *question)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meddle = meddle
}

func (f *fakeServer) meddler() func(s *fakeSession, q *question) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.meddle
}

func (f *fakeServer) all() []*fakeSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.sessions))
}

// of finds the server's side of a session.
func (f *fakeServer) of(t testing.TB, s Session) *fakeSession {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	fake := f.sessions[s.PID()]
	if fake == nil {
		t.Fatalf("the fake server has no session %d", s.PID())
	}
	return fake
}

func (f *fakeServer) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// held says how often each lock is held, and by which session.
func (f *fakeServer) held() map[int64]string {
	out := make(map[int64]string)
	for _, row := range f.table.Rows() {
		if row.Granted {
			out[row.ID] += fmt.Sprintf("%d shared=%v x%d;", row.PID, row.Shared, row.Times)
		}
	}
	return out
}

// try takes the exclusive lock, tryMode a lock in a mode.
func (f *fakeServer) try(s *fakeSession, id int64) { s.Try(pgfake.Lock{ID: id}) }

func (*fakeServer) tryMode(s *fakeSession, lock pgfake.Lock) bool { return s.Try(lock) }

// unlock releases an exclusive lock, unlockMode one in a mode: in another it is not there.
func (f *fakeServer) unlock(s *fakeSession, id int64) { s.Unlock(pgfake.Lock{ID: id}) }

func (*fakeServer) unlockMode(s *fakeSession, lock pgfake.Lock) bool { return s.Unlock(lock) }

// who answers who holds a lock, and who waits for it.
func (f *fakeServer) who(q *question) {
	q.Columns = 6
	for _, row := range f.table.Rows(q.Wanted()...) {
		q.Has(row.ID, row.PID, row.Granted)
	}
}

func (f *fakeServer) end(s *fakeSession) {
	if f.gone != nil {
		f.gone()
	}
	f.change(func() { delete(f.sessions, s.PID) })
	f.table.End(s.PID)
}

func (f *fakeServer) knows() pgfake.Facts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.facts
}

func (f *fakeServer) identity(s *fakeSession) string { return s.Identity(f.knows()) }
