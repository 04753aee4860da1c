package pg

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// alone makes the reader doze: one caller's statements, close upon each other. It ends with nothing held by the caller.
func alone(t *testing.T, p *Pool, c *caller) *Session {
	t.Helper()
	for range 4 * aloneAfter {
		s := c.take(t, p)
		synctest.Wait()
		if s.duty.Load() == dutyReader {
			c.release(t, s)
		} else if a := c.attended(t, s, OpUnlock); !a.ok {
			t.Fatalf("%+v", a)
		}
		if synctest.Wait(); s.duty.Load() == dutyFree {
			return s
		}
	}
	t.Fatal("the reader does not doze")
	return nil
}

// attended runs one operation whose answer the caller reads if it can.
func (c *caller) attended(t *testing.T, s *Session, op Op) answer {
	t.Helper()
	c.r.Attended = true
	c.submit(s, op)
	c.r.Attend(nil)
	c.r.Attended = false
	return receive(t, c.answers)
}

func TestAttend_LoneCallerReadsItsOwnAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), quick())
		c := newCaller(1)
		s := alone(t, p, c)
		before := s.attended.Load()
		for range 3 {
			if a := c.attended(t, s, OpTry); !a.ok {
				t.Fatalf("%+v", a)
			}
			if a := c.attended(t, s, OpUnlock); !a.ok {
				t.Fatalf("%+v", a)
			}
		}
		if got := s.attended.Load() - before; got != 6 {
			t.Errorf("the caller read %d of 6 answers", got)
		}
		time.Sleep(3 * dozeFor) //nolint:forbidigo // in a bubble it is exact
		synctest.Wait()
		if s.duty.Load() != dutyReader {
			t.Error("nobody reads the idle session")
		}
	})
}

// What nobody has promised to attend to calls the reader.
func TestAttend_WhoDoesNotAttendIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), quick())
		c, late := newCaller(1), newCaller(2)
		s := alone(t, p, c)
		start := time.Now()
		if a := c.on(t, s, OpTry); !a.ok || time.Since(start) != 0 {
			t.Errorf("%+v after %v", a, time.Since(start))
		}
		alone(t, p, newCaller(3))
		late.r.Attended = true // and then it is not
		late.submit(s, OpTry)
		late.r.MustRead()
		if a := receive(t, late.answers); !a.ok || time.Since(start) != 0 {
			t.Errorf("%+v after %v", a, time.Since(start))
		}
		c.release(t, s)
		late.release(t, s)
	})
}

// A caller who reads comes back when the server hangs, and the trust ends as it would with the reader.
func TestAttend_HungServerHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), quick())
		holder, c := newCaller(1), newCaller(2)
		s := alone(t, p, c)
		if a := holder.attended(t, s, OpTry); !a.ok {
			t.Fatalf("%+v", a)
		}
		alone(t, p, c)
		trusted := s.TrustedUntil()
		f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
		c.r.Attended = true
		c.submit(s, OpTry)
		start := time.Now()
		c.r.Attend(nil)
		if took := time.Since(start); took > attendFor {
			t.Errorf("the caller was held for %v", took)
		}
		holder.lost(t, CauseSilence)
		if now := time.Now(); now.After(trusted) {
			t.Errorf("lost %v after the end of trust", now.Sub(trusted))
		}
		if a := receive(t, c.answers); a.ok || a.err == nil {
			t.Errorf("%+v", a)
		}
		c.quiet(t)
	})
}

// A session that ends gives a silent server time to hang up. A caller who reads is not kept for as long, and the reader is.
func TestAttend_TheEndHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), quick())
		c := newCaller(2)
		s := alone(t, p, c)
		f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
		c.r.Attended = true
		c.submit(s, OpTry)
		start := time.Now()
		left := make(chan time.Duration, 1)
		go func() {
			c.r.Attend(nil)
			left <- time.Since(start)
		}()
		synctest.Wait()
		if s.duty.Load() != dutyCaller {
			t.Fatal("the caller does not read")
		}
		s.stop()
		if took := <-left; took > attendFor {
			t.Errorf("the caller was held for %v", took)
		}
		<-s.Ended()
		if took := time.Since(start); took < s.config.CloseTimeout {
			t.Errorf("the server had %v to hang up, should be %v", took, s.config.CloseTimeout)
		}
		if a := receive(t, c.answers); a.ok || a.err == nil {
			t.Errorf("%+v", a)
		}
	})
}

// The end of the connection is seen while the reader dozes, and while a caller reads.
func TestAttend_LossIsSeen(t *testing.T) {
	for _, when := range []string{"dozing", "reading"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), quick())
				holder, c := newCaller(1), newCaller(2)
				s := alone(t, p, c)
				if a := holder.attended(t, s, OpTry); !a.ok {
					t.Fatalf("%+v", a)
				}
				alone(t, p, c)
				start := time.Now()
				if when == "reading" {
					f.onStatement(func(_ *fakeSession, q *question) {
						q.answered, q.hangUp = true, true
						q.edit = func([]pgproto3.BackendMessage) []pgproto3.BackendMessage { return nil }
					})
					c.r.Attended = true
					c.submit(s, OpTry)
					c.r.Attend(nil)
					if a := receive(t, c.answers); a.ok || a.err == nil {
						t.Errorf("%+v", a)
					}
				} else {
					f.of(t, s).conn.Close()
				}
				holder.lost(t, CauseConnection)
				if took := time.Since(start); took > 2*dozeFor {
					t.Errorf("seen after %v", took)
				}
			})
		})
	}
}

// Callers who read, callers who do not, and the reader's own return meet in every order: everybody is answered.
func TestAttend_Crowd(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	config := quick()
	config.SharedSessions = 1
	p := openPool(t, f.source(t), config)
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var crowd sync.WaitGroup
	for i := range int64(3) {
		crowd.Go(func() {
			c := newCaller(i)
			for n := range rounds {
				s := c.take(t, p)
				switch (int64(n) + i) % 3 {
				case 0:
					c.release(t, s)
				default:
					if a := c.attended(t, s, OpUnlock); !a.ok {
						t.Errorf("%+v", a)
						return
					}
				}
			}
			c.quiet(t)
		})
	}
	crowd.Wait()
}
