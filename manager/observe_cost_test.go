package manager_test

import (
	"context"
	"testing"

	"github.com/lockkeeper/lockkeeper/locktest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// silent is an observer that does nothing.
type silent struct{}

func (silent) Begin(context.Context) any     { return nil }
func (silent) Acquired(*manager.Acquisition) {}
func (silent) Ended(*manager.Hold)           {}

// pairs gives a pair of an acquisition and a release that asks no server: the lock is shared with a holder in the process.
func pairs(t testing.TB, opts ...manager.Option) (pair func()) {
	t.Helper()
	m := locktest.Open(t, opts...)
	k, ctx := m.Key("k"), t.Context()
	if _, err := k.AcquireShared(ctx); err != nil {
		t.Fatal(err)
	}
	return func() {
		lock, err := k.AcquireShared(ctx)
		if err == nil {
			err = lock.Release(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Without an observer an acquisition allocates what it did before there were observers: its lock, its claim, and the registrations with the context.
func TestWithoutAnObserverNothingIsSpent(t *testing.T) {
	const before = 4
	for name, opts := range map[string][]manager.Option{"no option": nil, "a nil observer": {manager.WithObserver(nil)}} {
		if got := testing.AllocsPerRun(1000, pairs(t, opts...)); got > before {
			t.Errorf("%s: %v allocations, should be %d", name, got, before)
		}
	}
	if got := testing.AllocsPerRun(1000, pairs(t, manager.WithObserver(silent{}))); got > 2*before {
		t.Errorf("with an observer: %v allocations, should be %d", got, 2*before)
	}
}

// What an observer costs an acquisition that asks no server. Beside a round trip it is little.
func BenchmarkObserver(b *testing.B) {
	for name, opts := range map[string][]manager.Option{"none": nil, "silent": {manager.WithObserver(silent{})}} {
		b.Run(name, func(b *testing.B) {
			pair := pairs(b, opts...)
			b.ReportAllocs()
			for b.Loop() {
				pair()
			}
		})
	}
}
