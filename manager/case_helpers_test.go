package manager_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/manager"
)

// This file is for the tests of cases from the field: user code that misbehaves, and neighbours who must not notice.

// soon bounds a call that nothing may hold up. It is generous: what is held up here stays so until the test lets go.
const soon = 20 * time.Second

// plainRetry is the policy of those whose backoff behaves.
var plainRetry = manager.WithRetryPolicy(manager.LinearRetry(1000, time.Millisecond))

// deed is what user code does instead of its work.
type deed string

const (
	blocks deed = "blocks"
	panics deed = "panics"
	exits  deed = "exits"
)

// place is user code that a manager calls.
type place string

const (
	inConstructor place = "backoff constructor"
	inNextBackOff place = "NextBackOff"
	inEnabled     place = "slog Enabled"
	inHandle      place = "slog Handle"
	inLookup      place = "LookupFunc"
	inDial        place = "DialFunc"
	inAfter       place = "AfterConnect"
	inValidate    place = "ValidateConnect"
	inF           place = "f of Do"
)

var placesOfConnect = []place{inLookup, inDial, inAfter, inValidate}

// panicText is what user code panics with. The panic comes from the function named by panicFrame.
const (
	panicText  = "user code panics"
	panicFrame = "(*trap).at"
)

// trap is user code in all places. It works, until the test has it misbehave in one of them.
type trap struct {
	mu      sync.Mutex
	place   place
	deed    deed
	skip    int           // how many calls work before that
	times   int           // how many misdeeds are left; negative: no limit
	entered chan struct{} // closed at the first misdeed
	free    chan struct{} // closed by unblock
	records []string      // log messages handled
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	tr := &trap{free: make(chan struct{})}
	t.Cleanup(tr.unblock)
	return tr
}

// set makes every call of a place misbehave from now on. The channel is closed when the first one does.
func (tr *trap) set(p place, d deed) (entered <-chan struct{}) { return tr.setTimes(p, d, -1) }

func (tr *trap) setTimes(p place, d deed, times int) (entered <-chan struct{}) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.place, tr.deed, tr.skip, tr.times, tr.entered = p, d, 0, times, make(chan struct{})
	return tr.entered
}

// unset makes all places work again. Calls that block go on blocking.
func (tr *trap) unset() { tr.setTimes("", "", 0) }

// unblock is unset, and lets the blocked calls go on.
func (tr *trap) unblock() {
	tr.unset()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !isEnded(tr.free) {
		close(tr.free)
	}
}

// at is called by the user code in a place.
func (tr *trap) at(p place) {
	tr.mu.Lock()
	if tr.place != p || tr.times == 0 {
		tr.mu.Unlock()
		return
	}
	if tr.skip > 0 {
		tr.skip--
		tr.mu.Unlock()
		return
	}
	tr.times--
	if !isEnded(tr.entered) {
		close(tr.entered)
	}
	d := tr.deed
	tr.mu.Unlock()
	switch d {
	case blocks:
		<-tr.free
	case panics:
		panic(panicText)
	case exits:
		runtime.Goexit()
	}
}

// open gives a manager whose user code is all the trap's. A blocked place is let go before the manager is closed.
func (tr *trap) open(t *testing.T, s *pgserver.Server, opts ...manager.Option) *manager.Manager {
	t.Helper()
	m := openFrom(t, s, tr.source(t, s), append(tr.options(), opts...)...)
	t.Cleanup(tr.unblock)
	return m
}

func (tr *trap) options() []manager.Option {
	return []manager.Option{manager.WithLogger(slog.New(trapHandler{tr})),
		manager.WithRetry(manager.RetryPolicy{Attempts: 5, PollFirst: true, Backoff: tr.backoff})}
}

// source connects over TCP to a host with a name, so that LookupFunc is asked.
func (tr *trap) source(t *testing.T, s *pgserver.Server) manager.Source {
	t.Helper()
	config, err := pgx.ParseConfig(s.TCPDSN() + "&application_name=lk%20test")
	if err != nil {
		t.Fatal(err)
	}
	config.Host = "server.test"
	config.LookupFunc = func(context.Context, string) ([]string, error) {
		tr.at(inLookup)
		return []string{"127.0.0.1"}, nil
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		tr.at(inDial)
		return new(net.Dialer).DialContext(context.WithoutCancel(ctx), network, addr)
	}
	config.AfterConnect = func(context.Context, *pgconn.PgConn) error { tr.at(inAfter); return nil }
	config.ValidateConnect = func(context.Context, *pgconn.PgConn) error { tr.at(inValidate); return nil }
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func (tr *trap) backoff() backoff.BackOff {
	tr.at(inConstructor)
	return trapBackoff{tr}
}

type trapBackoff struct{ tr *trap }

func (b trapBackoff) NextBackOff() time.Duration {
	b.tr.at(inNextBackOff)
	return time.Millisecond
}

func (trapBackoff) Reset() {}

type trapHandler struct{ tr *trap }

func (h trapHandler) Enabled(context.Context, slog.Level) bool { h.tr.at(inEnabled); return true }
func (h trapHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h trapHandler) WithGroup(string) slog.Handler            { return h }

func (h trapHandler) Handle(_ context.Context, r slog.Record) error {
	h.tr.at(inHandle)
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	h.tr.mu.Lock()
	defer h.tr.mu.Unlock()
	h.tr.records = append(h.tr.records, text)
	return nil
}

// logged is what was logged so far.
func (tr *trap) logged() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.records)
}

// fate is how a call ended: it returned, it panicked, or its goroutine exited.
type fate[T any] struct {
	value    T
	err      error
	panicked any
	exited   bool
}

func (f *fate[T]) String() string {
	return fmt.Sprintf("error %v, panic %v, exited %t", f.err, f.panicked, f.exited)
}

// fateOf runs a call on a goroutine of its own.
func fateOf[T any](call func() (T, error)) <-chan *fate[T] {
	out := make(chan *fate[T], 1)
	go func() {
		got, returned := new(fate[T]), false
		defer func() {
			if !returned {
				got.panicked = recover()
				got.exited = got.panicked == nil
			}
			out <- got
		}()
		got.value, got.err = call()
		returned = true
	}()
	return out
}

// only is for calls that give an error alone.
func only(call func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, call() }
}

// inTime waits for what nothing may hold up, and reports whether it came.
func inTime[T any](t *testing.T, what string, c <-chan T) (v T, ok bool) {
	t.Helper()
	select {
	case v = <-c:
		return v, true
	case <-time.After(soon):
		t.Errorf("did not come within %v: %s", soon, what)
		return v, false
	}
}

// prompt makes a call that must return, whatever others do, and gives its error.
func prompt(t *testing.T, what string, call func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	select {
	case got := <-fateOf(only(func() error { return call(ctx) })):
		if got.panicked != nil || got.exited {
			t.Fatalf("%s: %v", what, got)
		}
		return got.err
	case <-time.After(2 * soon):
		t.Fatalf("%s: the call has not returned %v after the end of its context", what, soon)
		return nil
	}
}

// takeAndRelease takes a key and releases it, both without delay.
func takeAndRelease(t *testing.T, m *manager.Manager, key string, opts ...manager.AcquireOption) {
	t.Helper()
	err := prompt(t, "take and release "+key, func(ctx context.Context) error {
		lock, err := m.Acquire(ctx, key, opts...)
		if err != nil {
			return err
		}
		return lock.Release(ctx)
	})
	if err != nil {
		t.Errorf("take and release %s: %v", key, err)
	}
}

// tryAndFail wants a key to be another's.
func tryAndFail(t *testing.T, m *manager.Manager, key string) {
	t.Helper()
	err := prompt(t, "try "+key, func(ctx context.Context) error {
		lock, err := m.TryAcquire(ctx, key, plainRetry)
		if err == nil {
			t.Errorf("%s was granted while it is another's", key)
			return lock.Release(ctx)
		}
		return err
	})
	if err != nil && !errors.Is(err, manager.ErrNotAcquired) {
		t.Errorf("try %s: %v", key, err)
	}
}

// closesNow closes a manager, and wants nothing to hold that up.
func closesNow(t *testing.T, m *manager.Manager) {
	t.Helper()
	if err := prompt(t, "close", m.Close); err != nil {
		t.Errorf("close: %v", err)
	}
}

// askedAgain waits until a backend has been sent n more statements, and reports false where over came first.
func askedAgain(t *testing.T, s *pgserver.Server, pid, n int, over func() bool) bool {
	t.Helper()
	last, changes := "", -1
	eventually(t, fmt.Sprintf("backend %d is asked %d times", pid, n), func() bool {
		if over() {
			return true
		}
		rows := query(t, s, fmt.Sprintf("SELECT query_start FROM pg_stat_get_activity(%d)", pid))
		if len(rows) == 1 && rows[0][0] != last {
			last = rows[0][0]
			changes++
		}
		return changes >= n
	})
	return changes >= n
}
