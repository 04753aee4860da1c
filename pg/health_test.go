package pg

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/childtest"
)

// Trust, health and loss by silence. Everything that is about time alone runs on synctest's clock.

const trust = defaultInterval + defaultTimeout

func TestASessionWithLocksIsAskedEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		begin := time.Now()
		p := openPool(t, f.source(t), Config{})
		holder := newCaller(1)
		shared := holder.take(t, p)
		other := newCaller(2)
		solo := other.reserve(t, p, UseWaiting)
		if a := other.on(t, solo, OpWait); !a.ok {
			t.Fatalf("%+v", a)
		}
		asked := make(map[uint32][]time.Duration)
		f.onStatement(func(s *fakeSession, q *question) {
			if q.Kind != "ask" {
				t.Errorf("a session at rest was sent %q", q.Kind)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			asked[s.PID] = append(asked[s.PID], time.Since(begin))
		})
		wait(22 * time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		want := []time.Duration{5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second}
		for _, s := range []Session{shared, solo} {
			if !slices.Equal(asked[s.PID()], want) {
				t.Errorf("the %T session was asked at %v", s, asked[s.PID()])
			}
			if until := s.TrustedUntil().Sub(begin); until != 20*time.Second+trust {
				t.Errorf("the %T session is trusted until %v", s, until)
			}
		}
		holder.quiet(t)
	})
}

// wait lets the bubble's clock run.
func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A busy session is asked as well: that locks can be taken on it says nothing about which backend answers.
func TestABusySessionIsAskedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		asked := 0
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "ask" {
				asked++
			}
		})
		c := newCaller(1)
		for range 290 { // 29 s
			s := c.take(t, p)
			wait(100 * time.Millisecond)
			c.release(t, s)
		}
		if asked != 5 {
			t.Errorf("asked %d times in 29 s", asked)
		}
	})
}

// The trust counts from when the answered statement was sent: the answer says nothing about what came after.
func TestTrustCountsFromTheSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		begin := time.Now()
		p := openPool(t, f.source(t), Config{})
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "try" || q.Kind == "ask" {
				<-time.After(1500 * time.Millisecond)
			}
		})
		wait(3 * time.Second)
		c := newCaller(1)
		c.ask(p)
		wait(1400 * time.Millisecond)
		session := p.first()
		if until := session.TrustedUntil().Sub(begin); until != trust {
			t.Errorf("before the answer: trusted until %v", until)
		}
		if a := c.await(t); !a.ok {
			t.Fatalf("%+v", a)
		}
		if until := session.TrustedUntil().Sub(begin); until != 3*time.Second+trust {
			t.Errorf("sent after 3 s, answered after 4.5 s: trusted until %v", until)
		}
		wait(1600 * time.Millisecond) // asked at 5 s, not answered before 6.5 s
		if until := session.TrustedUntil().Sub(begin); until != 3*time.Second+trust {
			t.Errorf("asked and not answered: trusted until %v", until)
		}
		wait(time.Second)
		if until := session.TrustedUntil().Sub(begin); until != 5*time.Second+trust {
			t.Errorf("asked after 5 s, answered after 6.5 s: trusted until %v", until)
		}
		c.quiet(t)
	})
}

// A server that falls silent is believed in until exactly the trust has passed since the last answered sending.
func TestSilenceIsLossWhenTheTrustIsOver(t *testing.T) {
	for name, busy := range map[string]time.Duration{"idle": 0, "busy": 4900 * time.Millisecond, "asked": 6 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				wait(time.Second)
				sent := time.Now()
				holder, late := newCaller(1), newCaller(2)
				s := holder.take(t, p)
				f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
				if busy > 0 {
					wait(busy)
					late.submit(s, OpTry)
				}
				lost := holder.lost(t, CauseSilence)
				if after := lost.at.Sub(sent); after > trust || after < defaultTimeout {
					t.Errorf("lost %v after the sending of the last answered statement", after)
				}
				if now := time.Now(); s.TrustedUntil().After(now) {
					t.Errorf("lost at %v and trusted until %v", now, s.TrustedUntil())
				}
				if busy > 0 {
					if a := late.await(t); a.ok || causeOf(t, a.err) != CauseSilence {
						t.Errorf("the request under way was told %+v", a)
					}
				}
				receive(t, ended(s))
				holder.quiet(t)
				late.quiet(t)
			})
		})
	}
}

// The answer that comes after the loss brings nothing back.
func TestALateAnswerRenewsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		holder := newCaller(1)
		s := holder.take(t, p)
		answered := make(chan struct{})
		f.onStatement(func(fs *fakeSession, q *question) {
			if q.Kind == "ask" && fs.PID == s.PID() {
				<-answered
			}
		})
		blocker := &blockingClient{caller: newCaller(2), entered: make(chan struct{}), leave: make(chan struct{})}
		blocker.r.Client = blocker
		blocker.r.ID = 2
		blocker.ask(p)
		blocker.await(t)
		<-blocker.entered // its Lost is under way: the session has not closed its socket yet
		close(answered)
		synctest.Wait()
		if now := time.Now(); s.TrustedUntil().After(now) {
			t.Errorf("lost, and trusted for another %v", s.TrustedUntil().Sub(now))
		}
		close(blocker.leave)
		holder.lost(t, CauseSilence)
	})
}

// blockingClient holds a session's owner up while it tells of a loss.
type blockingClient struct {
	*caller
	entered, leave chan struct{}
}

func (b *blockingClient) Lost(s Session, id int64) {
	close(b.entered)
	<-b.leave
	b.caller.Lost(s, id)
}

// A grant that arrives while its session is being given up is told of its loss before the server hears of anything, and
// so before anybody else can have the lock.
func TestAGrantInTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		c := &slowClient{caller: newCaller(1), server: f}
		c.r.Client = c
		c.ask(p)
		if a := c.await(t); !a.ok {
			t.Fatalf("%+v", a)
		}
		c.lost(t, CauseSilence)
		if !c.heldWhenLost {
			t.Error("the server had freed the lock before its holder was told")
		}
	})
}

// slowClient keeps the session's reader in Done until the trust has passed, as a processor that is wanted elsewhere may.
type slowClient struct {
	*caller
	server       *fakeServer
	heldWhenLost bool
}

func (c *slowClient) Done(r *Request) {
	if r.OK {
		<-time.After(time.Until(r.Session.TrustedUntil()) + time.Millisecond)
	}
	c.caller.Done(r)
}

func (c *slowClient) Lost(s Session, id int64) {
	c.heldWhenLost = c.server.held()[id] != ""
	c.caller.Lost(s, id)
}

func TestWhatAnswersIsCompared(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *fakeServer, s *fakeSession, q *question)
		cause  Cause
	}{
		"another backend": {func(_ *fakeServer, s *fakeSession, q *question) {
			q.Text("4711 f 1700000000500000 1700000001500000 fake")
		}, CauseBackend},
		"another server": {func(_ *fakeServer, s *fakeSession, q *question) {
			q.Text(fmt.Sprint(s.PID, " f 1800000000500000 1700000001500000 fake"))
		}, CauseBackend},
		"another database": {func(_ *fakeServer, s *fakeSession, q *question) {
			q.Text(fmt.Sprint(s.PID, " f 1700000000500000 other fake"))
		}, CauseBackend},
		"in recovery": {func(f *fakeServer, s *fakeSession, q *question) {
			q.Text(fmt.Sprint(s.PID, " t 1700000000500000 1700000001500000 fake"))
		}, CauseRecovery},
		"nothing":       {func(_ *fakeServer, _ *fakeSession, q *question) { q.Text("") }, CauseBackend},
		"no row":        {func(*fakeServer, *fakeSession, *question) {}, CauseBackend},
		"an error":      {func(_ *fakeServer, _ *fakeSession, q *question) { q.Code = "XX000" }, CauseDoubt},
		"two cancels":   {func(_ *fakeServer, _ *fakeSession, q *question) { q.Code = "57014" }, CauseDoubt},
		"a transaction": {func(f *fakeServer, s *fakeSession, q *question) { q.Text(f.identity(s)); q.status = 'T' }, CauseDoubt},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				holders := newCallers(span(1, 3))
				var s Session
				for _, h := range holders {
					s = h.take(t, p)
				}
				f.onStatement(func(fs *fakeSession, q *question) {
					if q.Kind == "ask" && fs.PID == s.PID() {
						q.answered = true
						c.change(f, fs, q)
					}
				})
				for _, h := range holders {
					h.lost(t, c.cause)
				}
				receive(t, ended(s))
				if held := f.held(); len(held) != 0 {
					t.Errorf("left at the server: %v", held)
				}
				if n := p.Stats().Losses[c.cause]; n != 3 {
					t.Errorf("%d losses were counted", n)
				}
			})
		})
	}
}

// short is a config whose trust runs out while a test looks on.
func short() Config {
	return Config{HealthInterval: 400 * time.Millisecond, HealthTimeout: 3 * time.Second,
		SessionTimeout: 9 * time.Second, ConnectTimeout: 20 * time.Second, CloseTimeout: 300 * time.Millisecond}
}

func TestAFrozenServer(t *testing.T) {
	noLeaks(t)
	d := newServer(t, nil)
	p := openDSN(t, d.dsn(), short())
	holders := newCallers(span(1, 50))
	var s Session
	for _, h := range holders {
		s = h.take(t, p)
	}
	other, others := openDSN(t, d.dsn(), short()), newCaller(1000)
	others.take(t, other)
	frozen := time.Now()
	if err := d.SignalAll(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	closePool(t, other) // nothing answers its goodbye either
	others.lost(t, CauseClosed)
	late := newCaller(99)
	late.submit(s, OpTry)
	for _, h := range holders {
		if l := h.lost(t, CauseSilence); l.at.Before(frozen) {
			t.Errorf("lost before anything happened")
		}
	}
	if a := late.await(t); a.ok || causeOf(t, a.err) != CauseSilence {
		t.Errorf("the request under way: %+v", a)
	}
	// Its backends hold the locks still: that the client knew before is the whole point.
	if err := d.SignalAll(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the locks of the lost session are free", func() bool { return len(d.locks(t)) == 0 })
	eventually(t, "a new session takes the lock", func() bool { return holders[0].try(t, p).ok })
	closePool(t, p)
	d.isEmpty(t)
}

// A middlebox that has stopped forwarding acknowledges everything: neither side's kernel sees that the other is gone.
// The holder must know before the server lets go, and the server must let go.
func TestAFrozenMiddlebox(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	d.needsSessionTimeout(t)
	box := newMiddlebox(t, "tcp", d.TCPAddr())
	p := openDSN(t, box.through(t, d.tcpDSN()), short())
	holder := newCaller(7)
	s := holder.take(t, p)
	d.exec(t, "SELECT 1") // it is connected
	box.Freeze()
	holder.lost(t, CauseSilence)
	if holds := d.locks(t)[7]; holds != s.PID() {
		t.Errorf("when the holder was told, backend %d had the lock", holds)
	}
	eventually(t, "the server ends the silent session by itself", func() bool { return len(d.locks(t)) == 0 })
	box.Thaw()
}

// A process that was stopped wakes with everything as it was, and no timer has fired yet.
func TestAStoppedProcessFindsItsTrustPassed(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	d.needsSessionTimeout(t)
	child := childtest.Start(t, "stopped", d.dsn())
	if line := child.Line(t); line != "held" {
		t.Fatalf("it says %q", line)
	}
	child.Freeze(t)
	eventually(t, "the server takes the stopped holder's lock", func() bool { return len(d.locks(t)) == 0 })
	free := time.Now()
	child.Wake(t)
	var believed int64
	var cause string
	line := child.Line(t)
	if _, err := fmt.Sscanf(line, "believed %d %q", &believed, &cause); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if last := time.Unix(0, believed); !last.Before(free) {
		t.Errorf("the process believed in its lock %v after the server had freed it", last.Sub(free))
	}
	if !slices.Contains([]Cause{CauseSilence, CauseServer, CauseConnection}, Cause(cause)) {
		t.Errorf("cause %q", cause)
	}
	child.End(t)
}
