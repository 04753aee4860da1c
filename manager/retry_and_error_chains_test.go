package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/manager"
)

// recorded is a policy that remembers each pause that it gave.
type recorded struct {
	mu     sync.Mutex
	pauses []time.Duration
}

func (r *recorded) policy(p manager.RetryPolicy) manager.RetryPolicy {
	inner := p.Backoff
	p.Backoff = func() backoff.BackOff { return recording{inner(), r} }
	return p
}

type recording struct {
	backoff.BackOff
	to *recorded
}

func (r recording) NextBackOff() time.Duration {
	d := r.BackOff.NextBackOff()
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	r.to.pauses = append(r.to.pauses, d)
	return d
}

// take is what was recorded since the last take.
func (r *recorded) take() (pauses []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pauses, r.pauses = r.pauses, nil
	return pauses
}

// attempts is a policy of so many attempts that may fail, with short pauses.
func attempts(n int) manager.RetryPolicy {
	return manager.RetryPolicy{Attempts: n, Backoff: manager.LinearRetry(n, time.Millisecond).Backoff}
}

// oneSlice are options with which a wait is one statement, so that it stays in the server's queue.
func oneSlice() []manager.Option {
	return []manager.Option{manager.WithWaitSlice(20 * time.Second), manager.WithHealth(30*time.Second, 5*time.Second)}
}

// Of n attempts n-1 ask, with pauses of one, two, three steps between them, and the last waits in the server's queue.
func TestLinearRetry(t *testing.T) {
	s := server(t)
	const step = 20 * time.Millisecond
	for n := 1; n <= 5; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var done steps
			var pauses recorded
			other := open(t)
			m := open(t, append(oneSlice(), done.record(), manager.WithRetry(pauses.policy(manager.LinearRetry(n, step))))...)
			pauses.take() // Open looks at one
			release(t, acquire(t, m, "a session of its own lies ready", manager.WithDedicatedSession()))
			before := len(done.of("try", "poll", "wait"))

			theirs := acquire(t, other, "k")
			waiting := acquiring(bounded(t), t, m, "k")
			eventually(t, "the last attempt waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
			asked := done.of("try", "poll", "wait")[before:]
			if asked[len(asked)-1] != "wait" || slices.Index(asked, "wait") != len(asked)-1 {
				t.Errorf("asked: %v", asked)
			}
			given := pauses.take()
			asked = slices.DeleteFunc(asked, func(step string) bool { return step == "poll" }) // until there is a session
			if tries := len(asked) - 1; tries != n-1 || len(given) != max(n-2, 0) {
				t.Errorf("%d tries with the pauses %v, want %d", tries, given, n-1)
			}
			for i, d := range given {
				if d != time.Duration(i+1)*step {
					t.Errorf("pauses %v", given)
				}
			}
			release(t, theirs)
			got := ended(t, "the grant", waiting)
			if got.err != nil {
				t.Fatal(got.err)
			}
			least := time.Duration(0)
			for i := 1; i < n-1; i++ {
				least += time.Duration(i) * step
			}
			if waited := m.Stats().Wait.Max; waited < least {
				t.Errorf("waited %v, the pauses alone take %v", waited, least)
			}
			release(t, got.lock)
		})
	}
}

// By default a lock that somebody holds is waited for at once.
func TestDefaultWaitsAtOnce(t *testing.T) {
	s, other := server(t), open(t)
	var done steps
	m := open(t, append(oneSlice(), done.record())...)
	theirs := acquire(t, other, "k")
	waiting := acquiring(bounded(t), t, m, "k")
	eventually(t, "it waits at the server", func() bool { return queued(t, s, theirs.ID()) == 1 })
	release(t, theirs)
	release(t, ended(t, "the grant", waiting).lock)
	if got := done.of("wait"); len(got) != 1 {
		t.Errorf("waited %d times: %v", len(got), done.of("try", "wait"))
	}
}

// And polled where no session for waiting is free, in which case nobody is left waiting for a session that does not come.
func TestPollsWhereNoSessionIsFree(t *testing.T) {
	s, other := server(t), open(t)
	var done steps
	m := open(t, done.record(), manager.WithWaitingSessions(1), manager.WithRetry(manager.RetryPolicy{Attempts: 1,
		Backoff: func() backoff.BackOff { return &backoff.ZeroBackOff{} }}))
	one, two := acquire(t, other, "one"), acquire(t, other, "two")
	first := acquiring(bounded(t), t, m, "one")
	eventually(t, "the first waits at the server", func() bool { return queued(t, s, one.ID()) == 1 })
	second := acquiring(bounded(t), t, m, "two")
	eventually(t, "the second polls", func() bool { return len(done.of("poll")) >= 2 }) // and so did the first, for a moment
	release(t, two)
	release(t, ended(t, "the grant by a poll", second).lock)
	release(t, one)
	release(t, ended(t, "the grant by a wait", first).lock)
}

// Each attempt's failure is kept, in order, and found by Is and As; the policy alone bounds their number.
func TestEveryAttemptsErrorIsKept(t *testing.T) {
	s := server(t)
	const step = time.Millisecond
	play := newScript(t, s)
	var pauses recorded
	m := openFrom(t, s, play.source(), manager.WithRetry(pauses.policy(attempts(4))))
	pauses.take() // Open looks at one
	terminateAll(t, s, m)
	failures := []error{
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		&pgconn.PgError{Severity: "FATAL", Code: "57P03", Message: "the database system is starting up"},
		&pgconn.PgError{Severity: "FATAL", Code: "53300", Message: "sorry, too many clients already"},
		&net.OpError{Op: "read", Err: syscall.ECONNRESET},
	}
	play.play(failures...)
	_, err := m.Acquire(bounded(t), "orders/42")
	wantIs(t, err, manager.ErrAttempts, syscall.ECONNREFUSED, syscall.ECONNRESET)
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "57P03" {
		t.Errorf("errors.As finds %v", server)
	}
	e := failure(t, err)
	if e.Attempts != 4 || len(e.Failures) != 4 || play.called() != 4 || e.Key != "orders/42" || e.ID != m.Key("orders/42").ID() || e.Waited < 6*step {
		t.Errorf("%+v, %d connects", e, play.called())
	}
	for i, code := range []string{"", "57P03", "53300", ""} {
		var server *pgconn.PgError
		if errors.As(e.Failures[i], &server) != (code != "") || code != "" && server.Code != code {
			t.Errorf("attempt %d: %v", i, e.Failures[i])
		}
	}
	for _, part := range []string{`"orders/42"`, fmt.Sprint(e.ID), "waited", "4 attempts", "4 failed attempts", "refused", "starting up",
		"too many clients", "SQLSTATE 53300", "reset"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: it does not say %q", err, part)
		}
	}
	if got := pauses.take(); !slices.Equal(got, []time.Duration{step, 2 * step, 3 * step}) {
		t.Errorf("pauses %v", got)
	}
	play.play(failures[:3]...)
	release(t, acquire(t, m, "orders/42")) // three may fail where four are allowed
}

func TestPermanentFailuresAreNotRetried(t *testing.T) {
	s := server(t)
	play := newScript(t, s)
	m := openFrom(t, s, play.source())
	release(t, acquire(t, m, "k")) // its session is there, and not about to be
	for _, c := range []struct {
		code      string
		permanent bool
	}{
		{"28P01", true}, {"28000", true}, {"42501", true}, {"3D000", true}, {"42P01", true},
		{"57P01", false}, {"57P02", false}, {"57P03", false}, {"53300", false}, {"53200", false}, {"08006", false},
	} {
		terminateAll(t, s, m)
		said := &pgconn.PgError{Severity: "FATAL", Code: c.code, Message: "no"}
		play.play(said)
		lock, err := m.Acquire(bounded(t), "k", manager.WithRetryPolicy(manager.LinearRetry(3, time.Millisecond)))
		if !c.permanent {
			if err != nil || play.called() != 2 {
				t.Errorf("%s: %d connects, then %v", c.code, play.called(), err)
			}
			if err == nil {
				release(t, lock)
			}
			continue
		}
		var server *pgconn.PgError
		if !errors.Is(err, manager.ErrAttempts) || !errors.As(err, &server) || server.Code != c.code || play.called() != 1 {
			t.Errorf("%s: %d connects, then %v", c.code, play.called(), err)
		}
	}
}

// A context that ends during a pause ends the call at once, and what had failed by then is in the error.
func TestContextEndsAPauseBetweenAttempts(t *testing.T) {
	s := server(t)
	var n network
	var done steps
	m := n.manager(t, s, manager.WithRetry(manager.LinearRetry(10, time.Hour)), done.record())
	terminateAll(t, s, m)
	n.failWith(refused)
	for name, c := range map[string]struct {
		end  func(ctx context.Context) (context.Context, context.CancelFunc)
		want error
	}{
		"cancelled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(errWhy) }
		}, context.Canceled},
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeoutCause(ctx, 200*time.Millisecond, errWhy)
			return ctx, func() { <-ctx.Done(); cancel() }
		}, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(done.of("message answered"))
			ctx, end := c.end(bounded(t))
			waiting := acquiring(ctx, t, m, name)
			eventually(t, "the first attempt has failed", func() bool { return len(done.of("message answered")) > before || len(waiting) > 0 })
			end()
			err := ended(t, "the call's return", waiting).err
			wantIs(t, err, c.want, errWhy)
			if e := failure(t, err); len(e.Failures) == 1 {
				wantIs(t, err, syscall.ECONNREFUSED)
			} else if c.want == context.Canceled { //nolint:errorlint // the table's own value
				t.Errorf("failures: %v", e.Failures)
			}
		})
	}
}

var errWhy = errors.New("the caller's own cause")
