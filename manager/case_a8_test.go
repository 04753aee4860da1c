package manager_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockkeeper/lockkeeper/manager"
)

// A8. No time to wait is one try: it does not wait without end, and says that there was no time.
func TestA8NoTimeToWait(t *testing.T) {
	m, other := open(t), open(t)
	ctx := bounded(t)
	theirs, err := other.Acquire(ctx, "theirs")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := m.Acquire(ctx, "ours")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(key string) error{
		"Acquire": func(key string) error {
			lock, err := m.Acquire(ctx, key, manager.WithWaitTimeout(0))
			if err == nil {
				release(t, lock)
			}
			return err
		},
		"dedicated": func(key string) error {
			lock, err := m.Acquire(ctx, key, manager.WithWaitTimeout(0), manager.WithDedicatedSession())
			if err == nil {
				release(t, lock)
			}
			return err
		},
		"Do": func(key string) error {
			return m.Do(ctx, key, func(context.Context) error { return nil }, manager.WithWaitTimeout(0))
		},
		"TryAcquire": func(key string) error {
			lock, err := m.TryAcquire(ctx, key, manager.WithWaitTimeout(0))
			if err == nil {
				release(t, lock)
			}
			return err
		},
	}
	for name, call := range calls {
		for _, key := range []string{"theirs", "ours"} {
			got, ok := inTime(t, name+" of a held key", fateOf(only(func() error { return call(key) })))
			if !ok {
				return
			}
			reason := manager.ErrWaitTimeout
			if name == "TryAcquire" {
				reason = manager.ErrNotAcquired
			}
			wantIs(t, got.err, reason)
			_ = failure(t, got.err)
			if errors.Is(got.err, manager.ErrWaitTimeout) == errors.Is(got.err, manager.ErrNotAcquired) {
				t.Errorf("%s of %s has both reasons: %v", name, key, got.err)
			}
		}
		if err := call("free"); err != nil {
			t.Errorf("%s of a free key: %v", name, err)
		}
	}
	release(t, theirs)
	release(t, ours)
}
