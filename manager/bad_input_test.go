package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Bad input gets a clear error and loses nothing.

func TestOpenSaysWhatIsWrong(t *testing.T) {
	s, database := pgtest.NewDatabase(t)
	leakFree(t, s)
	query(t, s, "CREATE ROLE lk_stranger LOGIN PASSWORD 'right'")
	t.Cleanup(func() { query(t, s, "DROP ROLE lk_stranger") })
	query(t, s, "REVOKE CONNECT ON DATABASE "+database+" FROM PUBLIC")
	at := func(user, database string) string {
		return "postgres://" + user + "@" + s.TCPAddr() + "/" + database + "?sslmode=disable&application_name=lk"
	}
	for name, c := range map[string]struct {
		dsn  string
		code string // SQLSTATE
		want string
	}{
		"an unreachable server":  {"postgres://127.0.0.1:1/x?sslmode=disable", "", "connection refused at 127.0.0.1:1"},
		"no such socket":         {"postgres:///x?host=/nowhere&sslmode=disable", "", "no such file"},
		"a wrong password":       {at("lk_stranger:wrong", "lockkeeper"), "28P01", "password authentication failed"},
		"an unknown role":        {at("lk_nobody:wrong", "lockkeeper"), "28P01", "lk_nobody"},
		"an unknown database":    {at("lk_stranger:right", "lk_nowhere"), "3D000", "lk_nowhere"},
		"a role without CONNECT": {at("lk_stranger:right", database), "42501", "permission denied for database"},
		"no DSN":                 {"what is this", "", "neither a postgres:// URL nor key=value"},
		"a port out of range":    {"postgres://127.0.0.1:99999/x", "", "port"},
	} {
		m, err := manager.Open(bounded(t), c.dsn)
		if err == nil {
			t.Errorf("%s: opened", name)
			closeNow(t, m)
			continue
		}
		if !strings.HasPrefix(err.Error(), "lockkeeper: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		var server *pgconn.PgError
		if errors.As(err, &server) != (c.code != "") || c.code != "" && server.Code != c.code {
			t.Errorf("%s: %v, want SQLSTATE %q", name, err, c.code)
		}
	}
}

func TestOpenReturnsWithItsContext(t *testing.T) {
	past, cancel := context.WithCancel(bounded(t))
	cancel()
	leakFree(t, server(t))
	_, err := manager.Open(past, dsn(server(t)))
	wantIs(t, err, context.Canceled)
	_, err = manager.Open(nil, dsn(server(t))) //nolint:staticcheck // that is the bad input
	wantIs(t, err, manager.ErrNilContext)
	if _, err = manager.New(bounded(t), nil); err == nil || !strings.Contains(err.Error(), "source of connections is nil") {
		t.Errorf("no source: %v", err)
	}
}

func TestBadOptionsNameTheField(t *testing.T) {
	leakFree(t, server(t))
	const bad = -time.Second
	for _, c := range []struct {
		field string
		opt   manager.Option
	}{
		{"WithHealth interval", manager.WithHealth(bad, time.Second)},
		{"WithHealth timeout", manager.WithHealth(time.Second, bad)},
		{"WithSessionTimeout", manager.WithSessionTimeout(bad)},
		{"WithSessionTimeout", manager.WithSessionTimeout(time.Second)}, // less than the trust
		{"WithSessionTimeout is 7.5s: it must be at least", manager.WithSessionTimeout(7500 * time.Millisecond)},
		{"WithSessionTimeout is 1000h0m0s: it must not be longer than", manager.WithSessionTimeout(1000 * time.Hour)},
		{"WithWaitSlice", manager.WithWaitSlice(bad)},
		{"WithConnectTimeout", manager.WithConnectTimeout(bad)},
		{"WithCloseTimeout", manager.WithCloseTimeout(bad)},
		{"WithIdleTime", manager.WithIdleTime(bad)},
		{"WithHandOffLimit time", manager.WithHandOffLimit(bad, 1)},
		{"WithHandOffLimit grants", manager.WithHandOffLimit(time.Second, -1)},
		{"WithIdleKeyTime", manager.WithIdleKeyTime(bad)},
		{"WithRestarts window", manager.WithRestarts(1, bad)},
		{"WithRestarts", manager.WithRestarts(-1, time.Second)},
		{"WithMaxWaiters", manager.WithMaxWaiters(-1)},
		{"WithMaxKeys", manager.WithMaxKeys(-1)},
		{"WithSharedSessions", manager.WithSharedSessions(-1)},
		{"WithWaitingSessions", manager.WithWaitingSessions(-1)},
		{"WithMaxSessions", manager.WithMaxSessions(-1)},
		{"WithMaxSessions", manager.WithMaxSessions(1)},
		{"RetryPolicy.Attempts", manager.WithRetry(manager.LinearRetry(-1, time.Second))},
		{"RetryPolicy.Attempts", manager.WithRetry(manager.LinearRetry(0, time.Second))},
		{"RetryPolicy.Attempts", manager.WithRetry(manager.RetryPolicy{PollFirst: true})},
		{"RetryPolicy.Backoff", manager.WithRetry(manager.LinearRetry(2, bad))},
		{"RetryPolicy.Backoff", manager.WithRetry(manager.LinearRetry(2, -1))}, // backoff.Stop
		{"RetryPolicy.Backoff", manager.WithRetry(manager.RetryPolicy{Attempts: 2})},
		{"WithApplicationName", manager.WithApplicationName("a\x00b")},
		{"WithApplicationName", manager.WithApplicationName("a\xffb")},
	} {
		m, err := manager.Open(bounded(t), dsn(server(t)), c.opt)
		if err == nil {
			t.Errorf("%s: opened", c.field)
			closeNow(t, m)
		} else if !strings.Contains(err.Error(), c.field+" ") {
			t.Errorf("the error does not name %s: %v", c.field, err)
		}
	}
}

// What a backoff gives is looked at when it is used, which is not before there is a pause.
func TestBadBackoffFailsItsAcquisition(t *testing.T) {
	s := server(t)
	negative := func() backoff.BackOff { return &backoff.ConstantBackOff{Interval: -2 * time.Second} }
	none := func() backoff.BackOff { return nil }
	for says, backoffs := range map[string]func() backoff.BackOff{"gave a pause of -2s": negative, "gave nil": none} {
		policy := manager.RetryPolicy{Attempts: 3, PollFirst: true, Backoff: backoffs}
		m, other := open(t, manager.WithRetry(policy)), open(t)
		mine, theirs := acquire(t, m, "mine"), acquire(t, other, "theirs") // free: nothing is asked of the backoff
		for _, opts := range [][]manager.AcquireOption{nil, {manager.WithRetryPolicy(policy)}} {
			_, err := m.Acquire(bounded(t), "theirs", opts...)
			if want := "RetryPolicy.Backoff " + says; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			_ = failure(t, err)
		}
		_, err := m.TryAcquire(bounded(t), "theirs") // which never pauses
		wantIs(t, err, manager.ErrNotAcquired)
		wantHeld(t, mine)
		release(t, theirs)
		release(t, acquire(t, m, "theirs"))
		release(t, mine)
		if got := held(t, s); len(got) != 0 {
			t.Errorf("held: %v", got)
		}
	}
}

func TestBadAcquire(t *testing.T) {
	s, m := server(t), open(t)
	guard := acquire(t, m, "guard")
	var none context.Context
	for name, c := range map[string]struct {
		ctx  context.Context
		key  string
		opt  manager.AcquireOption
		is   error
		says string
	}{
		"nil context":           {none, "k", manager.WithDetachedHold(), manager.ErrNilContext, "context is nil"},
		"empty key":             {bounded(t), "", manager.WithDetachedHold(), manager.ErrEmptyKey, "key is empty"},
		"negative wait timeout": {bounded(t), "k", manager.WithWaitTimeout(-1), nil, "WaitTimeout is -1ns"},
		"negative retry":        {bounded(t), "k", manager.WithRetryPolicy(manager.LinearRetry(-1, 1)), nil, "RetryPolicy.Attempts is -1"},
		"negative pause":        {bounded(t), "k", manager.WithRetryPolicy(manager.LinearRetry(2, -1)), nil, "RetryPolicy.Backoff"},
	} {
		for call, get := range map[string]func() error{
			"Acquire":        func() error { _, err := m.Acquire(c.ctx, c.key, c.opt); return err },
			"TryAcquire":     func() error { _, err := m.TryAcquire(c.ctx, c.key, c.opt); return err },
			"Key.Acquire":    func() error { _, err := m.Key(c.key).Acquire(c.ctx, c.opt); return err },
			"Key.TryAcquire": func() error { _, err := m.Key(c.key).TryAcquire(c.ctx, c.opt); return err },
			"Do": func() error {
				return m.Do(c.ctx, c.key, func(context.Context) error { t.Error("called"); return nil }, c.opt)
			},
		} {
			err := get()
			if err == nil || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s with %s: %v", call, name, err)
			}
		}
	}
	if got := held(t, s); len(got) != 1 {
		t.Errorf("held: %v", got)
	}
	wantHeld(t, guard)
	if err := guard.Release(none); err != nil { // no bound for the wait, and nothing else
		t.Error(err)
	}
	wantIs(t, m.Close(none), manager.ErrNilContext)
}

// Any bytes are a legal key, of any length, and no two of them are one.
func TestAnyBytesAreAKey(t *testing.T) {
	s, m := server(t), open(t)
	keys := []string{"\x00", "\x00\x00", "a\x00", "a\x00b", "a", "\xff", "\xff\xfe", "\xed\xa0\x80", "'; DROP TABLE x; --", "%s%n", "\n", " ",
		strings.Repeat("k", 1<<20), strings.Repeat("k", 1<<20) + "\x00"}
	for i := range keys {
		lock := acquire(t, m, keys[i])
		if lock.Key() != keys[i] {
			t.Errorf("key %d has changed", i)
		}
		_, err := m.TryAcquire(bounded(t), keys[i])
		wantIs(t, err, manager.ErrNotAcquired)
		if !strings.Contains(err.Error(), "acquire \"") || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\n") {
			t.Errorf("the text has raw bytes of the key: %.200q", err.Error())
		}
		defer release(t, lock)
	}
	if got := held(t, s); len(got) != len(keys) {
		t.Errorf("%d locks for %d keys", len(got), len(keys))
	}
}

func TestClose(t *testing.T) {
	s := server(t)
	m := open(t, manager.WithCloseTimeout(soon))
	holders := []*manager.Lock{acquire(t, m, "held"), acquire(t, m, "dedicated", manager.WithDedicatedSession())}
	var waiters []<-chan acquired
	for range 5 {
		waiters = append(waiters, acquiring(bounded(t), t, m, "held"), acquiring(bounded(t), t, m, "dedicated", manager.WithDedicatedSession()))
	}
	inside := holders[0].Context()
	eventually(t, "the connections that Open has closed are gone", func() bool { return connections(t, s) == m.Stats().Sessions.Total() })
	var wg sync.WaitGroup
	for range 10 { // at once, and twice each
		wg.Go(func() {
			for range 2 {
				if err := m.Close(bounded(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, w := range waiters {
		err := ended(t, "the waiter's answer", w).err
		wantIs(t, err, manager.ErrClosed)
		_ = failure(t, err)
	}
	wantIs(t, context.Cause(inside), manager.ErrClosed)
	for _, lock := range holders {
		if !isEnded(lock.Done()) {
			t.Error("the holder has not heard")
		}
		wantIs(t, lock.Err(), manager.ErrClosed)
		for range 2 {
			release(t, lock) // nil: Close has released it
		}
	}
	for name, call := range map[string]func() error{
		"Acquire":     func() error { _, err := m.Acquire(bounded(t), "k"); return err },
		"TryAcquire":  func() error { _, err := m.TryAcquire(bounded(t), "k"); return err },
		"Key.Acquire": func() error { _, err := m.Key("k").Acquire(bounded(t)); return err },
		"Do":          func() error { return m.Do(bounded(t), "k", func(context.Context) error { return nil }) },
	} {
		if err := call(); !errors.Is(err, manager.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if got := connections(t, s) + len(held(t, s)); got != 0 {
		t.Errorf("%d connections and locks are left", got)
	}
}

// Close returns with its context, and what is left ends by itself.
func TestCloseReturnsWithItsContext(t *testing.T) {
	s := breakable(t)
	m := openOn(t, s, manager.WithHealth(200*time.Millisecond, 3*time.Second))
	acquire(t, m, "k")
	thaw := freeze(t, s)
	past, cancel := context.WithCancel(bounded(t))
	cancel()
	err := m.Close(past)
	wantIs(t, err, context.Canceled)
	if !strings.Contains(fmt.Sprint(err), "still under way") {
		t.Error(err)
	}
	closeNow(t, m) // the server hangs all the while
	thaw()
}

// A manager that is closed is so for a call whose context has ended, too.
func TestCloseAgainWithAnEndedContext(t *testing.T) {
	m := open(t)
	closeNow(t, m)
	past, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // a select of two channels that are ready takes either
		if err := m.Close(past); err != nil {
			t.Fatal(err)
		}
	}
}

// Calls that come while the manager closes are answered, one way or the other.
func TestCloseUnderLoad(t *testing.T) {
	for round := range 5 {
		m := open(t)
		var wg sync.WaitGroup
		for g := range 50 {
			wg.Go(func() {
				for {
					err := m.Do(bounded(t), fmt.Sprint("key ", (g+round)%7), func(context.Context) error { return nil })
					if errors.Is(err, manager.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		eventually(t, "they are at it", func() bool { return m.Stats().GrantsServer > 20 })
		closeNow(t, m)
		wg.Wait()
	}
}
