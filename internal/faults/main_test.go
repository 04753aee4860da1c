package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/netfault"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func TestMain(m *testing.M) {
	childtest.Play(parts)
	flag.Parse()
	code := pgtest.Run(m)
	if err := far.close(); err != nil {
		fmt.Fprintln(os.Stderr, "close the far server:", err)
		code = max(code, 1)
	}
	var err error
	if code == 0 && !poll(func() bool { err = goleak.Find(); return err == nil }) {
		fmt.Fprintln(os.Stderr, "goroutines are left after all tests:", err)
		code = 1
	}
	os.Exit(code)
}

// patience bounds every wait for something that must come. No test passes by waiting it out.
const patience = time.Minute

// application is every connection's name here.
const application = "lk faults"

// often is how many times a fault is caused: as few as show that the test works, or as many as the claim says.
func often(short, long int) int {
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		return long
	}
	return short
}

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// poll asks again and again until the answer is yes.
func poll(done func() bool) bool {
	deadline := time.After(patience)
	again := time.NewTicker(3 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-deadline:
			return done()
		}
	}
	return true
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	if !poll(done) {
		t.Fatalf("did not come true: %s", what)
	}
}

func ended[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("did not come: %s", what)
		panic("unreachable")
	}
}

// far is the one server that runs in a namespace of its own, shared by the tests that cut the network.
var far farServer

type farServer struct {
	once    sync.Once
	network *netfault.Network
	server  *pgserver.Server
	err     error
}

func (f *farServer) close() error {
	var errs []error
	if f.server != nil {
		errs = append(errs, f.server.Close())
	}
	if f.network != nil {
		errs = append(errs, f.network.Close())
	}
	return errors.Join(errs...)
}

func (f *farServer) start() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if f.network, f.err = netfault.New(ctx); f.err == nil {
		f.server, f.err = pgserver.Start(ctx, pgserver.Options{NetNS: f.network.ServerNS(), Listen: netfault.ServerPrefix()})
	}
}

// farAway gives the far server and the network to it. The test is skipped where there can be none, and fails where
// CI=true.
func farAway(t *testing.T) (*pgserver.Server, *netfault.Network) {
	t.Helper()
	far.once.Do(far.start)
	unavailable := errors.Is(far.err, netfault.ErrUnsupported) || errors.Is(far.err, pgserver.ErrNoBinaries)
	switch {
	case unavailable && os.Getenv("CI") != "true":
		t.Skip("this test cuts the network: ", far.err)
	case far.err != nil:
		t.Fatal(far.err)
	}
	t.Cleanup(func() { heal(t, far.network) })
	return far.server, far.network
}

func heal(t testing.TB, n *netfault.Network) {
	t.Helper()
	if err := n.Heal(context.Background()); err != nil {
		t.Error(err)
	}
}

func parse(t testing.TB, dsn string) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = application
	return config
}

func source(t testing.TB, config *pgx.ConnConfig) manager.Source {
	t.Helper()
	src, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// near makes connections by the server's unix socket.
func near(t testing.TB, s *pgserver.Server) manager.Source {
	t.Helper()
	return source(t, parse(t, s.DSN()))
}

// open gives a manager that is closed with the test.
func open(t testing.TB, src manager.Source, opts ...manager.Option) *manager.Manager {
	t.Helper()
	m, err := manager.New(bounded(t), src, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, m) })
	return m
}

func closeNow(t testing.TB, m *manager.Manager) {
	t.Helper()
	if err := m.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

func acquire(t testing.TB, m *manager.Manager, key string, opts ...manager.AcquireOption) *manager.Lock {
	t.Helper()
	lock, err := m.Acquire(context.Background(), key, append(slices.Clone(opts), manager.WithWaitTimeout(patience))...)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func release(t testing.TB, lock *manager.Lock) {
	t.Helper()
	if err := lock.Release(bounded(t)); err != nil {
		t.Error(err)
	}
}

// outsider is a connection by the server's unix socket that does not use the code under test.
type outsider struct {
	t    testing.TB
	conn *pgconn.PgConn
}

func newOutsider(t testing.TB, s *pgserver.Server) *outsider {
	t.Helper()
	conn, err := pgconn.Connect(bounded(t), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	o := &outsider{t: t, conn: conn}
	t.Cleanup(func() { _ = conn.Close(bounded(t)) })
	return o
}

func (o *outsider) ask(sql string, args ...any) [][]string {
	o.t.Helper()
	results, err := o.conn.Exec(bounded(o.t), fmt.Sprintf(sql, args...)).ReadAll()
	if err != nil {
		o.t.Fatal(err)
	}
	var rows [][]string
	for _, row := range results[len(results)-1].Rows {
		var texts []string
		for _, v := range row {
			texts = append(texts, string(v))
		}
		rows = append(rows, texts)
	}
	return rows
}

func (o *outsider) is(sql string, args ...any) bool {
	o.t.Helper()
	return o.ask(sql, args...)[0][0] == "t"
}

// held says which backend holds which lock.
func (o *outsider) held() map[int64]int {
	o.t.Helper()
	out := make(map[int64]int)
	for _, row := range o.ask(`SELECT (classid::int8 << 32) | objid::int8, pid FROM pg_locks
		WHERE locktype = 'advisory' AND objsubid = 1 AND granted`) {
		id, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			o.t.Fatal(err)
		}
		if out[id], err = strconv.Atoi(row[1]); err != nil {
			o.t.Fatal(err)
		}
	}
	return out
}

func (o *outsider) waitsFor(id int64) bool {
	o.t.Helper()
	return len(o.ask(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
		AND (classid::int8 << 32) | objid::int8 = %d`, id)) > 0
}

// audit checks, when the test and its other clean-ups are over, that nothing is left: goroutines, this process's sockets,
// connections and locks at the server.
func audit(t *testing.T, s *pgserver.Server) {
	t.Helper()
	if _, err := s.Exec(bounded(t), "SELECT 1"); err != nil { // from here on a shared server has its one connection
		t.Fatal(err)
	}
	before, sockets := goleak.IgnoreCurrent(), len(openSockets(t))
	t.Cleanup(func() {
		t.Helper()
		var left [][]string
		watch, err := pgconn.Connect(bounded(t), s.DSN())
		if err == nil {
			o := &outsider{t: t, conn: watch}
			if !poll(func() bool {
				left = append(o.ask("SELECT pid, application_name, state, query FROM pg_stat_get_activity(NULL) WHERE application_name LIKE 'lk %%'"),
					o.ask("SELECT pid, granted, classid, objid FROM pg_locks WHERE locktype = 'advisory'")...)
				return len(left) == 0
			}) {
				t.Errorf("left at the server: %v", left)
			}
			_ = watch.Close(bounded(t))
		}
		if !poll(func() bool { return len(openSockets(t)) <= sockets }) {
			t.Errorf("sockets are left: %d, there were %d: %v", len(openSockets(t)), sockets, openSockets(t))
		}
		var leak error
		if !poll(func() bool { leak = goleak.Find(before); return leak == nil }) {
			t.Errorf("goroutines are left: %v", leak)
		}
	})
}

// openSockets lists this process's; empty where the system has no /proc.
func openSockets(t testing.TB) []string {
	t.Helper()
	const folder = "/proc/self/fd"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			out = append(out, target)
		}
	}
	return out
}

// figures are durations that were measured.
type figures []time.Duration

func (f figures) at(q float64) time.Duration {
	if len(f) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (f figures) String() string {
	short := func(d time.Duration) time.Duration {
		if d < 10*time.Millisecond && d > -10*time.Millisecond {
			return d.Round(time.Microsecond)
		}
		return d.Round(time.Millisecond)
	}
	return fmt.Sprintf("n=%d min %v, p50 %v, p99 %v, max %v", len(f), short(f.at(0)), short(f.at(0.5)), short(f.at(0.99)), short(f.at(1)))
}
