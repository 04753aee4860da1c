package pg

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Waiting in the server's queue.

// patient is a config with slices so long that no test sees the end of one.
func patient() Config {
	config := quick()
	config.HealthInterval, config.HealthTimeout, config.WaitSlice = 4*patience, 4*patience, 4*patience
	return config
}

// waits has the caller wait until that was seen in the server's queue, for as many slices as it takes.
func (c *caller) waits(t testing.TB, d database, own *Solo) {
	t.Helper()
	c.submit(own, OpWait)
	eventually(t, "the wait is in the queue", func() bool {
		if len(c.answers) > 0 { // its slice was over before anybody looked
			if a := c.await(t); a.ok || a.err != nil {
				t.Fatalf("%+v", a)
			}
			c.submit(own, OpWait)
		}
		return d.queued(t)[c.r.ID] == own.PID()
	})
}

func TestTheEndOfASliceIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		holder, waiter := newCaller(1), newCaller(1)
		s := holder.take(t, p)
		own := waiter.reserve(t, p, UseWaiting)
		for range 10 { // 8 s: the health question was sent after 6 s, and is due again after 11 s
			begin := time.Now()
			a := waiter.on(t, own, OpWait)
			if a.ok || a.err != nil {
				t.Fatalf("a slice ended with %+v", a)
			}
			if waited := a.at.Sub(begin); waited != defaultSlice {
				t.Errorf("a slice took %v", waited)
			}
		}
		waiter.submit(own, OpWait)
		sent := time.Now()
		wait(defaultSlice / 2)
		holder.release(t, s)
		if a := waiter.await(t); !a.ok || a.err != nil {
			t.Errorf("%+v", a)
		}
		// The grant is as old as the question: nobody knows when the server made it.
		if until := own.TrustedUntil(); until.Sub(sent) != trust {
			t.Errorf("trusted for %v after the wait was sent", until.Sub(sent))
		}
		if p.Stats().Losses[CauseSilence] != 0 {
			t.Error("a session was lost over its slices")
		}
		waiter.release(t, own)
		waiter.quiet(t)
	})
}

// A backend whose client is gone must leave the queue: else it is granted the lock, and nobody knows.
func TestAnOrphanIsNotGranted(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	box, dsn := newSocketMiddlebox(t, d)
	config := patient()
	config.CloseTimeout = 10 * time.Millisecond
	if d.major(t) < 14 { // which does not look whether the client is still there: the end of the slice has to do
		config.WaitSlice = time.Second
	}
	p, keep := openDSN(t, dsn, config), openDSN(t, d.dsn(), quick())
	holder, waiter := newCaller(1), newCaller(1)
	s := holder.take(t, keep)
	own := waiter.reserve(t, p, UseWaiting)
	waiter.submit(own, OpWait)
	eventually(t, "the wait is in the queue", func() bool { return d.queued(t)[1] == own.PID() })
	box.HangUp()
	if a := waiter.await(t); a.ok || causeOf(t, a.err) != CauseConnection {
		t.Errorf("%+v", a)
	}
	eventually(t, "the orphan has left the queue", func() bool { return len(d.queued(t)) == 0 })
	holder.release(t, s)
	if locks := d.locks(t); len(locks) != 0 {
		t.Errorf("granted to an orphan: %v", locks)
	}
}

func TestSessionsForWaitingAreBoundedAndFirstComeFirstServed(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := quick()
	config.WaitingSessions, config.SharedSessions = 2, 1
	p := openDSN(t, d.dsn(), config)
	newCaller(1).take(t, p)
	callers := newCallers(span(10, 8))
	reservations := make([]*Reservation, len(callers))
	for i, c := range callers {
		reservations[i] = &Reservation{Client: c, Use: UseWaiting}
		p.Reserve(reservations[i])
	}
	first, second := receive(t, callers[0].reserved), receive(t, callers[1].reserved)
	stats := p.Stats()
	if stats.Waiting != 2 || stats.Queued != 6 {
		t.Errorf("%+v", stats)
	}
	p.Withdraw(reservations[3])
	if got := receive(t, callers[3].reserved); !errors.Is(got.err, ErrWithdrawn) || got.session != nil {
		t.Errorf("withdrawn: %+v", got)
	}
	p.Withdraw(reservations[3]) // twice
	p.Withdraw(reservations[0]) // after it was answered
	for _, i := range []int{2, 4, 5, 6, 7} {
		for _, c := range callers {
			c.quiet(t)
		}
		p.Return(first.session)
		first, second = second, receive(t, callers[i].reserved)
		if second.err != nil {
			t.Fatal(second.err)
		}
	}
	eventually(t, "there are 3 connections", func() bool { return d.backends(t) == 3 })
	p.Return(first.session)
	p.Return(second.session)
	eventually(t, "both are idle", func() bool { s := p.Stats(); return s.Idle == 2 && s.Waiting == 0 && s.Queued == 0 })
	for _, c := range callers {
		c.quiet(t)
	}
}

func TestADedicatedSession(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := quick()
	config.MaxSessions, config.SharedSessions = 4, 1
	p := openDSN(t, d.dsn(), config)
	shared := newCaller(1).take(t, p)
	callers := newCallers(span(10, 5))
	var sessions []*Solo
	for _, c := range callers[:3] {
		s := c.reserve(t, p, UseDedicated)
		if a := c.on(t, s, OpTry); !a.ok || a.session != s {
			t.Errorf("%+v", a)
		}
		sessions = append(sessions, s)
	}
	locks := d.locks(t)
	for i, s := range sessions {
		if locks[callers[i].r.ID] != s.PID() || s.PID() == shared.PID() {
			t.Errorf("lock %d is on backend %d, the session's is %d", callers[i].r.ID, locks[callers[i].r.ID], s.PID())
		}
	}
	// There is no room for more; one that is given back serves the next, and a waiting key as well.
	p.Reserve(&Reservation{Client: callers[3], Use: UseDedicated})
	p.Reserve(&Reservation{Client: callers[4], Use: UseWaiting})
	if stats := p.Stats(); stats.Dedicated != 3 || stats.Queued != 2 {
		t.Errorf("%+v", stats)
	}
	callers[3].quiet(t)
	callers[0].release(t, sessions[0])
	p.Return(sessions[0])
	if got := receive(t, callers[3].reserved); got.session != sessions[0] {
		t.Errorf("%+v", got)
	}
	callers[1].release(t, sessions[1])
	p.Return(sessions[1])
	if got := receive(t, callers[4].reserved); got.session != sessions[1] {
		t.Errorf("%+v", got)
	}
	eventually(t, "there are 4 connections", func() bool { return d.backends(t) == 4 })
}

func TestUnusedSessionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		holder := newCaller(1)
		shared := holder.take(t, p)
		solo := newCallers(span(10, 3))
		own := make([]*Solo, len(solo))
		for i, c := range solo {
			own[i] = c.reserve(t, p, UseWaiting)
		}
		if a := solo[0].on(t, own[0], OpWait); !a.ok {
			t.Fatalf("%+v", a)
		}
		for _, s := range own[1:] {
			p.Return(s)
		}
		wait(p.config.idleLimit() - time.Second)
		if stats := p.Stats(); stats.Idle != 2 {
			t.Errorf("before their time: %+v", stats)
		}
		wait(p.config.idleLimit())
		if stats := p.Stats(); stats.Idle != 0 || stats.Waiting != 1 || stats.Shared != 1 {
			t.Errorf("after their time: %+v", stats)
		}
		if n := len(f.all()); n != 2 {
			t.Errorf("the server has %d sessions", n)
		}
		if own[0].Lost() != nil || shared.Lost() != nil {
			t.Error("one that is in use was closed")
		}
		holder.quiet(t)
	})
}

// Solo sessions may not take the last room: while there is no shared session, no try can be sent.
func TestSoloSessionsLeaveRoomForASharedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{MaxSessions: 3, SharedSessions: 1})
		shared := newCaller(1).take(t, p)
		callers := newCallers(span(10, 4))
		for _, c := range callers {
			p.Reserve(&Reservation{Client: c, Use: UseDedicated})
		}
		wait(time.Second)
		f.of(t, shared).conn.Close()
		receive(t, ended(shared))
		wait(time.Second)
		if a := newCaller(2).try(t, p); !a.ok {
			t.Errorf("no shared session could be opened: %+v", a)
		}
		if n := len(f.all()); n > 3 {
			t.Errorf("%d sessions", n)
		}
	})
}

// The block of a wait may be stopped where it holds the lock twice, between its try and its unlock.
func TestAFailedWaitIsUnlockedToTheEnd(t *testing.T) {
	for held := range 4 {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			p := openPool(t, f.source(t), Config{})
			c := newCaller(1)
			own := c.reserve(t, p, UseWaiting)
			left, statements := held, 0
			f.onStatement(func(_ *fakeSession, q *question) {
				q.answered = true
				if statements++; q.Kind == "wait" {
					q.Code = "57014"
					return
				}
				none(t, c.answers, "answered before it was settled")
				q.Bool(left > 0)
				left--
			})
			if a := c.on(t, own, OpWait); a.ok || sqlState(a.err) != "57014" {
				t.Errorf("%+v", a)
			}
			if statements != 1+held+1 {
				t.Errorf("%d statements where the lock was held %d times", statements, held)
			}
			f.onStatement(nil)
			p.Return(own)
			c.quiet(t)
		})
	}
}
