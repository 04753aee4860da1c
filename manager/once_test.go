package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/manager"
)

// wrongClock is a clock that stands still, and is wrong.
type wrongClock struct{ at atomic.Pointer[time.Time] }

// noonAnd is such a clock, at some time after noon.
func noonAnd(minute, second int) *wrongClock {
	c := &wrongClock{}
	c.set(12, minute, second)
	return c
}

func (c *wrongClock) set(hour, minute, second int) {
	at := time.Date(2026, 3, 29, hour, minute, second, 0, time.UTC)
	c.at.Store(&at)
}

func (c *wrongClock) option() manager.Option {
	return manager.WithClock(func() time.Time { return *c.at.Load() })
}

func did(ran *int) func(context.Context) error {
	return func(context.Context) error { *ran++; return nil }
}

// Two replicas, one of which is two seconds behind.
func TestOnceInAPeriod(t *testing.T) {
	s := server(t)
	right, late := noonAnd(0, 0), noonAnd(0, 0) // each calls when it reads twelve
	one := openOn(t, s, right.option(), manager.WithApplicationName("lk one"))
	two := openOn(t, s, late.option())
	ctx, ran := bounded(t), 0
	if err := one.Once(ctx, "report", time.Hour, did(&ran)); err != nil || ran != 1 {
		t.Fatalf("the first: %v, and f ran %d times", err, ran)
	}
	err := two.Once(ctx, "report", time.Hour, did(&ran))
	wantIs(t, err, manager.ErrAlreadyRun, manager.ErrNotAcquired)
	if h := failure(t, err).Holder; ran != 1 || h == nil || h.ApplicationName != "lk one" || h.Local {
		t.Errorf("the second: f ran %d times; told of %+v in %q", ran, h, err)
	}
	if text := err.Error(); !strings.Contains(text, `acquire "report@2026-03-29T12:00:00Z"`) || !strings.Contains(text, "already run in this period") {
		t.Errorf("the error does not tell the period: %v", err)
	}
	err = one.Once(ctx, "report", time.Hour, did(&ran))
	wantIs(t, err, manager.ErrAlreadyRun)
	if h := failure(t, err).Holder; ran != 1 || h == nil || !h.Local {
		t.Errorf("the first again: f ran %d times; told of %+v", ran, h)
	}
	// One second before the period is over on the slower clock.
	late.set(12, 59, 59)
	wantIs(t, two.Once(ctx, "report", time.Hour, did(&ran)), manager.ErrAlreadyRun)
	// The next period is another's, whatever the last one's lock does; so are another key and another length.
	late.set(13, 0, 0)
	for key, period := range map[string]time.Duration{"report": time.Hour, "mail": 24 * time.Hour} {
		if err := two.Once(ctx, key, period, did(&ran)); err != nil {
			t.Error(err)
		}
	}
	if ran != 3 {
		t.Errorf("f ran %d times in all, should be 3", ran)
	}
}

// The lock is kept until the slowest clock has left the period: f returned long ago.
func TestOnceKeepsTheLockForTheSlowestClock(t *testing.T) {
	s, ran := server(t), 0
	clock := noonAnd(59, 59)
	one := openOn(t, s, clock.option(), manager.WithClockSkew(time.Second))
	granted := time.Now()
	if err := one.Once(bounded(t), "report", time.Hour, did(&ran)); err != nil {
		t.Fatal(err)
	}
	two := openOn(t, s, clock.option())
	for {
		err := two.Once(bounded(t), "report", time.Hour, did(&ran))
		if passed := time.Since(granted); err == nil && passed < 2*time.Second {
			t.Fatalf("f ran again after %v: one second to the end of the period, and one for the clocks, are two", passed)
		} else if err == nil {
			return
		}
		wantIs(t, err, manager.ErrAlreadyRun)
	}
}

func TestOnceThatFailsHasRun(t *testing.T) {
	m, broken, ran := open(t, noonAnd(0, 0).option()), errors.New("the printer burns"), 0
	err := m.Once(bounded(t), "report", time.Hour, func(ctx context.Context) error {
		wantIs(t, m.Once(ctx, "report", time.Hour, did(&ran)), manager.ErrHeld) // f itself is not told that somebody else has run
		return broken
	})
	wantIs(t, err, broken)
	wantIs(t, m.Once(bounded(t), "report", time.Hour, did(&ran)), manager.ErrAlreadyRun)
	if errors.Is(err, manager.ErrAlreadyRun) || ran != 0 {
		t.Errorf("f ran %d times after it had failed: %v", ran, err)
	}
}

func TestPeriodOf(t *testing.T) {
	m := open(t, noonAnd(34, 56).option())
	err := m.Once(bounded(t), "report", 30*time.Minute, func(ctx context.Context) error {
		begin, ok := manager.PeriodOf(ctx)
		if want := time.Date(2026, 3, 29, 12, 30, 0, 0, time.UTC); !ok || !begin.Equal(want) {
			t.Errorf("the period began at %v, %v; it did at %v", begin, ok, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, ok := manager.PeriodOf(t.Context()); ok {
		t.Error("there is a period where Once is not")
	}
}

// The end of the holder's session ends the period for it: the next caller runs f again.
func TestOnceAfterALostSession(t *testing.T) {
	s, ran := server(t), 0
	clock := noonAnd(0, 0)
	one, two := openOn(t, s, clock.option()), openOn(t, s, clock.option())
	k := one.Key("report@2026-03-29T12:00:00Z").ID()
	if err := one.Once(bounded(t), "report", time.Hour, did(&ran)); err != nil {
		t.Fatal(err)
	}
	terminate(t, s, held(t, s)[k])
	eventually(t, "the lock is free", func() bool { return held(t, s)[k] == 0 })
	if err := two.Once(bounded(t), "report", time.Hour, did(&ran)); err != nil || ran != 2 {
		t.Errorf("after the session was lost: %v, and f ran %d times, should be twice", err, ran)
	}
	// And while f runs it is told, as by Do.
	err := one.Once(bounded(t), "mail", time.Hour, func(ctx context.Context) error {
		terminate(t, s, held(t, s)[one.Key("mail@2026-03-29T12:00:00Z").ID()])
		<-ctx.Done()
		return nil
	})
	wantIs(t, err, manager.ErrLost)
}

func TestOnceRefusesBadInput(t *testing.T) {
	m, ran := open(t), 0
	for _, row := range []struct {
		ctx    context.Context
		key    string
		period time.Duration
		opts   []manager.AcquireOption
		want   string
	}{
		{t.Context(), "k", 0, nil, "the period of Once is 0s: it must be positive"},
		{t.Context(), "k", -time.Hour, nil, "the period of Once is -1h0m0s: it must be positive"},
		{t.Context(), "", time.Hour, nil, manager.ErrEmptyKey.Error()},
		{nil, "k", time.Hour, nil, manager.ErrNilContext.Error()},
		{t.Context(), "k", time.Hour, []manager.AcquireOption{manager.WithMinHold(-1)}, ""}, // Once keeps it for longer
	} {
		err := m.Once(row.ctx, row.key, row.period, did(&ran), row.opts...)
		if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) || row.want == "" && err != nil {
			t.Errorf("Once(%q, %v): %v, should say %q", row.key, row.period, err, row.want)
		}
	}
	if ran != 1 {
		t.Errorf("f ran %d times", ran)
	}
	if _, err := m.Acquire(t.Context(), "k", manager.WithMinHold(-1)); err == nil || !strings.Contains(err.Error(), "WithMinHold is -1ns: it must not be negative") {
		t.Errorf("a minimum hold of -1ns: %v", err)
	}
	if _, err := manager.Open(t.Context(), dsn(server(t)), manager.WithClockSkew(-1)); err == nil ||
		!strings.Contains(fmt.Sprint(err), "WithClockSkew is -1ns") {
		t.Errorf("a clock skew of -1ns: %v", err)
	}
}

// Two callers in one process, of which the first asks a server that does not answer: the second is not told that somebody has run, since nobody has.
func TestOnceIsNotToldOfACallerThatFails(t *testing.T) {
	s, ran := breakable(t), 0
	m := openOn(t, s, noonAnd(0, 0).option(), manager.WithHealth(time.Second, time.Second), manager.WithConnectTimeout(time.Second))
	thaw := freeze(t, s)
	once := func() <-chan *fate[struct{}] {
		return fateOf(only(func() error { return m.Once(bounded(t), "report", time.Hour, did(&ran)) }))
	}
	first := once()
	eventually(t, "the first waits for the server", func() bool { return m.Stats().Waiting == 1 })
	second := once()
	wantOutage(t, ended(t, "the first", first).err)
	thaw()
	// The server itself may say so: a backend that has yet to notice that its client is gone may have the lock.
	if err := ended(t, "the second", second).err; errors.Is(err, manager.ErrAlreadyRun) && failure(t, err).Attempts == 0 {
		t.Errorf("nobody has run, and the second is told: %v", err)
	}
	var err error
	eventually(t, "f has run", func() bool {
		err = m.Once(bounded(t), "report", time.Hour, did(&ran))
		return ran > 0 || !errors.Is(err, manager.ErrAlreadyRun)
	})
	if ran != 1 || err != nil && !errors.Is(err, manager.ErrAlreadyRun) {
		t.Errorf("f ran %d times in all: %v", ran, err)
	}
}
