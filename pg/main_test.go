package pg

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

func TestMain(m *testing.M) {
	childtest.Play(childtest.Parts{"stopped": beStopped})
	os.Exit(pgtest.Run(m))
}

// patience bounds every wait for something that must come. It says nothing about how fast that is: a test that has to
// wait so long has failed.
const patience = 45 * time.Second

// eventually looks again and again until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	again := time.NewTicker(3 * time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-bound.C:
			t.Fatalf("this did not come true: %s", what)
		case <-again.C:
		}
	}
}

// receive takes the next value, which must come.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case v := <-ch:
		return v
	case <-bound.C:
		t.Fatalf("no %T came", *new(T))
	}
	panic("not reached")
}

// none checks that nothing lies in the channel.
func none[T any](t testing.TB, ch <-chan T, what string) {
	t.Helper()
	select {
	case v := <-ch:
		t.Errorf("%s: %+v", what, v)
	default:
	}
}

// noLeaks checks at the end of the test, after the cleanups that are registered later, that its goroutines are gone.
func noLeaks(t testing.TB) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		err := goleak.Find(before)
		for late := time.Now().Add(patience); err != nil && time.Now().Before(late); { // on a busy machine its own half second is short
			err = goleak.Find(before)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// within gives a context that ends when a test has waited too long.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// database is one database of a real server, seen by somebody who does not trust the package under test.
type database struct {
	*pgserver.Server
	name string
	eye  *eye
}

// eye is a connection that is kept, as a new one costs the server more than what it is asked.
type eye struct{ conn *pgconn.PgConn }

func (e *eye) close() {
	if e.conn != nil {
		closeConn(e.conn)
	}
}

func watch(t testing.TB, server *pgserver.Server, name string) database {
	t.Helper()
	d := database{server, name, &eye{}}
	t.Cleanup(d.eye.close)
	return d
}

// newDatabase gives the test a database of its own: advisory locks of different databases do not meet.
func newDatabase(t testing.TB) database {
	t.Helper()
	server, name := pgtest.NewDatabase(t)
	return watch(t, server, name)
}

// newServer starts a server that the test may harm.
func newServer(t testing.TB, settings map[string]string) database {
	t.Helper()
	return watch(t, pgtest.New(t, pgserver.Options{Settings: settings}), pgserver.Database)
}

func (d database) dsn() string    { return d.DSNOf(d.name) }
func (d database) tcpDSN() string { return d.TCPDSNOf(d.name) }

// exec runs SQL as the superuser, in the server's first database. It connects anew where the server has been restarted.
func (d database) exec(t testing.TB, format string, args ...any) [][]string {
	t.Helper()
	ctx := within(t)
	if d.eye.conn == nil || d.eye.conn.Ping(ctx) != nil {
		d.eye.close()
		conn, err := pgconn.Connect(ctx, d.DSN())
		if err != nil {
			t.Fatal(err)
		}
		d.eye.conn = conn
	}
	results, err := d.eye.conn.Exec(ctx, fmt.Sprintf(format, args...)).ReadAll()
	if err == nil { // a slow write starts pgx's background reader, which would be a leak of a subtest that ends before the connection
		err = endBackgroundRead(ctx, d.eye.conn)
	}
	if err != nil {
		t.Fatal(err)
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

// locks says which backends hold which advisory locks of this database.
func (d database) locks(t testing.TB) map[int64]uint32 { return d.lockRows(t, "granted") }

// queued says which backends wait for one.
func (d database) queued(t testing.TB) map[int64]uint32 { return d.lockRows(t, "NOT granted") }

func (d database) lockRows(t testing.TB, which string) map[int64]uint32 {
	t.Helper()
	locks := make(map[int64]uint32)
	for _, row := range d.exec(t, `SELECT (l.classid::int8 << 32) | l.objid::int8, l.pid FROM pg_locks l
		JOIN pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND d.datname = '%s' AND %s`, d.name, which) {
		id, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.ParseUint(row[1], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		locks[id] = uint32(pid)
	}
	return locks
}

// backends counts the client sessions of this database, without the one that asks.
func (d database) backends(t testing.TB) int {
	t.Helper()
	rows := d.exec(t, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = '%s'
		AND pid <> pg_backend_pid()`, d.name)
	return len(rows)
}

// isEmpty waits until the server has no session and no lock of this database left.
func (d database) isEmpty(t testing.TB) {
	t.Helper()
	eventually(t, "no session and no lock is left at the server", func() bool {
		return d.backends(t) == 0 && len(d.locks(t)) == 0 && len(d.queued(t)) == 0
	})
}

// closeConn closes a connection that is still pgx's. After a failure pgx does so by itself, and gives a server that
// hangs 15 s; here it has as long as a test has patience, and a moment more where pgx is busy elsewhere.
func closeConn(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = conn.Close(ctx)
	select {
	case <-conn.CleanupDone():
		return
	case <-ctx.Done():
	}
	closeSocket(conn.Conn())
	moment := time.NewTimer(patience)
	defer moment.Stop()
	select {
	case <-conn.CleanupDone():
	case <-moment.C:
	}
}
