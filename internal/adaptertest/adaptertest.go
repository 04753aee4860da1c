// Package adaptertest gives the tests of adapters the servers that they need: locks in memory, PostgreSQL and Redis.
package adaptertest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// closeTimeout bounds what a test waits for at its end.
const closeTimeout = 30 * time.Second

// Main runs a package's tests and ends the process. It fails where goroutines are left after them, but for those of a host
// library that are named.
func Main(m *testing.M, leaks ...goleak.Option) {
	code := pgtest.Run(m)
	var left error
	for began := time.Now(); code == 0; { // one that is ending may wait for a processor
		if left = goleak.Find(leaks...); left == nil || time.Since(began) > closeTimeout {
			break
		}
	}
	if left != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left after all tests:", left)
		code = 1
	}
	os.Exit(code)
}

// Opener opens a manager, which stands for a process. It is closed at the end of the test.
type Opener func(opts ...manager.Option) *manager.Manager

// Each runs a test as two subtests: on a server in memory, and on an empty database of PostgreSQL.
func Each(t *testing.T, f func(t *testing.T, open Opener)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		server := locktest.NewServer()
		t.Cleanup(server.Close)
		f(t, OpenerOf(t, server.Open))
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := Database(t)
		f(t, OpenerOf(t, func(ctx context.Context, opts ...manager.Option) (*manager.Manager, error) {
			return manager.Open(ctx, dsn, opts...)
		}))
	})
}

// Database makes an empty database of PostgreSQL for a test.
func Database(tb testing.TB) (dsn string) {
	tb.Helper()
	server, name := pgtest.NewDatabase(tb)
	return server.DSNOf(name)
}

// OpenerOf makes an Opener that fails the test where open or Close does.
func OpenerOf(tb testing.TB, open locktest.Opener) Opener {
	return func(opts ...manager.Option) *manager.Manager {
		tb.Helper()
		m, err := open(tb.Context(), opts...)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), closeTimeout)
			defer cancel()
			if err := m.Close(ctx); err != nil {
				tb.Error(err)
			}
		})
		return m
	}
}

// Free fails the test unless the lock of a key can be had within half a minute. It is released again.
func Free(tb testing.TB, m *manager.Manager, key string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), closeTimeout)
	defer cancel()
	lock, err := m.Acquire(ctx, key)
	if err != nil {
		tb.Fatalf("the lock of %q is not free: %v", key, err)
	}
	if err := lock.Release(ctx); err != nil {
		tb.Fatal(err)
	}
}

// Receive gets a value from a channel within half a minute, or fails the test.
func Receive[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	limit := time.NewTimer(closeTimeout)
	defer limit.Stop()
	select {
	case v := <-from:
		return v
	case <-limit.C:
		tb.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
