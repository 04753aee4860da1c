package pg

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The end of a session, and what meets it.

// leaving gives a session that has told its holder of the end, and has the try of id 2 in the air. The server answers it when the
// returned function is called.
func leaving(t *testing.T, f *fakeServer, p *Pool, use Use, late Client) (s Session, answer func()) {
	t.Helper()
	gate := make(chan struct{})
	request := &Request{Client: late, ID: 2, Op: OpTry}
	var end func()
	if use == UseShared {
		holder := newCaller(1)
		s = holder.take(t, p)
		end = s.(*Shared).end //nolint:forcetypeassert // it is a shared one
		defer func() { holder.lost(t, CauseClosed) }()
	} else {
		own := newCaller(2).reserve(t, p, use)
		s, end = own, own.end
	}
	f.onStatement(func(fs *fakeSession, _ *question) {
		if fs.PID == s.PID() {
			<-gate
		}
	})
	s.Submit(request)
	synctest.Wait()
	end()
	synctest.Wait()
	if s.Lost() == nil {
		t.Fatal("the session does not end")
	}
	if now := time.Now(); s.TrustedUntil().After(now) {
		t.Errorf("a session that ends is trusted for %v", s.TrustedUntil().Sub(now))
	}
	return s, func() { close(gate); synctest.Wait() }
}

var bothKinds = map[string]Use{"shared": UseShared, "solo": UseDedicated}

// A grant that comes while its session ends is told of its loss while the server has the lock.
func TestAGrantWhileTheSessionEnds(t *testing.T) {
	for name, use := range bothKinds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				c := newCaller(2)
				s, answer := leaving(t, f, p, use, c)
				answer()
				if a := c.await(t); !a.ok {
					t.Fatalf("%+v", a)
				}
				if f.held()[2] == "" {
					t.Fatal("the server has freed the lock")
				}
				if len(c.losses) != 1 {
					t.Error("not told while the server has the lock")
				}
				c.lost(t, CauseClosed)
				receive(t, ended(s))
				c.quiet(t)
			})
		})
	}
}

// unlocker releases each lock in the moment in which it is granted.
type unlocker struct {
	*caller
	unlock *caller
}

func (u *unlocker) Done(r *Request) {
	u.caller.Done(r)
	u.unlock.submit(r.Session, OpUnlock)
}

// Where the unlock of such a grant is refused, the refusal is the last that its client hears.
func TestNoLossAfterTheAnswerToAnUnlock(t *testing.T) {
	for name, use := range bothKinds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				c := &unlocker{newCaller(2), newCaller(2)}
				s, answer := leaving(t, f, p, use, c)
				answer()
				told := len(c.losses)
				if a := c.unlock.await(t); a.ok || causeOf(t, a.err) != CauseClosed {
					t.Errorf("%+v", a)
				}
				receive(t, ended(s))
				if len(c.losses) > told {
					t.Error("told of a loss after the answer to the unlock")
				}
				c.unlock.quiet(t)
			})
		})
	}
}

// Whatever is sent to a session that takes its time to end is refused at once.
func TestASessionThatEndsSlowlyRefusesAtOnce(t *testing.T) {
	for name, use := range bothKinds {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{CloseTimeout: patience / 2})
				c := newCaller(2)
				s, answer := leaving(t, f, p, use, c)
				begin := time.Now()
				many := newCallers(span(100, 3*sharedRoom))
				for range 2 { // before the goodbye and after it
					var all sync.WaitGroup
					for _, m := range many {
						all.Go(func() {
							if a := m.on(t, s, OpTry); a.ok || causeOf(t, a.err) != CauseClosed {
								t.Errorf("%+v", a)
							}
						})
					}
					all.Wait()
					if took := time.Since(begin); took != 0 {
						t.Errorf("refused after %v", took)
					}
					wait(time.Second)
					begin = time.Now()
				}
				receive(t, ended(s))
				answer()
				if a := c.await(t); a.ok || a.err == nil {
					t.Errorf("%+v", a)
				}
				c.quiet(t)
			})
		})
	}
}

// A request meets the end of its session at every moment: it is answered, or reported unsent, once. Its lock is never held and
// forgotten.
func TestRequestsRaceTheEndOfTheirSession(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	p := openPool(t, f.source(t), Config{SharedSessions: 1, SessionTimeout: trust + 4*time.Millisecond})
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	callers := newCallers(span(1, 8))
	for i := range rounds {
		var s Session
		if i%2 == 0 {
			eventually(t, "the lock is free", func() bool {
				a := callers[0].try(t, p)
				s = a.session
				return a.ok
			})
		} else {
			s = callers[0].reserve(t, p, UseDedicated)
		}
		racing, start := callers[1:], make(chan struct{})
		if i%2 == 1 {
			racing = callers[:1]
		}
		var all sync.WaitGroup
		all.Go(func() {
			<-start
			if i%3 == 0 {
				f.of(t, s).conn.Close()
			} else if shared, ok := s.(*Shared); ok {
				shared.end()
			} else if own, ok := s.(*Solo); ok {
				own.end()
			}
		})
		for _, c := range racing {
			all.Go(func() {
				<-start
				for range 3 {
					raceTheEnd(t, c, s)
				}
			})
		}
		close(start)
		all.Wait()
		receive(t, ended(s))
		if i%2 == 0 {
			receive(t, callers[0].losses)
		}
		for _, c := range callers {
			c.quiet(t)
		}
	}
	eventually(t, "no lock is left", func() bool { return len(f.held()) == 0 })
}

// raceTheEnd tries and unlocks, and checks what its client hears.
func raceTheEnd(t *testing.T, c *caller, s Session) {
	a := c.on(t, s, OpTry)
	if a.ok && a.err != nil {
		t.Errorf("try: %+v", a)
	}
	if !a.ok {
		return
	}
	b := c.on(t, s, OpUnlock)
	told := len(c.losses)
	switch {
	case told > 1:
		t.Errorf("told of %d losses", told)
	case b.ok && told > 0:
		t.Error("released and lost")
	case b.ok == (b.err != nil):
		t.Errorf("unlock: %+v", b)
	}
	if !b.ok {
		<-ended(s)
		if len(c.losses) != told {
			t.Error("told of a loss after the answer to the unlock")
		}
	}
	for len(c.losses) > 0 {
		<-c.losses
	}
}

// An unlock that found no lock, and a grant in the same statement, come while the session ends: each is answered once.
func TestAnAlarmWhileTheSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		robbed, granted := newCaller(1), newCaller(2)
		s := robbed.take(t, p)
		f.unlock(f.of(t, s), 1)
		gate := make(chan struct{})
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "batch" {
				<-gate
			}
		})
		gather(s, func() {
			robbed.submit(s, OpUnlock)
			granted.submit(s, OpTry)
		})
		synctest.Wait()
		p.first().end()
		synctest.Wait()
		close(gate)
		if a := robbed.await(t); a.ok {
			t.Errorf("%+v", a)
		}
		if a := granted.await(t); !a.ok {
			t.Errorf("%+v", a)
		}
		granted.lost(t, CauseClosed)
		receive(t, ended(s))
		robbed.quiet(t)
		granted.quiet(t)
	})
}
