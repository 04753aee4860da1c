package manager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Who waited in vain is told who is in the way, in whichever way the wait ended.
func TestTimeoutNamesTheHolder(t *testing.T) {
	s, m := server(t), open(t)
	other := open(t, manager.WithApplicationName("lk the holder"))
	theirs := acquire(t, other, "orders/42")
	pid := held(t, s)[theirs.ID()]

	const bound = 4 * time.Second
	deadline, cancel := context.WithTimeout(bounded(t), bound)
	defer cancel()
	calls := map[string]struct {
		ctx  context.Context
		opts []manager.AcquireOption
		want error
	}{
		"deadline":     {deadline, nil, context.DeadlineExceeded},
		"wait timeout": {bounded(t), []manager.AcquireOption{manager.WithWaitTimeout(bound)}, manager.ErrWaitTimeout},
	}
	var wg sync.WaitGroup
	for name, c := range calls {
		wg.Go(func() {
			_, err := m.Acquire(c.ctx, "orders/42", c.opts...)
			var e *manager.AcquireError
			if !errors.Is(err, c.want) || !errors.As(err, &e) {
				t.Errorf("%s: %v", name, err)
				return
			}
			if h := e.Holder; h == nil || h.Local || int(h.PID) != pid || h.ApplicationName != "lk the holder" || h.Since.IsZero() ||
				h.Seen.Before(h.Since) {
				t.Errorf("%s: holder %+v, want pid %d", name, e.Holder, pid)
			}
			if e.Waited < bound/8 || e.Key != "orders/42" || e.ID != theirs.ID() {
				t.Errorf("%s: %+v", name, e)
			}
			asked := "" // the second waiter has not asked
			if e.Attempts > 0 {
				asked = "attempt"
			}
			for _, part := range []string{`"orders/42"`, fmt.Sprint(theirs.ID()), "waited ", asked, fmt.Sprintf("pid %d", pid), `"lk the holder"`} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %v: it does not say %s", name, err, part)
				}
			}
		})
	}
	wg.Wait()
	release(t, theirs)
}

func TestLocalHolderIsNamed(t *testing.T) {
	s, m := server(t), open(t)
	mine := acquire(t, m, "k")
	_, err := m.Acquire(bounded(t), "k", manager.WithWaitTimeout(20*time.Millisecond))
	wantIs(t, err, manager.ErrWaitTimeout)
	e := failure(t, err)
	if h := e.Holder; h == nil || !h.Local || int(h.PID) != held(t, s)[mine.ID()] || h.Since.IsZero() {
		t.Errorf("holder %+v", h)
	}
	if !strings.Contains(err.Error(), "held by this process") {
		t.Error(err)
	}
	release(t, mine)
}

// safeBuffer is a log that several goroutines may write.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Whatever goes wrong, and however a DSN is malformed, the password is in no error, no log, and nothing under them.
func TestNoSecretIsShown(t *testing.T) {
	s := breakable(t)
	leakFree(t, s)
	const secret = "s3cr3t-of-a-role"
	query(t, s, "DROP ROLE IF EXISTS lk_secretive")
	query(t, s, "CREATE ROLE lk_secretive LOGIN PASSWORD '"+secret+"'")
	at := s.TCPAddr()
	host, port, _ := strings.Cut(at, ":")
	var log safeBuffer
	logger := manager.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	check := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", what)
			return
		}
		for _, text := range append(texts(err), log.String()) {
			if strings.Contains(text, "s3cr3t") || strings.Contains(text, "of-a-role") {
				t.Errorf("%s shows the password: %s", what, text)
			}
		}
	}
	for what, bad := range map[string]string{
		"a wrong database":       "postgres://lk_secretive:" + secret + "@" + at + "/nowhere?application_name=lk",
		"a wrong password":       "postgres://lk_secretive:" + secret + "x@" + at + "/lockkeeper?application_name=lk",
		"a wrong role":           "postgres://nobody:" + secret + "@" + at + "/lockkeeper?application_name=lk",
		"a wrong port":           "postgres://lk_secretive:" + secret + "@127.0.0.1:1/lockkeeper",
		"an unencoded slash":     "postgres://lk_secretive:" + secret + "/x@" + at + "/lockkeeper",
		"an unencoded at":        "postgres://lk_secretive:x@" + secret + "@" + at + "/lockkeeper",
		"an unencoded percent":   "postgres://lk_secretive:" + secret + "%zz@" + at + "/lockkeeper",
		"a bad sslmode":          "postgres://lk_secretive:" + secret + "@" + at + "/lockkeeper?sslmode=perhaps",
		"spaces around =":        "host = " + host + " port = " + port + " password = " + secret + " user=",
		"an unterminated quote":  "host=" + host + " password='" + secret,
		"a port that is a word":  "host=" + host + " port=" + secret,
		"neither form of a DSN":  secret,
		"a host that is unknown": "postgres://lk_secretive:" + secret + "@" + secret + ".invalid/lockkeeper?connect_timeout=2",
	} {
		ctx, cancel := context.WithTimeout(bounded(t), 5*time.Second)
		_, err := manager.Open(ctx, bad, logger)
		cancel()
		check(what, err)
	}

	config, err := pgx.ParseConfig("postgres://lk_secretive:" + secret + "@" + at + "/lockkeeper?sslmode=disable&application_name=lk")
	if err != nil {
		t.Fatal(err)
	}
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	m := openFrom(t, s, source, logger, manager.WithRetry(manager.LinearRetry(2, time.Millisecond)))
	lock := acquire(t, m, "k")
	start := stop(t, s)
	ended(t, "the loss", lock.Done())
	check("a loss", lock.Err())
	check("a release after a loss", lock.Release(bounded(t)))
	check("the lock's context", context.Cause(lock.Context()))
	_, err = m.Acquire(bounded(t), "k")
	check("a server that is gone", err)
	start()
	query(t, s, "ALTER ROLE lk_secretive PASSWORD 'another'")
	_, err = m.Acquire(bounded(t), "k")
	check("a password that was changed", err)
	closeNow(t, m)
	check("an acquire after Close", func() error { _, err := m.Acquire(bounded(t), "k"); return err }())
	query(t, s, "DROP ROLE lk_secretive")
	if !strings.Contains(log.String(), "session lost") || !strings.Contains(log.String(), "could not be opened") {
		t.Errorf("the log misses what happened: %s", log.String())
	}
}

// texts is an error's and those of all that it wraps, in the usual forms.
func texts(err error) []string {
	if err == nil {
		return nil
	}
	out := []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)}
	switch e := err.(type) { //nolint:errorlint // each link of the chain by itself
	case interface{ Unwrap() error }:
		out = append(out, texts(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			out = append(out, texts(err)...)
		}
	}
	return out
}

func TestKeyInErrorsIsShort(t *testing.T) {
	m := open(t)
	key := strings.Repeat("k", 1<<20)
	lock := acquire(t, m, key)
	_, err := m.TryAcquire(bounded(t), key)
	if text := err.Error(); len(text) > 500 || !strings.Contains(text, "(1048576 bytes)") {
		t.Errorf("%d bytes: %.600s", len(text), text)
	}
	if failure(t, err).Key != key {
		t.Error("the error does not have the whole key")
	}
	release(t, lock)
	closeNow(t, m)
}
