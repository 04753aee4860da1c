//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// runner runs the tests with the shared server around them.
type runner struct{ m *testing.M }

// Run has programs of the tests begin with no signal ignored. Under nohup, or in the background of a script, some are, and a program that
// ignores a signal passes that on; one that catches it does not.
func (r runner) Run() int {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	return pgtest.Run(r.m)
}

// The test binary is the program, where it is called by the program's name.
func TestMain(m *testing.M) {
	testscript.Main(runner{m}, map[string]func(){"lockkeeper": main})
}

// bound is far more than anything here takes.
const bound = 90 * time.Second

// quickExit: else each program with the race detector sleeps for a second when it ends.
const quickExit = "atexit_sleep_ms=50"

var databases atomic.Int64 // numbers them, so that their names differ

// TestScripts runs testdata/script against a real server. Each script has a database of its own, in LOCKKEEPER_DSN.
func TestScripts(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			name := "script" + strconv.FormatInt(databases.Add(1), 10)
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			if err := server.CreateDatabase(ctx, name); err != nil {
				return err
			}
			env.Setenv("LOCKKEEPER_DSN", server.DSNOf(name))
			env.Setenv("GORACE", quickExit)
			env.Setenv("TCPDSN", server.TCPDSNOf(name))
			env.Setenv("PASSWORD", server.Password())
			env.Setenv("DATABASE", name)
			env.Setenv("SOCKET", fmt.Sprintf("host=%s port=%d dbname=%s", server.SocketDir(), server.Port(), name))
			env.Values[databaseOf{}] = onServer{server, name}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    scriptStatus,
			"holders":   func(ts *testscript.TestScript, _ bool, args []string) { scriptCount(ts, args, true) },
			"waiters":   func(ts *testscript.TestScript, _ bool, args []string) { scriptCount(ts, args, false) },
			"terminate": scriptTerminate,
			"sql":       scriptSQL,
			"bouncer":   func(ts *testscript.TestScript, _ bool, args []string) { scriptBouncer(t, ts, args) },
		},
	})
}

type databaseOf struct{}

// onServer is a test's database.
type onServer struct {
	*pgserver.Server
	name string
}

// ask runs SQL in the database.
func (d onServer) ask(sql string) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	return d.Exec(ctx, sql)
}

// where is the condition of a key's lock in pg_locks. The id may be another's, of another database.
func (d onServer) where(key string) string {
	id := uint64(hashing.FNV1a(key))
	return fmt.Sprintf("%s AND objsubid = 1 AND classid = %d AND objid = %d", d.anywhere(), id>>32, id&0xffffffff)
}

// anywhere is the condition of the database's advisory locks.
func (d onServer) anywhere() string {
	return fmt.Sprintf("locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = '%s')", d.name)
}

// whether is the condition of locks that are held, or waited for.
func whether(granted bool) string { return fmt.Sprintf(" AND granted = %v", granted) }

// countOf is how many rows of pg_locks meet a condition.
func (d onServer) countOf(where string) (int, error) {
	rows, err := d.ask("SELECT count(*) FROM pg_locks WHERE " + where)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(rows[0][0])
}

// count is how many sessions hold a key, or wait for it.
func (d onServer) count(key string, granted bool) (int, error) {
	return d.countOf(d.where(key) + whether(granted))
}

// until waits until as many hold a key, or wait for it.
func (d onServer) until(key string, granted bool, want int) error {
	return d.untilThere(d.where(key)+whether(granted), want)
}

// untilThere waits until so many rows of pg_locks meet a condition.
func (d onServer) untilThere(where string, want int) error {
	for began := time.Now(); ; {
		got, err := d.countOf(where)
		if err != nil || got == want {
			return err
		}
		if time.Since(began) > bound {
			return fmt.Errorf("%d locks, want %d (%s)", got, want, where)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// untilFree waits until no advisory lock is left in the database: a backend may be slower than the process that has closed its connection.
func (d onServer) untilFree() error { return d.untilThere(d.anywhere(), 0) }

// terminate ends the sessions that hold a key, as an administrator would.
func (d onServer) terminate(key string) error {
	rows, err := d.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE granted AND " + d.where(key))
	if err == nil && len(rows) == 0 {
		err = errors.New("nobody holds " + key)
	}
	return err
}

func of(ts *testscript.TestScript) onServer {
	d, _ := ts.Value(databaseOf{}).(onServer)
	return d
}

// scriptStatus is "status N command...": it runs the command, which must end with that status.
func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if args[0] != strconv.Itoa(got) {
		ts.Fatalf("the exit status is %d, want %s", got, args[0])
	}
}

// scriptCount is "holders KEY N" and "waiters KEY N": it waits until there are so many.
func scriptCount(ts *testscript.TestScript, args []string, granted bool) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(of(ts).until(args[0], granted, want))
}

func scriptTerminate(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(of(ts).terminate(args[0]))
}

// scriptSQL is "sql STATEMENT", as the superuser in the script's database.
func scriptSQL(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	d := of(ts)
	conn, err := pgconn.Connect(ctx, d.DSNOf(d.name))
	ts.Check(err)
	defer func() { _ = conn.Close(ctx) }()
	ts.Check(conn.Exec(ctx, strings.Join(args, " ")).Close())
}

// scriptBouncer is "bouncer MODE": from here on LOCKKEEPER_DSN is that of a PgBouncer.
func scriptBouncer(t *testing.T, ts *testscript.TestScript, args []string) {
	d := of(ts)
	b := pgtest.NewBouncer(t, d.Server, d.name, map[string]string{"pool_mode": args[0], "server_reset_query": "DISCARD ALL"})
	ts.Setenv("LOCKKEEPER_DSN", b.DSN)
}

// program is lockkeeper, found as a script finds it.
func program(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("lockkeeper")
	if err != nil {
		t.Fatal(err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newDatabase is one of a test's own.
func newDatabase(t *testing.T) onServer {
	t.Helper()
	server, name := pgtest.NewDatabase(t)
	return onServer{server, name}
}

// environ is this process's without what names a server.
func environ(dsn string) []string {
	env := []string{"LOCKKEEPER_DSN=" + dsn, "GORACE=" + quickExit}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PG") && !strings.HasPrefix(entry, "DATABASE_URL=") && !strings.HasPrefix(entry, "GORACE=") && !strings.HasPrefix(entry, "LOCKKEEPER_") ||
			strings.HasPrefix(entry, "LOCKKEEPER_PG") {
			env = append(env, entry)
		}
	}
	return env
}
