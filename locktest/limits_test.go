package locktest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// What the server has not fails at once, and the error says that a database is needed.
func TestWhatNeedsADatabaseSaysSo(t *testing.T) {
	s := locktest.NewServer()
	t.Cleanup(s.Close)
	with := func(f func(ctx context.Context, m *manager.Manager) error, opts ...manager.Option) func(ctx context.Context) error {
		return func(ctx context.Context) (err error) {
			m, err := s.Open(ctx, opts...)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.Close(ctx)) }()
			return f(ctx, m)
		}
	}
	acquire := func(opts ...manager.AcquireOption) func(ctx context.Context, m *manager.Manager) error {
		return func(ctx context.Context, m *manager.Manager) error {
			_, err := m.Acquire(ctx, "k", opts...)
			return err
		}
	}
	begin := func(ctx context.Context, m *manager.Manager) error {
		lock, err := m.Acquire(ctx, "k", manager.WithDedicatedSession())
		if err != nil {
			return err
		}
		_, err = lock.BeginTx(ctx, pgx.TxOptions{})
		return errors.Join(err, lock.Release(ctx))
	}
	for name, f := range map[string]func(ctx context.Context) error{
		"WithToken": with(acquire(manager.WithToken())), "WithFencing": with(acquire(), manager.WithFencing()), "BeginTx": with(begin),
		"WithTakeoverDelay": with(acquire(), manager.WithTakeoverDelay(10*time.Second)), "WithTransactionPooler": with(acquire(), manager.WithTransactionPooler()),
	} {
		t.Run(name, func(t *testing.T) {
			if err := f(t.Context()); err == nil || !strings.Contains(err.Error(), "locktest") || !strings.Contains(err.Error(), name) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// The error of a wait names the holder as it has named itself.
func TestAHolderIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *locktest.Server, m *manager.Manager) {
		lock := acquire(t, m, "k")
		other, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = other.Acquire(t.Context(), "k", manager.WithWaitTimeout(time.Second))
		var failed *manager.AcquireError
		if !errors.As(err, &failed) || failed.Holder == nil || failed.Holder.ApplicationName != "billing" || time.Since(failed.Holder.Since) > time.Minute {
			t.Errorf("%v: %+v", err, failed.Holder)
		}
		if err := errors.Join(other.Close(t.Context()), lock.Release(t.Context())); err != nil {
			t.Error(err)
		}
	}, manager.WithApplicationName("billing"))
}
