package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// patience bounds every wait. It is long, since the machine may be busy; no test passes by waiting it out.
const patience = time.Minute

// applicationName is every connection's, those of the first questions to the server too: by its first word the leak
// check knows them. A test that sets another keeps that word.
const applicationName = "lk test"

func server(t *testing.T) *pgserver.Server {
	t.Helper()
	return pgtest.Shared(t)
}

// old reports whether the server is PostgreSQL 13, which ends no idle session and does not see while a statement runs that its client has gone.
func old(s *pgserver.Server) bool { return strings.HasPrefix(s.Version(), "13") }

func dsn(s *pgserver.Server) string {
	return s.DSN() + "&application_name=" + url.PathEscape(applicationName)
}

// ownDatabase makes a database for a test that changes its catalog or Lockkeeper's schema, and connects to it. At its end nothing of the test may be
// left.
func ownDatabase(t *testing.T) (at string, conn *pgx.Conn) {
	t.Helper()
	s, database := pgtest.NewDatabase(t)
	leakFree(t, s)
	at = s.DSNOf(database) + "&application_name=" + url.PathEscape(applicationName)
	conn, err := pgx.Connect(bounded(t), at)
	if err != nil {
		t.Fatal(err)
	}
	return at, conn
}

// bounded is the context of a call that must return.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// open gives a manager on the shared server. When the test is over it is closed, and nothing may be left of it: no
// goroutine, no connection, no lock.
func open(t *testing.T, opts ...manager.Option) *manager.Manager {
	t.Helper()
	return openOn(t, server(t), opts...)
}

func openOn(t *testing.T, s *pgserver.Server, opts ...manager.Option) *manager.Manager {
	t.Helper()
	return opened(t, s, func(ctx context.Context) (*manager.Manager, error) { return manager.Open(ctx, front(t, s), opts...) })
}

// openFrom is openOn with connections from elsewhere.
func openFrom(t *testing.T, s *pgserver.Server, source manager.Source, opts ...manager.Option) *manager.Manager {
	t.Helper()
	return opened(t, s, func(ctx context.Context) (*manager.Manager, error) { return manager.New(ctx, source, opts...) })
}

// opened opens a manager, again where a busy machine takes longer than the connect timeout that the test has chosen for what comes later.
func opened(t *testing.T, s *pgserver.Server, open func(ctx context.Context) (*manager.Manager, error)) *manager.Manager {
	t.Helper()
	leakFree(t, s)
	ctx := bounded(t)
	m, err := open(ctx)
	for errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		m, err = open(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, m)
	return m
}

func closeAfter(t *testing.T, m *manager.Manager) {
	t.Helper()
	t.Cleanup(func() {
		closeNow(t, m)
		if s := m.Stats(); s.Held != 0 || s.Waiting != 0 || s.Keys != 0 || s.Sessions.Total() != 0 {
			t.Errorf("left after close: %+v", s)
		}
	})
}

func closeNow(t *testing.T, m *manager.Manager) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

type watch struct {
	t *testing.T
	s *pgserver.Server
}

var watched sync.Map // of watch: the tests whose leak check is set up

// leakFree checks, when the test and its other clean-ups are over, that nothing is left.
func leakFree(t *testing.T, s *pgserver.Server) {
	t.Helper()
	w := watch{t, s}
	if _, twice := watched.LoadOrStore(w, true); twice {
		return
	}
	before, ours := goleak.IgnoreCurrent(), "0" // and the backends of a test that this one is part of
	// A slow write on a connection of that test's starts a reader of pgx's. Connections that are left are seen at the server.
	theirs := goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgconn/internal/bgreader.(*BGReader).bgRead")
	for _, row := range query(t, s, "SELECT pid FROM pg_stat_get_activity(NULL)") {
		ours += "," + row[0]
	}
	t.Cleanup(func() {
		defer watched.Delete(w)
		var left string
		if !poll(func() bool { left = leftAtServer(t, s, ours); return left == "" }) {
			t.Errorf("left at the server: %s", left)
		}
		var leak error
		if !poll(func() bool { leak = goleak.Find(before, theirs); return leak == nil }) {
			t.Errorf("goroutines are left: %v", leak)
		}
	})
}

func leftAtServer(t *testing.T, s *pgserver.Server, except string) string {
	t.Helper()
	connections := query(t, s, "SELECT pid, application_name, state, query FROM pg_stat_get_activity(NULL) "+
		"WHERE application_name LIKE 'lk %' AND pid NOT IN ("+except+")")
	locks := query(t, s, "SELECT pid, granted, classid, objid FROM pg_locks "+
		"WHERE locktype = 'advisory' AND pid NOT IN ("+except+")")
	if len(connections)+len(locks) == 0 {
		return ""
	}
	return fmt.Sprintf("connections %v, locks %v", connections, locks)
}

// poll asks again and again until the answer is yes, and says whether that came in time.
func poll(done func() bool) bool {
	deadline := time.After(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			return done()
		}
	}
	return true
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	if !poll(done) {
		t.Fatalf("did not come true within %v: %s", patience, what)
	}
}

// ended waits for a channel to be closed, or to have something.
func ended[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("did not come within %v: %s", patience, what)
		panic("unreachable")
	}
}

func isEnded[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// acquire takes a lock that is held until it is released, or the test is over.
func acquire(t *testing.T, m *manager.Manager, key string, opts ...manager.AcquireOption) *manager.Lock {
	t.Helper()
	lock, err := m.Acquire(t.Context(), key, append(slices.Clone(opts), manager.WithWaitTimeout(patience))...)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func release(t *testing.T, lock *manager.Lock) {
	t.Helper()
	if err := lock.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

type acquired struct {
	lock *manager.Lock
	err  error
}

// acquiring starts a call of Acquire, which is queued when acquiring returns; see waiting.
func acquiring(ctx context.Context, t *testing.T, m *manager.Manager, key string, opts ...manager.AcquireOption) <-chan acquired {
	t.Helper()
	return waiting(t, m, func() (*manager.Lock, error) { return m.Acquire(ctx, key, opts...) })
}

// patientHealth is for tests that lose no session: a backend on a busy machine may stand still for the two seconds that it is trusted for otherwise.
var patientHealth = manager.WithHealth(5*time.Second, 15*time.Second)

// waiting starts a call of m's, which is queued when waiting returns. No other calls of m may begin or end meanwhile: it counts those that wait.
func waiting(t *testing.T, m *manager.Manager, call func() (*manager.Lock, error)) <-chan acquired {
	t.Helper()
	before := m.Stats().Waiting
	out := make(chan acquired, 1)
	go func() {
		lock, err := call()
		out <- acquired{lock, err}
	}()
	eventually(t, "the call is queued", func() bool { return m.Stats().Waiting > before || len(out) > 0 })
	return out
}

func failure(t *testing.T, err error) *manager.AcquireError {
	t.Helper()
	var e *manager.AcquireError
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *AcquireError", err, err)
	}
	return e
}

func wantIs(t *testing.T, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%v: errors.Is does not find %v", err, target)
		}
	}
}

// query asks the server on a connection of its own, behind the back of the code under test.
func query(t *testing.T, s *pgserver.Server, sql string) [][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := s.Exec(ctx, sql)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// held is which lock ids the server has granted, to which backend.
func held(t *testing.T, s *pgserver.Server) map[int64]int {
	t.Helper()
	out := make(map[int64]int)
	for _, row := range query(t, s, `SELECT (classid::int8 << 32) | objid::int8, pid FROM pg_locks
		WHERE locktype = 'advisory' AND objsubid = 1 AND granted`) {
		out[number(t, row[0])] = int(number(t, row[1]))
	}
	return out
}

// queued is how many backends wait for an id at the server.
func queued(t *testing.T, s *pgserver.Server, id int64) int {
	t.Helper()
	return len(query(t, s, fmt.Sprintf(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
		AND (classid::int8 << 32) | objid::int8 = %d`, id)))
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func terminate(t *testing.T, s *pgserver.Server, pid int) {
	t.Helper()
	query(t, s, fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
}

// terminateAll ends every session of the code under test and returns when the manager has noticed.
func terminateAll(t *testing.T, s *pgserver.Server, m *manager.Manager) {
	t.Helper()
	query(t, s, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'lk %'")
	eventually(t, "no session is left", func() bool { return m.Stats().Sessions.Total() == 0 })
}

// connect is a connection as any other program would have one.
func connect(t *testing.T, s *pgserver.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(bounded(t), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// steps is what keepers did, in the words of their hook.
type steps struct {
	mu  sync.Mutex
	all []string
}

func (s *steps) record() manager.Option {
	return manager.WithHook(func(_ int64, step string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, step)
	})
}

// of is those of the given kinds, in their order.
func (s *steps) of(kinds ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, step := range s.all {
		if slices.Contains(kinds, step) {
			out = append(out, step)
		}
	}
	return out
}

// kinds is what steps there were at all.
func (s *steps) kinds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(s.all)))
}

// arrived is how many claims have come to a keeper. Stats().Waiting counts a call from its start, a moment before.
func (s *steps) arrived() int { return len(s.of("message acquire")) }
