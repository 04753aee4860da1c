package manager_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/manager"
)

// Each limit is an error of its own, counted, and over when there is room again.
func TestLimitsAreErrorsOfTheirOwn(t *testing.T) {
	m := open(t, manager.WithMaxLocksPerSession(3), manager.WithSharedSessions(1), manager.WithMaxSessions(2),
		manager.WithMaxWaiters(1))
	var locks []*manager.Lock
	for i := range 3 {
		locks = append(locks, acquire(t, m, fmt.Sprint("key ", i)))
	}
	_, err := m.Acquire(bounded(t), "one too many")
	wantIs(t, err, manager.ErrTooManyLocks, manager.ErrAttempts)
	_ = failure(t, err)
	own := acquire(t, m, "own", manager.WithDedicatedSession())
	_, err = m.TryAcquire(bounded(t), "own too", manager.WithDedicatedSession())
	wantIs(t, err, manager.ErrTooManySessions)
	release(t, own)
	eventually(t, "the session is given back", func() bool { return m.Stats().Sessions.Dedicated == 0 })
	own, err = m.TryAcquire(bounded(t), "own too", manager.WithDedicatedSession())
	if err != nil {
		t.Fatal(err)
	}
	release(t, own)
	waiting := acquiring(bounded(t), t, m, "key 0")
	_, err = m.Acquire(bounded(t), "key 0")
	wantIs(t, err, manager.ErrTooManyWaiters)
	if got, want := m.Stats().Refused, (manager.Refusals{Waiters: 1, Locks: 1, Sessions: 1}); got != want {
		t.Errorf("refused: %+v, want %+v", got, want)
	}
	release(t, locks[0])
	release(t, ended(t, "the grant", waiting).lock)
	release(t, acquire(t, m, "one too many"))
	release(t, locks[1])
	release(t, locks[2])
}

// The server's limits are told with its own words, and recovery needs nothing but room.
func TestTheServersLimitsAreErrorsOfTheirOwn(t *testing.T) {
	s := server(t)
	query(t, s, "DROP ROLE IF EXISTS lk_crowded")
	query(t, s, "CREATE ROLE lk_crowded LOGIN")
	config, err := pgx.ParseConfig(dsn(s))
	if err != nil {
		t.Fatal(err)
	}
	config.User = "lk_crowded"
	source, err := manager.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { query(t, s, "DROP ROLE lk_crowded") })
	m := openFrom(t, s, source, manager.WithRetry(manager.RetryPolicy{Attempts: 1,
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} }}))
	lock := acquire(t, m, "k")
	query(t, s, "ALTER ROLE lk_crowded CONNECTION LIMIT 1")
	_, err = m.Acquire(bounded(t), "own", manager.WithDedicatedSession())
	wantIs(t, err, manager.ErrTooManyConnections)
	var said *pgconn.PgError
	if !errors.As(err, &said) || said.Code != "53300" || !strings.Contains(err.Error(), said.Message) {
		t.Errorf("the server's own words are missing: %v", err)
	}
	if got, want := m.Stats().Refused, (manager.Refusals{Connections: 1}); got != want {
		t.Errorf("refused: %+v, want %+v", got, want)
	}
	wantHeld(t, lock)
	query(t, s, "ALTER ROLE lk_crowded CONNECTION LIMIT -1")
	release(t, acquire(t, m, "own", manager.WithDedicatedSession()))
	release(t, lock)
}

// A manager, and all that it gives, can be printed in any way.
func TestPrintingShowsNoSecret(t *testing.T) {
	s := server(t)
	m := openFrom(t, s, func() manager.Source {
		config, err := pgx.ParseConfig(dsn(s))
		if err != nil {
			t.Fatal(err)
		}
		config.Password = "s3cr3t"
		source, err := manager.FromConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return source
	}())
	lock := acquire(t, m, "k")
	_ = lock.Context()
	for _, v := range []any{m.Key("k"), m.Stats(), lock.Key(), m.Stats().Sessions} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, "s3cr3t") || strings.Contains(text, fmt.Sprintf("%x", "s3cr3t")) {
				t.Errorf("%s of a %T shows the password", verb, v)
			}
		}
	}
	release(t, lock)
}
