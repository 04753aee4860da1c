package manager_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// diary is an observer that writes down what it is told.
type diary struct {
	mu       sync.Mutex
	acquired []*manager.Acquisition
	ended    []*manager.Hold
}

type spanKey struct{}

func (*diary) Begin(ctx context.Context) any { return ctx.Value(spanKey{}) }

func (d *diary) Acquired(a *manager.Acquisition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acquired = append(d.acquired, a)
	if a.Hold != nil {
		a.Hold.Data = len(d.acquired)
	}
}

func (d *diary) Ended(h *manager.Hold) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.Data == nil {
		panic("the end came before the beginning")
	}
	d.ended = append(d.ended, h)
}

// last waits for the n-th event of each kind, and returns it.
func (d *diary) last(t *testing.T, acquired, ended int) (a *manager.Acquisition, h *manager.Hold) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d acquisitions and %d ends are told", acquired, ended), func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.acquired) > acquired || len(d.ended) > ended {
			t.Fatalf("%d acquisitions and %d ends are told, should be %d and %d", len(d.acquired), len(d.ended), acquired, ended)
		}
		return len(d.acquired) == acquired && len(d.ended) == ended
	})
	if acquired > 0 {
		a = d.acquired[acquired-1]
	}
	if ended > 0 {
		h = d.ended[ended-1]
	}
	return a, h
}

func TestObserverIsToldOfEachAcquisitionAndEachEnd(t *testing.T) {
	d := &diary{}
	s := server(t)
	m := openOn(t, s, manager.WithObserver(d))
	ctx := context.WithValue(bounded(t), spanKey{}, "a span")

	begin := time.Now()
	lock, err := m.Acquire(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := d.last(t, 1, 0)
	if a.About != "a span" || a.Key != "k" || a.ID != lock.ID() || a.Keys != 1 || a.Shared || a.Leads || a.Slots != 0 || a.Err != nil || a.Local {
		t.Errorf("%+v", a)
	}
	if a.Begin.Before(begin) || a.End.Before(a.Begin) || a.Hold.Begin.Before(a.Begin) || a.Hold.Begin.After(a.End) || !a.Hold.End.IsZero() {
		t.Errorf("%+v, %+v", a, a.Hold)
	}
	_, err = m.TryAcquire(ctx, "k")
	wantIs(t, err, manager.ErrNotAcquired)
	if a, _ := d.last(t, 2, 0); a.Err != err || a.Hold != nil { //nolint:errorlint // the caller's own
		t.Errorf("%+v", a)
	}
	release(t, lock)
	if _, h := d.last(t, 2, 1); h != a.Hold || !errors.Is(h.Err, manager.ErrReleased) || h.End.Before(h.Begin) {
		t.Errorf("%+v", h)
	}

	for i, kind := range []struct {
		name  string
		run   func() error
		fits  func(a *manager.Acquisition) bool
		cause error
	}{
		{"Do", func() error { return m.Do(ctx, "k", func(context.Context) error { return nil }) },
			func(a *manager.Acquisition) bool { return a.Key == "k" }, manager.ErrReleased},
		{"Key", func() error {
			lock, err := m.Key("k").Acquire(ctx)
			return errors.Join(err, lock.Release(ctx))
		}, func(a *manager.Acquisition) bool { return a.Key == "k" }, manager.ErrReleased},
		{"shared", func() error { return m.DoShared(ctx, "k", func(context.Context) error { return nil }) },
			func(a *manager.Acquisition) bool { return a.Shared }, manager.ErrReleased},
		{"set", func() error {
			set, err := m.AcquireAll(ctx, "k", "l", "m")
			return errors.Join(err, set.Release(ctx))
		}, func(a *manager.Acquisition) bool { return a.Keys == 3 }, manager.ErrReleased},
		{"slot", func() error { return m.DoSlot(ctx, "k", 3, func(context.Context) error { return nil }) },
			func(a *manager.Acquisition) bool { return a.Slots == 3 && a.Key == "k" }, manager.ErrReleased},
		{"Once", func() error { return m.Once(ctx, "k", time.Hour, func(context.Context) error { return nil }) },
			func(a *manager.Acquisition) bool { return a.Key != "" }, manager.ErrReleased},
		{"Elect", func() error { return m.Elect(ctx, "k", func(context.Context) error { return nil }) },
			func(a *manager.Acquisition) bool { return a.Leads }, manager.ErrReleased},
		{"lost", func() error {
			lock, err := m.Acquire(ctx, "k")
			if err == nil {
				terminate(t, s, held(t, s)[lock.ID()])
				<-lock.Done()
			}
			return err
		}, func(a *manager.Acquisition) bool { return a.Key == "k" }, manager.ErrLost},
		{"ended by the context", func() error {
			ctx, cancel := context.WithCancel(ctx)
			_, err := m.Acquire(ctx, "k")
			cancel()
			return err
		}, func(a *manager.Acquisition) bool { return a.About == "a span" }, context.Canceled},
	} {
		if err := kind.run(); err != nil {
			t.Errorf("%s: %v", kind.name, err)
		}
		a, h := d.last(t, 3+i, 2+i)
		if h != a.Hold || !kind.fits(a) || !errors.Is(h.Err, kind.cause) {
			t.Errorf("%s: %+v, %+v", kind.name, a, h)
		}
	}
	if got := m.Stats(); got.ObserverDropped != 0 || got.HoldBuckets.Count == 0 || got.WaitBuckets.Count == 0 {
		t.Errorf("%+v", got)
	}
}

// A set has ended with ErrLost, whichever of its locks is lost.
func TestObserverIsToldOfALostSet(t *testing.T) {
	d := &diary{}
	s := server(t)
	m := openOn(t, s, manager.WithObserver(d), manager.WithMaxLocksPerSession(2)) // so that the locks are on different sessions
	for i := range 4 {
		set := acquireAll(t, m, "a", "b", "c", "d")
		terminate(t, s, held(t, s)[m.Key(set.Keys()[i]).ID()])
		ended(t, "the end of the hold", set.Done())
		if _, h := d.last(t, i+1, i+1); !errors.Is(h.Err, manager.ErrLost) {
			t.Errorf("%+v", h)
		}
		eventually(t, "all is released", func() bool { return len(held(t, s)) == 0 })
	}
}

// stuck is an observer that never returns.
type stuck struct{ until chan struct{} }

func (stuck) Begin(context.Context) any       { return nil }
func (s stuck) Acquired(*manager.Acquisition) { <-s.until }
func (stuck) Ended(*manager.Hold)             {}
func (s stuck) free()                         { close(s.until) }

// An observer that blocks costs events, and nothing else.
func TestObserverThatBlocksHoldsNobodyUp(t *testing.T) {
	o := stuck{make(chan struct{})}
	m, err := manager.Open(bounded(t), dsn(server(t)), manager.WithObserver(o))
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		release(t, acquire(t, m, "k"))
	}
	if n := m.Stats().ObserverDropped; n == 0 {
		t.Error("nothing was dropped")
	}
	if err := m.Close(bounded(t)); err != nil {
		t.Error(err)
	}
	o.free()
}

// faulty is an observer whose calls panic, or end their goroutine.
type faulty struct{ diary }

func (f *faulty) Acquired(*manager.Acquisition) { panic("injected") }
func (f *faulty) Ended(*manager.Hold)           { runtime.Goexit() }

func TestObserverThatFailsIsCounted(t *testing.T) {
	m := open(t, manager.WithObserver(&faulty{}))
	for range 3 {
		release(t, acquire(t, m, "k"))
	}
	eventually(t, "each failure is counted", func() bool { return m.Stats().ObserverDropped == 6 })
}

// The histograms count what the percentiles count.
func TestStatsHaveHistograms(t *testing.T) {
	m := open(t)
	for range 20 {
		release(t, acquire(t, m, "k"))
	}
	eventually(t, "the ends are counted", func() bool { return m.Stats().HoldBuckets.Count == 20 })
	got := m.Stats()
	for name, b := range map[string]manager.Buckets{"wait": got.WaitBuckets, "hold": got.HoldBuckets} {
		if b.Count != 20 || len(b.Counts) != len(b.Bounds) || !slices.IsSorted(b.Counts) || !slices.IsSorted(b.Bounds) || b.Sum <= 0 ||
			b.Counts[len(b.Counts)-1] != 20 {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if got.Wait.Count != got.WaitBuckets.Count {
		t.Errorf("%+v", got)
	}
}
