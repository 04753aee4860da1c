package pg

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Polls without a session, without room, and at the end.

// Where no session can be opened a poll hears why.
func TestPollsWithoutASession(t *testing.T) {
	polling(t, Config{SharedSessions: 1}, func(t *testing.T, f *fakeServer, p *Pool, _ *fakeSession) {
		f.change(func() { f.dial = func(context.Context, string) error { return syscall.ECONNREFUSED } })
		first := p.first()
		f.of(t, first).conn.Close()
		receive(t, ended(first))
		callers := newCallers(span(1, 3000))
		for _, c := range callers {
			c.poll(p)
		}
		for _, c := range callers {
			if a := c.await(t); a.ok || !errors.Is(a.err, syscall.ECONNREFUSED) || !Transient(a.err) {
				t.Fatalf("%+v", a)
			}
			c.quiet(t)
		}
		pollsEnd(t, f, p)
		f.change(func() { f.dial = nil })
		callers[0].poll(p)
		callers[0].release(t, callers[0].await(t).session)
	})
}

// Close ends them all, at rest and under way, and those that come after.
func TestCloseEndsPolls(t *testing.T) {
	polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		callers := newCallers(span(1, 3000))
		for _, c := range callers {
			f.try(other, c.r.ID)
			c.poll(p)
		}
		answer := make(chan struct{})
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "batch" {
				<-answer
			}
		})
		wait(pollTick)
		if len(p.poller.under) == 0 {
			t.Error("none is under way")
		}
		closed := make(chan struct{})
		go func() { closePool(t, p); close(closed) }()
		synctest.Wait()
		late := newCaller(5000)
		late.poll(p)
		if a := late.await(t); !errors.Is(a.err, ErrClosed) {
			t.Errorf("while it closes: %+v", a)
		}
		close(answer)
		receive(t, closed)
		late.poll(p)
		if a := late.await(t); !errors.Is(a.err, ErrClosed) {
			t.Errorf("after: %+v", a)
		}
		p.StopPolling(&late.r)
		late.quiet(t)
		reasons := map[bool]int{}
		for _, c := range callers {
			a := c.await(t)
			if a.ok || a.err == nil {
				t.Fatalf("%+v", a)
			}
			reasons[errors.Is(a.err, ErrClosed)]++
			c.quiet(t)
		}
		if reasons[true] == 0 {
			t.Errorf("%d were answered with %v, %d otherwise", reasons[true], ErrClosed, reasons[false])
		}
	})
}

// Polls for which no session has room wait, and open no session that may not be there.
func TestPollsOnFullSessions(t *testing.T) {
	polling(t, Config{SharedSessions: 1, MaxLocksPerSession: 2}, func(t *testing.T, f *fakeServer, p *Pool, _ *fakeSession) {
		holders, waiters := newCallers(span(1, 2)), newCallers(span(10, 5))
		s := holders[0].take(t, p)
		holders[1].take(t, p)
		for _, c := range waiters {
			c.poll(p)
		}
		wait(time.Second)
		if n := p.Stats().Shared; n != 1 {
			t.Errorf("%d shared sessions", n)
		}
		holders[0].release(t, s)
		wait(time.Second)
		granted := 0
		for _, c := range waiters {
			p.StopPolling(&c.r)
			if a := c.await(t); a.ok {
				granted++
			}
			c.quiet(t)
		}
		if granted != 1 {
			t.Errorf("%d locks were granted, there was room for one", granted)
		}
		pollsEnd(t, f, p)
	})
}

// A poll that was stopped while it is asked for needs no session in place of the one that is silent.
func TestAStoppedPollOpensNothing(t *testing.T) {
	polling(t, Config{SharedSessions: 1}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		f.try(other, 1)
		f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
		c, silent := newCaller(1), p.first()
		c.poll(p)
		wait(pollSoonest)
		p.StopPolling(&c.r)
		receive(t, ended(silent))
		if a := c.await(t); a.ok || causeOf(t, a.err) != CauseSilence {
			t.Errorf("%+v", a)
		}
		wait(time.Second)
		if s := p.Stats(); s.Shared+s.Opening != 0 {
			t.Errorf("a session was opened: %+v", s)
		}
		pollsEnd(t, f, p)
	})
}

// opens does what the pool does when an opener reports, which may be after the session's own end was told.
type opens struct{ shared *Shared }

func (m opens) do(p *Pool) {
	p.opening[UseShared]++
	p.openedNow(opened{use: UseShared, shared: m.shared})
}
func (opens) refuse() {}

// A shared session whose end is told before its opening is not the pool's any more.
func TestASharedSessionThatEndsBeforeItsOpeningIsTold(t *testing.T) {
	polling(t, Config{SharedSessions: 1}, func(t *testing.T, f *fakeServer, p *Pool, _ *fakeSession) {
		s := p.first()
		f.of(t, s).conn.Close()
		receive(t, ended(s))
		synctest.Wait()
		p.send(opens{s})
		if s := p.Stats(); s.Shared+s.Opening != 0 {
			t.Errorf("%+v", s)
		}
		c := newCaller(1)
		c.release(t, c.take(t, p))
		closePool(t, p)
	})
}

// What the pool gave to a session that had received for the last time is answered when the session's end is told.
func TestWhatAnEndedSessionNeverReceived(t *testing.T) {
	p := &Pool{sharedAll: make(map[*Shared]bool), solos: make(map[*Solo]*soloPlace), poller: newPoller(),
		polled: make(chan *pollBatch, maxPollBatches), told: make(chan *inquiry, 1)}
	s := &Shared{session: session{connection: connection{pid: 7, asked: time.Now()}}}
	s.lost.Store(newLossError(CauseConnection, 7, nil))
	p.sharedAll[s] = true
	p.shared.Store(&[]*Shared{s})
	c := newCaller(1)
	p.startPoll(&c.r)
	b := &pollBatch{polls: p.poller.often.nextPolls(1), ok: make([]bool, 1), pool: p, on: s}
	b.polls[0].asking = true
	p.poller.under = append(p.poller.under, b)
	p.asking = &inquiry{on: s}
	p.endedNow(s)
	if a := c.await(t); a.ok || causeOf(t, a.err) != CauseConnection {
		t.Errorf("%+v", a)
	}
	if p.asking != nil || len(p.poller.under)+len(p.poller.often.list)+len(p.sharedAll) > 0 {
		t.Error("the pool still waits for it")
	}
	c.quiet(t)
}
