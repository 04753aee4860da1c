package manager_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

func benchManager(b *testing.B) *manager.Manager {
	b.Helper()
	server, name := pgtest.NewDatabase(b)
	conn, err := pgx.Connect(b.Context(), server.DSNOf(name))
	if err != nil {
		b.Fatal(err)
	}
	if err = errors.Join(manager.Migrate(b.Context(), conn), conn.Close(b.Context())); err != nil {
		b.Fatal(err)
	}
	m, err := manager.Open(b.Context(), server.DSNOf(name))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return m
}

// A pair is an Acquire and a Release, as users write them.
func benchPairs(b *testing.B, callers int, acquire func(ctx context.Context, caller int) (*manager.Lock, error)) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	done := make(chan error, callers)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range callers {
		go func() {
			for n := i; n < b.N; n += callers {
				lock, err := acquire(ctx, i)
				if err == nil {
					err = lock.Release(ctx)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

// Each caller has a key of its own.
func BenchmarkDistinctKeys(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000} {
		names := make([]string, callers)
		for i := range names {
			names[i] = fmt.Sprintf("orders/%d", i)
		}
		b.Run(fmt.Sprintf("callers=%d/by=name", callers), func(b *testing.B) {
			m := benchManager(b)
			benchPairs(b, callers, func(ctx context.Context, i int) (*manager.Lock, error) { return m.Acquire(ctx, names[i]) })
		})
		b.Run(fmt.Sprintf("callers=%d/by=Key", callers), func(b *testing.B) {
			m := benchManager(b)
			keys := make([]manager.Key, callers)
			for i := range keys {
				keys[i] = m.Key(names[i])
			}
			benchPairs(b, callers, func(ctx context.Context, i int) (*manager.Lock, error) { return keys[i].Acquire(ctx) })
		})
	}
}

// All callers want one key.
func BenchmarkOneKey(b *testing.B) {
	m := benchManager(b)
	k := m.Key("orders/42")
	benchPairs(b, 100, func(ctx context.Context, _ int) (*manager.Lock, error) { return k.Acquire(ctx) })
}

// Work under a lock that asks for the hold's context, as most does.
func BenchmarkDo(b *testing.B) {
	m := benchManager(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Do(b.Context(), "orders/42", func(context.Context) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// The same with tokens: one more round trip and a commit, which those who draw at one time share.
func BenchmarkDistinctFencedKeys(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			m := benchManager(b)
			benchPairs(b, callers, func(ctx context.Context, caller int) (*manager.Lock, error) {
				return m.Acquire(ctx, fmt.Sprint("key ", caller), manager.WithToken())
			})
		})
	}
}

// BenchmarkBeginTx is a short transaction on the lock's session, beside the same on a connection of its own.
func BenchmarkBeginTx(b *testing.B) {
	ctx := b.Context()
	work := func(b *testing.B, begin func() (pgx.Tx, error)) {
		b.Helper()
		for b.Loop() {
			tx, err := begin()
			if err == nil {
				_, err = tx.Exec(ctx, "SELECT $1::int", 1)
			}
			if err == nil {
				err = tx.Commit(ctx)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("plain", func(b *testing.B) {
		server, name := pgtest.NewDatabase(b)
		conn, err := pgx.Connect(ctx, server.DSNOf(name))
		if err != nil {
			b.Fatal(err)
		}
		work(b, func() (pgx.Tx, error) { return conn.Begin(ctx) })
		_ = conn.Close(ctx)
	})
	b.Run("lock", func(b *testing.B) {
		m := benchManager(b)
		lock, err := m.Acquire(ctx, "tx", manager.WithDedicatedSession())
		if err != nil {
			b.Fatal(err)
		}
		work(b, func() (pgx.Tx, error) { return lock.BeginTx(ctx, pgx.TxOptions{}) })
	})
}
