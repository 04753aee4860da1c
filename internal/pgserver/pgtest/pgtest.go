// Package pgtest gives tests a real PostgreSQL: one server shared by a test binary, or one of a test's own.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// startTimeout is generous: the machine may be busy with other packages' tests under the race detector.
const startTimeout = 2 * time.Minute

// shared is the one server of the test binary, started by the first test that asks.
var shared struct {
	once   sync.Once
	server *pgserver.Server
	err    error
}

var databases atomic.Int64 // numbers the databases, so that their names differ

// Run runs a package's tests, stops the shared server and returns the exit status. Call it from TestMain where a test
// of the package uses Shared or NewDatabase.
func Run(m *testing.M) int {
	code := m.Run()
	// Nobody starts a server from here on.
	shared.once.Do(func() { shared.err = errors.New("the tests are over") })
	if shared.server == nil {
		return code
	}
	if err := shared.server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: stop the shared server:", err)
		return max(code, 1)
	}
	return code
}

// Shared returns the server that all tests of this test binary share. A test must not stop or signal it. The test is
// skipped where this machine has no PostgreSQL, and fails where CI=true.
func Shared(tb testing.TB) *pgserver.Server {
	tb.Helper()
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		shared.server, shared.err = pgserver.Start(ctx, pgserver.Options{KeepConnection: true})
	})
	check(tb, shared.err)
	return shared.server
}

// New starts a server that belongs to the test alone and goes with it.
func New(tb testing.TB, o pgserver.Options) *pgserver.Server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	s, err := pgserver.Start(ctx, o)
	check(tb, err)
	closeAfter(tb, s)
	return s
}

// Standby starts a standby of a server; it goes with the test.
func Standby(tb testing.TB, primary *pgserver.Server) *pgserver.Server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	s, err := primary.Standby(ctx)
	check(tb, err)
	closeAfter(tb, s)
	return s
}

// NewDatabase makes an empty database on the shared server, drops it when the test ends, and returns its name for
// Server.DSNOf. Advisory locks of different databases do not meet, so such tests may run side by side.
func NewDatabase(tb testing.TB) (*pgserver.Server, string) {
	tb.Helper()
	s := Shared(tb)
	name := fmt.Sprintf("test_%d", databases.Add(1))
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	if err := s.CreateDatabase(ctx, name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if _, err := s.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Error(err)
		}
	})
	return s, name
}

func check(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case errors.Is(err, pgserver.ErrNoBinaries) && os.Getenv("CI") != "true":
		tb.Skip("this test needs a PostgreSQL server: ", err)
	default:
		tb.Fatal(err)
	}
}

func closeAfter(tb testing.TB, s *pgserver.Server) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
}
