package pg

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lockkeeper/lockkeeper/internal/pgserver"
)

// What ends sessions from the server's side, and who is told what.

func TestASessionThatTheServerEnds(t *testing.T) {
	d := newServer(t, nil)
	for _, c := range []struct {
		name   string
		fault  func(t *testing.T, pid uint32)
		causes []Cause
		code   string // of the server's last word, where it has one
		all    bool   // every session ends, not only that of pid
	}{
		{name: "terminated", causes: []Cause{CauseServer}, code: "57P01",
			fault: func(t *testing.T, pid uint32) { d.exec(t, "SELECT pg_terminate_backend(%d)", pid) }},
		{name: "killed", causes: []Cause{CauseConnection}, all: true,
			fault: func(t *testing.T, pid uint32) { signal(t, pid, syscall.SIGKILL) }},
		{name: "fast restart", causes: []Cause{CauseServer}, code: "57P01", all: true,
			fault: func(t *testing.T, _ uint32) { restart(t, d, pgserver.Fast) }},
		{name: "immediate restart", causes: []Cause{CauseConnection}, all: true,
			fault: func(t *testing.T, _ uint32) { restart(t, d, pgserver.Immediate) }},
		{name: "postmaster killed", causes: []Cause{CauseServer, CauseConnection}, all: true,
			fault: func(t *testing.T, _ uint32) {
				if err := d.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				restart(t, d, pgserver.Fast)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			p := openDSN(t, d.dsn(), patient())
			crowd := startCrowd(t, p, 10)
			l := takeAll(t, p)
			c.fault(t, l.session.PID())
			first := receive(t, l.shared[0].losses)
			l.shared[0].losses <- first
			cause := causeOf(t, first.err)
			if !slices.Contains(c.causes, cause) {
				t.Errorf("lost because %v", first.err)
			}
			var server *pgconn.PgError
			if errors.As(first.err, &server); c.code != "" && (server == nil || server.Code != c.code) {
				t.Errorf("the server's own error is not in the chain of %v", first.err)
			}
			if !Transient(first.err) {
				t.Errorf("not transient: %v", first.err)
			}
			for _, h := range l.shared {
				h.lost(t, cause)
			}
			if c.all {
				for _, h := range []*caller{l.waited, l.dedicated} {
					if lost := receive(t, h.losses); !slices.Contains(c.causes, causeOf(t, lost.err)) {
						t.Errorf("lock %d was lost because %v", lost.id, lost.err)
					}
				}
				a := l.waiting.await(t)
				told := a.err
				if a.ok { // by a server that had already ended the holder's session, and was about to end this one
					told = receive(t, l.waiting.losses).err
				}
				if !slices.Contains(c.causes, causeOf(t, told)) {
					t.Errorf("the wait under way was told %+v", a)
				}
			} else {
				l.waited.release(t, l.waited.r.Session)
				l.dedicated.release(t, l.dedicated.r.Session)
			}
			crowd.makesProgress(t)
			var next Session
			eventually(t, "a new session takes the lost locks", func() bool {
				a := l.shared[0].try(t, p)
				next = a.session
				return a.ok
			})
			if next == l.session || next.Lost() != nil {
				t.Errorf("the lock was granted on a session that is lost")
			}
			if got := d.locks(t)[l.shared[0].r.ID]; got != next.PID() {
				t.Errorf("backend %d holds the lock, %d was told", got, next.PID())
			}
			crowd.end(t)
			closePool(t, p)
			l.shared[0].lost(t, CauseClosed)
			d.isEmpty(t)
			for _, h := range append(l.shared[1:], l.waited, l.dedicated) {
				h.quiet(t)
			}
		})
	}
}

func restart(t *testing.T, d database, mode pgserver.StopMode) {
	t.Helper()
	if err := d.Restart(within(t), mode); err != nil {
		t.Fatal(err)
	}
}

// lockers are clients of every kind: many on the shared session, one that was granted its lock by waiting, one with a
// session of its own, and one whose wait is under way.
type lockers struct {
	session                    Session
	shared                     []*caller
	waited, dedicated, waiting *caller
}

func takeAll(t *testing.T, p *Pool) lockers {
	t.Helper()
	l := lockers{shared: newCallers(span(1, 40)), waited: newCaller(101), dedicated: newCaller(102), waiting: newCaller(101)}
	l.session = l.shared[0].take(t, p)
	for _, c := range l.shared[1:] { // all on one session, though the crowd's load may have opened more
		if a := c.on(t, l.session, OpTry); !a.ok {
			t.Fatalf("%+v", a)
		}
	}
	if a := l.waited.on(t, l.waited.reserve(t, p, UseWaiting), OpWait); !a.ok {
		t.Fatalf("%+v", a)
	}
	l.dedicated.takeOwn(t, p)
	l.waiting.submit(l.waiting.reserve(t, p, UseWaiting), OpWait)
	return l
}

// crowd takes and releases locks without a pause while faults happen, and counts.
type crowd struct {
	callers []*caller
	stop    atomic.Bool
	pairs   atomic.Int64
	done    sync.WaitGroup
	failed  atomic.Pointer[string]
}

func startCrowd(t *testing.T, p *Pool, n int64) *crowd {
	t.Helper()
	c := &crowd{callers: newCallers(span(1000, n))}
	for _, member := range c.callers {
		c.done.Go(func() { c.work(t, member, p) })
	}
	t.Cleanup(func() {
		c.stop.Store(true)
		c.done.Wait()
	})
	c.makesProgress(t)
	return c
}

func (c *crowd) work(t *testing.T, member *caller, p *Pool) {
	for !c.stop.Load() {
		a := member.try(t, p)
		if a.err != nil && !Transient(a.err) {
			c.fail("a try failed for good: %v", a.err)
		}
		if !a.ok {
			continue
		}
		b := member.on(t, a.session, OpUnlock)
		if b.err == nil && !b.ok {
			c.fail("the lock %d was granted and not there", member.r.ID)
		}
		if b.err != nil && a.session.Lost() == nil {
			c.fail("an unlock failed on a session that lives: %v", b.err)
		}
		if b.ok {
			c.pairs.Add(1)
		}
		for len(member.losses) > 0 { // at most one for each grant
			if l := <-member.losses; l.session != a.session || len(member.losses) > 0 {
				c.fail("a loss that is not this grant's: %+v", l)
			}
		}
	}
}

func (c *crowd) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.failed.CompareAndSwap(nil, &text)
}

// makesProgress waits until every member could have had its lock a few times.
func (c *crowd) makesProgress(t *testing.T) {
	t.Helper()
	from := c.pairs.Load()
	eventually(t, "locks are taken and released", func() bool { return c.pairs.Load() >= from+50 })
}

func (c *crowd) end(t *testing.T) {
	t.Helper()
	c.stop.Store(true)
	c.done.Wait()
	if why := c.failed.Load(); why != nil {
		t.Error(*why)
	}
	for _, member := range c.callers {
		none(t, member.answers, "an answer too many")
	}
}

// The loss of one solo session is nobody else's.
func TestTheLossOfOneSessionLeavesTheOthers(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), patient())
	crowd := startCrowd(t, p, 4)
	l := takeAll(t, p)
	d.exec(t, "SELECT pg_terminate_backend(%d)", l.dedicated.r.Session.PID())
	d.exec(t, "SELECT pg_terminate_backend(%d)", l.waiting.r.Session.PID())
	l.dedicated.lost(t, CauseServer)
	if a := l.waiting.await(t); a.ok || causeOf(t, a.err) != CauseServer {
		t.Errorf("the wait under way was told %+v", a)
	}
	l.waited.release(t, l.waited.r.Session)
	for _, c := range l.shared {
		c.release(t, l.session)
		c.quiet(t)
	}
	crowd.makesProgress(t)
	crowd.end(t)
	losses := p.Stats().Losses
	if losses[CauseServer] != 1 || len(losses) != 1 {
		t.Errorf("losses: %v", losses)
	}
}

// An idle session reads its socket: nobody has to ask anything to learn that it is gone. The interval is an hour.
func TestAnIdleSessionSeesItsEndAtOnce(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := quick()
	config.HealthInterval, config.HealthTimeout = patience*4, patience*4
	p := openDSN(t, d.dsn(), config)
	c := newCaller(1)
	s := c.take(t, p)
	idle := newCaller(2)
	p.Return(idle.reserve(t, p, UseWaiting))
	eventually(t, "one session lies idle", func() bool { return p.Stats().Idle == 1 })
	d.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", d.name)
	c.lost(t, CauseServer)
	receive(t, ended(s))
	eventually(t, "the idle session is thrown away", func() bool { return p.Stats().Idle == 0 })
	own := idle.reserve(t, p, UseWaiting)
	if a := idle.on(t, own, OpWait); !a.ok {
		t.Errorf("%+v", a)
	}
}

// A session's last moments: what was granted, released or refused in them is told once, and rightly.
func TestRequestsThatMeetTheEndOfTheirSession(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), quick())
	for range 30 {
		callers := newCallers(span(1, 64))
		var s Session
		eventually(t, "a session", func() bool {
			a := callers[0].try(t, p)
			s = a.session
			return a.ok
		})
		var done sync.WaitGroup
		for _, c := range callers[1:] {
			done.Go(func() { c.submit(s, OpTry) })
		}
		d.exec(t, "SELECT pg_terminate_backend(%d)", s.PID())
		done.Wait()
		callers[0].lost(t, CauseServer)
		receive(t, ended(s))
		for _, c := range callers[1:] {
			a := c.await(t)
			if a.ok {
				c.lost(t, CauseServer)
			} else if causeOf(t, a.err) != CauseServer {
				t.Errorf("told %+v", a)
			}
			c.submit(s, OpTry) // to a session that has ended
			if a := c.await(t); a.ok || causeOf(t, a.err) != CauseServer {
				t.Errorf("told %+v", a)
			}
			c.quiet(t)
		}
	}
}
