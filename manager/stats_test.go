package manager_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

func TestStats(t *testing.T) {
	s, other := server(t), open(t)
	m := open(t, append(oneSlice(), manager.WithSharedSessions(1), manager.WithHandOffLimit(time.Hour, 1000), manager.WithIdleKeyTime(20*time.Millisecond))...)
	if got := m.Stats(); got.Keys != 0 || got.Attempts != 0 || got.Wait.Count != 0 || got.Losses == nil || got.Sessions.Total() != 1 {
		t.Errorf("at first: %+v", got)
	}

	one, dedicated := acquire(t, m, "one"), acquire(t, m, "dedicated", manager.WithDedicatedSession())
	theirs := acquire(t, other, "theirs")
	behind := acquiring(bounded(t), t, m, "one")
	waiting := acquiring(bounded(t), t, m, "theirs")
	eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
	got := m.Stats()
	if got.Keys != 3 || got.Held != 2 || got.Waiting != 2 || got.GrantsServer != 2 || got.GrantsLocal != 0 || got.Attempts < 4 { // more where it polled until there was a session to wait on
		t.Errorf("two held, two waiting: %+v", got)
	}
	if want := (manager.SessionStats{Shared: 1, Dedicated: 1, Waiting: 1}); got.Sessions != want || got.Sessions.Total() != 3 {
		t.Errorf("sessions %+v, want %+v", got.Sessions, want)
	}
	if got.Wait.Count != 2 || got.RoundTrip.Count < 2 || got.RoundTrip.P50 <= 0 || got.RoundTrip.Max < got.RoundTrip.P50 {
		t.Errorf("wait %+v, round trip %+v", got.Wait, got.RoundTrip)
	}

	release(t, one)
	first := ended(t, "the hand-off", behind)
	release(t, theirs)
	second := ended(t, "the grant", waiting)
	for _, got := range []acquired{first, second} {
		if got.err != nil {
			t.Fatal(got.err)
		}
	}
	if got := m.Stats(); got.Held != 3 || got.Waiting != 0 || got.GrantsLocal != 1 || got.GrantsServer != 3 {
		t.Errorf("all granted: %+v", got)
	}
	terminate(t, s, held(t, s)[dedicated.ID()])
	wantLost(t, dedicated)
	eventually(t, "one is counted as lost", func() bool {
		got := m.Stats()
		return got.Held == 2 && got.Losses["ended by the server"] == 1 && len(got.Losses) == 1
	})
	release(t, first.lock)
	release(t, second.lock)
	eventually(t, "unused keys retire", func() bool { return m.Stats().Keys == 0 })

	before := m.Stats().Wait.Count
	_, err := other.TryAcquire(bounded(t), "")
	wantIs(t, err, manager.ErrEmptyKey)
	if got := m.Stats().Wait.Count; got != before {
		t.Errorf("a call that was never made counts as a wait: %d", got)
	}
	closeNow(t, m)
	if got := m.Stats(); got.GrantsServer != 3 || got.Sessions.Total() != 0 || got.Keys != 0 {
		t.Errorf("after Close: %+v", got)
	}
}

func TestStatsOfBatches(t *testing.T) {
	m := open(t, manager.WithSharedSessions(1))
	const n = 300
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := m.Do(bounded(t), fmt.Sprint("key ", i), func(context.Context) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	closeNow(t, m)
	got := m.Stats()
	if b := got.Batches; b.Operations != 2*n || b.Count >= b.Operations || b.Count == 0 || b.Largest < 2 || uint64(b.Largest) > b.Operations {
		t.Errorf("%d locks and unlocks, and the batches are %+v", n, b)
	}
	if p := got.Wait; p.Count != n || p.P50 > p.P90 || p.P90 > p.P99 || p.P99 > p.P999 || p.P999 > p.Max || p.Max <= 0 {
		t.Errorf("wait: %+v", p)
	}
}

// Stats may be asked at any time, from anywhere, while everything else goes on.
func TestStatsUnderLoad(t *testing.T) {
	m := open(t)
	ctx, cancel := context.WithCancel(bounded(t))
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if got := m.Stats(); got.Held < 0 || got.Waiting < 0 || got.Keys < 0 || got.Sessions.Idle < 0 {
					t.Errorf("%+v", got)
					return
				}
			}
		})
	}
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for range 20 {
				if err := m.Do(bounded(t), fmt.Sprint("key ", g%5), func(context.Context) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	asking.Wait()
}
