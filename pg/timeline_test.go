package pg

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
	"github.com/lockkeeper/lockkeeper/internal/pgserver/pgtest"
)

// An old primary that comes back, or never went, is not taken for the new one: not by a program that has seen the new.
func TestAnOldPrimaryIsNotGoneBackTo(t *testing.T) {
	noLeaks(t)
	old := newServer(t, nil)
	promoted := watch(t, pgtest.Standby(t, old.Server), old.name)
	dsn := "host=" + old.SocketDir() + "," + promoted.SocketDir() + " port=" + port(old) + "," + port(promoted) +
		" user=lockkeeper dbname=" + old.name + " sslmode=disable target_session_attrs=read-write"
	config := quick()
	config.SharedSessions = 1
	p := openDSN(t, dsn, config)
	first, second := newCaller(1), newCaller(2)
	first.take(t, p)
	if got := p.Stats().Timeline; got != 1 {
		t.Errorf("the timeline is %d", got)
	}
	if err := old.StopMode(within(t), pgserver.Immediate); err != nil {
		t.Fatal(err)
	}
	first.lost(t, CauseConnection)
	if err := promoted.Promote(within(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new primary is found", func() bool { return first.try(t, p).ok })
	if got := p.Stats().Timeline; got != 2 {
		t.Errorf("the timeline is %d", got)
	}
	if err := old.Start(within(t)); err != nil { // it comes first in the DSN, and takes writes
		t.Fatal(err)
	}
	if a := second.on(t, second.reserve(t, p, UseDedicated), OpTry); !a.ok {
		t.Fatalf("%+v", a)
	}
	if got := promoted.locks(t); len(got) != 2 {
		t.Errorf("the new primary has %v", got)
	}
	if got := old.locks(t); len(got) != 0 {
		t.Errorf("the old primary has %v", got)
	}
	if err := promoted.Close(); err != nil { // now only the old one is there
		t.Fatal(err)
	}
	first.lost(t, CauseConnection)
	second.lost(t, CauseConnection)
	a := first.try(t, p)
	if a.ok || !Transient(a.err) || !strings.Contains(a.err.Error(), "old primary") {
		t.Errorf("%+v", a)
	}
}

func port(d database) string { return strings.TrimPrefix(d.TCPAddr(), "127.0.0.1:") }

// A pool that reaches the new primary while the old one lives gives up what it has there: somebody else may be granted the
// same locks by now.
func TestSessionsOnAnOldPrimaryAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		holder, next := newCaller(1), newCaller(2)
		holder.take(t, p)
		f.change(func() { f.facts.Timeline = "7000 0000000B" })
		if a := next.on(t, next.reserve(t, p, UseDedicated), OpTry); !a.ok {
			t.Fatalf("%+v", a)
		}
		lost := holder.lost(t, CauseFailedOver)
		if !strings.Contains(lost.err.Error(), "timeline 1,") || !strings.Contains(lost.err.Error(), "timeline 11") {
			t.Errorf("lost because %v", lost.err)
		}
		eventually(t, "the lock is free", func() bool { return holder.try(t, p).ok })
		for _, text := range []string{"", "7000", "7000 xyz", "7000 0000000B"} { // nothing that is said of it does harm
			f.change(func() { f.facts.Timeline = text })
			c := newCaller(9)
			own := c.reserve(t, p, UseDedicated)
			p.Return(own)
			own.end()
			receive(t, ended(own))
		}
		f.change(func() { f.facts.Timeline = "7000 0000000A" })
		p.Reserve(&Reservation{Client: next, Use: UseDedicated})
		if got := receive(t, next.reserved); got.err == nil || !Transient(got.err) {
			t.Errorf("an old primary gave %+v", got)
		}
		f.change(func() { f.facts.Timeline = "8000 00000001" }) // another cluster begins anew
		p.Return(next.reserve(t, p, UseDedicated))
	})
}

// A host that has become a standby since Open is passed over, where the DSN has another.
func TestAHostThatWasDemoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.sourceOf(t, "host=127.0.0.1,127.0.0.2 port=1 user=fake dbname=fake sslmode=disable"), Config{})
		synctest.Wait()
		f.change(func() {
			f.dial = func(_ context.Context, addr string) error {
				f.change(func() { f.facts.Recovery = map[bool]string{true: "t", false: "f"}[addr == "127.0.0.1:1"] })
				return nil
			}
		})
		newCaller(1).reserve(t, p, UseDedicated)
	})
}

// A source that cannot try another host is checked as well.
func TestAnOldPrimaryFromAnotherSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, plainSource{f.source(t)}, Config{})
		newCaller(1).take(t, p)
		c := newCaller(2)
		f.change(func() { f.facts.Timeline = "7000 00000000" })
		p.Reserve(&Reservation{Client: c, Use: UseDedicated})
		if got := receive(t, c.reserved); got.err == nil || !strings.Contains(got.err.Error(), "timeline 0") {
			t.Errorf("an old primary gave %+v", got)
		}
	})
}

type plainSource struct{ Source }

func (s plainSource) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	return s.Source.Connect(ctx)
}
