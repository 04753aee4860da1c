package pg

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// Shared sessions hold as many locks as they may, all of them together, and not one more.
func TestLocksOfASessionAreBounded(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			p := openPool(t, f.source(t), Config{SharedSessions: 2, MaxLocksPerSession: 10})
			callers := newCallers(span(1, 60))
			var begin sync.WaitGroup
			for _, c := range callers {
				begin.Go(func() { c.ask(p) })
			}
			begin.Wait()
			var holders, refused []*caller
			var where []Session
			for _, c := range callers {
				switch a := c.await(t); {
				case a.ok:
					holders, where = append(holders, c), append(where, a.session)
				case errors.Is(a.err, ErrTooManyLocks) && !Transient(a.err) && strings.Contains(a.err.Error(), "10 on each of 2"):
					refused = append(refused, c)
				default:
					t.Errorf("%+v", a)
				}
			}
			synctest.Wait() // the server sees that Open's own connections are gone, and what they held
			if len(holders) != 20 || len(f.held()) != 20 {
				t.Errorf("%d locks were granted, the server has %v", len(holders), f.held())
			}
			// A full session releases, answers who holds a lock, and has room again for as many as it let go of.
			holders[0].release(t, where[0])
			last := refused[0].take(t, p)
			if a := refused[1].try(t, p); !errors.Is(a.err, ErrTooManyLocks) {
				t.Errorf("%+v", a)
			}
			refused[1].who(t, p)
			refused[0].release(t, last)
			for i, c := range holders[1:] {
				c.release(t, where[i+1])
			}
			for _, c := range callers {
				c.quiet(t)
			}
		})
	}
}

// The error of a trust that is too long names what the user has set.
func TestATrustOfHalfAMonth(t *testing.T) {
	const day = 24 * time.Hour
	_, err := (&Config{HealthInterval: 15 * day, HealthTimeout: time.Second}).WithDefaults()
	if err == nil || !strings.Contains(err.Error(), "WithHealth has an interval and a timeout of 360h0m1s together") {
		t.Error(err)
	}
	if _, err := (&Config{HealthInterval: 15 * day, SessionTimeout: 20 * day}).WithDefaults(); err != nil {
		t.Error(err)
	}
}

// Who does not want to queue for a session is told at once that there is none.
func TestAReservationThatDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1, MaxSessions: 3})
		newCaller(1).take(t, p)
		first, second, patient, third := newCaller(2), newCaller(3), newCaller(4), newCaller(5)
		var own *Solo
		for _, c := range []*caller{first, second} { // there is room for these
			p.Reserve(&Reservation{Client: c, Use: UseDedicated, Now: true})
			got := receive(t, c.reserved)
			if got.err != nil {
				t.Fatal(got.err)
			}
			own = got.session
		}
		p.Reserve(&Reservation{Client: patient, Use: UseDedicated})
		p.Reserve(&Reservation{Client: third, Use: UseDedicated, Now: true})
		if got := receive(t, third.reserved); !errors.Is(got.err, ErrTooManySessions) || !Transient(got.err) {
			t.Errorf("%+v", got)
		}
		if n := p.Stats().Queued; n != 1 {
			t.Errorf("%d are queued", n)
		}
		p.Return(own)
		if got := receive(t, patient.reserved); got.err != nil {
			t.Errorf("%+v", got)
		}
		third.quiet(t)
	})
}

// The server's limits are conditions of their own, with what it says about them.
func TestTheServersLimits(t *testing.T) {
	for _, c := range []struct {
		server pgconn.PgError
		kind   error
	}{
		{pgconn.PgError{Code: "53200", Message: "out of shared memory", Hint: "You might need to increase \"max_locks_per_transaction\"."}, ErrLockTableFull},
		{pgconn.PgError{Code: "53200", Message: "gemeinsamer Speicher aufgebraucht", Hint: "Sie müssen möglicherweise »max_locks_per_transaction« erhöhen."}, ErrLockTableFull},
		{pgconn.PgError{Code: "53200", Message: "out of memory", Detail: "Failed on request of size 8."}, nil},
		{pgconn.PgError{Code: "53300", Message: "sorry, too many clients already"}, ErrTooManyConnections},
		{pgconn.PgError{Code: "57P03", Message: "the database system is starting up"}, nil},
	} {
		for _, err := range []error{serverError(&c.server), connectError(t.Context(), fmt.Errorf("failed to connect: %w", &c.server))} {
			if !Transient(err) {
				t.Errorf("not transient: %v", err)
			}
			for _, kind := range []error{ErrLockTableFull, ErrTooManyConnections} {
				if errors.Is(err, kind) != errors.Is(c.kind, kind) {
					t.Errorf("%v: is %q: %v", err, kind, errors.Is(err, kind))
				}
			}
			if sqlState(err) != c.server.Code || !strings.Contains(err.Error(), c.server.Message) ||
				c.kind != nil && !strings.Contains(err.Error(), c.server.Hint) {
				t.Errorf("it does not say what the server says: %v", err)
			}
		}
	}
}

// A source holds a password, and is printed sooner or later.
func TestSourcesPrintNothing(t *testing.T) {
	f := newFake(t)
	p := openPool(t, f.source(t), Config{})
	idle := &Pool{config: p.config, connector: newConnector(p.connector.source, p.config)} // one that lives changes while it is printed
	config, err := pgxpool.ParseConfig("host=127.0.0.1 port=1 user=fake password=secret dbname=fake sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.MinConns, config.MaxConnLifetime = 0, time.Hour
	users, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer users.Close()
	db := stdlib.OpenDB(*config.ConnConfig)
	defer db.Close()
	fromPool, err1 := FromPool(users)
	fromDB, err2 := FromDB(db)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{idle, idle.connector, p.connector.source, fromPool, fromDB} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
			for _, shown := range []any{v, &v, []any{v}, map[string]any{"x": v}, struct{ v any }{v}} {
				text := fmt.Sprintf(verb, shown)
				if strings.Contains(text, "secret") || strings.Contains(text, fmt.Sprintf("%x", "secret")) {
					t.Fatalf("%s of a %T shows the password", verb, v)
				}
			}
		}
	}
}
