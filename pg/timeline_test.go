package pg

import (
	"context"
	"fmt"
	"slices"
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
	second.takeOwn(t, p)
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
		next.takeOwn(t, p)
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
	})
}

// answerer is the backend that a question reaches.
func answerer(t *testing.T, q *Questions) string {
	t.Helper()
	rows, err := q.Ask(within(t), "asking for the pid", pidSQL)
	if err != nil {
		t.Fatal(err)
	}
	return rows[0][0]
}

// What a manager asks beside its sessions, as it draws tokens, it asks of no server that has been replaced: not on a connection that is there,
// and not on another.
func TestAReplacedServerIsAskedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		q := p.Questions()
		defer q.Close()
		old := answerer(t, q)
		for _, text := range []string{"7000 0000000B", "8000 00000001"} {
			if again := answerer(t, q); again != old {
				t.Errorf("%s and %s answered", old, again)
			}
			f.change(func() { f.facts.Timeline = text })
			newCaller(1).reserve(t, p, UseDedicated)
			f.change(func() { f.facts.Timeline = "7000 00000001" })
			if _, err := q.Ask(within(t), "asking the old one", pidSQL); !Transient(err) || !strings.Contains(fmt.Sprint(err), "answer") {
				t.Errorf("the old server answered: %v", err)
			}
			f.change(func() { f.facts.Timeline = text })
			old = answerer(t, q)
		}
	})
}

// A question that meets a server which replaces another ends the sessions on that one, as a session does.
func TestAQuestionMeetsTheNewPrimary(t *testing.T) {
	for text, cause := range map[string]Cause{"7000 00000002": CauseFailedOver, "8000 00000001": CauseCluster} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			p := openPool(t, f.source(t), Config{})
			shared, dedicated := newCaller(1), newCaller(2)
			shared.take(t, p)
			dedicated.takeOwn(t, p)
			f.change(func() { f.facts.Timeline = text })
			if _, err := p.Query(within(t), "asking", pidSQL); err != nil {
				t.Fatal(err)
			}
			shared.lost(t, cause)
			dedicated.lost(t, cause)
		})
	}
}

// A session that was set up on the old primary, and of which the pool hears when another has met the new one, is used for nothing.
func TestASessionOfTheOldPrimaryIsToldLate(t *testing.T) {
	for name, use := range map[string]Use{"shared": UseShared, "dedicated": UseDedicated, "waiting": UseWaiting} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1, MaxSessions: 3})
				for round := range uint32(40) { // the pool hears of the two in any order
					checkToldLate(t, f, p, use, round+2)
				}
				closePool(t, p)
			})
		})
	}
}

func checkToldLate(t *testing.T, f *fakeServer, p *Pool, use Use, number uint32) {
	t.Helper()
	c := newCaller(int64(number))
	gate, busy, asked := make(chan struct{}), make(hold), make(chan error, 1)
	first := p.first()
	first.end()
	<-first.gone
	synctest.Wait()
	f.change(func() { f.dial = func(context.Context, string) error { <-gate; return nil } })
	go func() {
		if use == UseShared {
			c.ask(p)
		} else {
			p.Reserve(&Reservation{Client: c, Use: use})
		}
		p.send(busy)
	}()
	synctest.Wait()
	f.change(func() { f.dial = nil })
	close(gate)
	synctest.Wait() // the session is set up, and the pool has yet to hear of it
	old := f.all()
	f.change(func() { f.facts.Timeline = fmt.Sprintf("7000 %08X", number) })
	go func() {
		_, err := p.Query(within(t), "asking", pidSQL)
		asked <- err
	}()
	synctest.Wait() // the question has met the new primary
	close(busy)
	var got Session
	if use == UseShared {
		got = c.await(t).session
	} else {
		got = receive(t, c.reserved).session
	}
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	for _, s := range old {
		if slices.Contains(f.all(), s) {
			t.Errorf("%d is connected to the old primary", s.PID)
		}
		if s.PID == got.PID() {
			t.Fatalf("timeline %d: a session of the old primary was given out", number)
		}
	}
	if s, solo := got.(*Solo); solo {
		p.Return(s)
		s.end()
		<-s.gone
	}
	newCaller(1).take(t, p)
}

// Another cluster that answers under the same name, as after a move to a new server, takes the place of the one before, once: that one is not
// gone back to. So two clusters behind one name do not end each other's sessions in turns.
func TestAnotherClusterUnderTheSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.facts.Timeline = "7000 00000005"
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		holder, next, id := newCaller(1), newCaller(2), int64(3)
		answers := func(text string) { f.change(func() { f.facts.Timeline = text }) }
		meets := func(text string) *caller {
			answers(text)
			c := newCaller(id)
			id++
			c.takeOwn(t, p)
			return c
		}
		refuses := func(text string) {
			answers(text)
			p.Reserve(&Reservation{Client: next, Use: UseDedicated})
			if got := receive(t, next.reserved); !Transient(got.err) || !strings.Contains(fmt.Sprint(got.err), "two clusters") {
				t.Errorf("%s: %+v", text, got)
			}
		}
		holder.take(t, p)
		moved := meets("8000 00000001")
		lost := holder.lost(t, CauseCluster)
		if !strings.Contains(lost.err.Error(), "of cluster 7000, and one of cluster 8000") || p.Stats().Losses[CauseCluster] != 1 {
			t.Errorf("lost because %v; %v", lost.err, p.Stats().Losses)
		}
		eventually(t, "the lock is free", func() bool { return holder.try(t, p).ok })
		refuses("7000 00000005")
		refuses("7000 00000009")
		synctest.Wait()
		holder.quiet(t)
		moved.quiet(t)
		answers("") // it may not be asked any more: nothing is known, and nothing lost
		next.reserve(t, p, UseDedicated)
		synctest.Wait()
		holder.quiet(t)
		promoted := meets("8000 00000002")
		holder.lost(t, CauseFailedOver)
		moved.lost(t, CauseFailedOver)
		third := meets("9000 00000001")
		promoted.lost(t, CauseCluster)
		refuses("8000 00000003")
		refuses("7000 00000005")
		third.quiet(t)
	})
}

// A server that keeps its cluster to itself is one with any.
func TestAClusterThatIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.facts.Timeline = ""
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		holder := newCaller(1)
		holder.take(t, p)
		for _, text := range []string{"7000 00000005", "", "8000 00000001", ""} {
			f.change(func() { f.facts.Timeline = text })
			newCaller(2).reserve(t, p, UseDedicated)
		}
		synctest.Wait()
		holder.quiet(t)
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
