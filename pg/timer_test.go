package pg

import (
	"testing"
	"testing/synctest"
	"time"
)

// A session that nobody used asks nothing, so that its trust has run out. That is no loss: it holds nothing, and the answer to the
// next try renews the trust.
func TestATryAfterTheTrustOfAnIdleSessionHasRunOut(t *testing.T) {
	for name, delay := range map[string]time.Duration{"fast": 0, "slow": defaultTimeout/2 - time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				f.onStatement(func(*fakeSession, *question) { <-time.After(delay) })
				first := p.first()
				c := newCaller(1)
				wait(trust + time.Second)
				for range 2 { // the second after the session's owner has seen the first answer, or not
					s := c.take(t, p)
					if s != Session(first) || s.TrustedUntil().Before(time.Now()) {
						t.Errorf("granted on another session, or on one that is not trusted: %v", s.TrustedUntil())
					}
					c.release(t, s)
					wait(trust + time.Second)
				}
				c.quiet(t)
			})
		})
	}
}

// A grant that the owner has no use for yet is watched over all the same: the health question goes when it is due, and the lock is
// lost when the trust is over.
func TestAGrantIsWatchedFromTheStart(t *testing.T) {
	for name, silent := range map[string]bool{"healthy": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				before := newCaller(1)
				before.release(t, before.take(t, p))
				wait(time.Millisecond) // the session's trust is as long as that of the grant, nearly
				c := newCaller(2)
				granted := time.Now()
				s := c.take(t, p)
				f.onStatement(func(_ *fakeSession, q *question) { q.never = silent })
				wait(4 * trust)
				if !silent {
					c.quiet(t)
					c.release(t, s)
					return
				}
				if l := c.lost(t, CauseSilence); l.at.Sub(granted) > trust {
					t.Errorf("lost %v after the grant", l.at.Sub(granted))
				}
			})
		})
	}
}

// The clock of a session wakes it when there is something to do and at no other time.
func TestTheClockDoesNotSpin(t *testing.T) {
	for name, use := range map[string]Use{"shared": UseShared, "solo": UseDedicated} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				c := newCaller(1)
				s := c.takeOn(t, p, use)
				wait(defaultInterval - 10*time.Millisecond)
				answer := make(chan struct{})
				f.onStatement(func(_ *fakeSession, q *question) { <-answer })
				c.submit(s.self, OpUnlock) // the health question is due while this is under way
				wait(30 * time.Millisecond)
				if now := time.Now(); s.armed.Before(now) {
					t.Errorf("the timer is set to %v ago", now.Sub(s.armed))
				}
				close(answer)
				c.await(t)
			})
		})
	}
}

// The end of the trust counts where the owner was held up, so that the answers that it waits for are not due before that.
func TestTheEndOfTrustIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, err := (&Config{}).WithDefaults()
		if err != nil {
			t.Fatal(err)
		}
		at := func(f func(s *session)) *session {
			s := &session{config: &config, connection: connection{asked: time.Now()}, timer: time.NewTimer(time.Hour)}
			s.trust(time.Now())
			s.air = []*sending{{deadline: s.TrustedUntil().Add(time.Second)}}
			f(s)
			return s
		}
		for _, holds := range []bool{true, false} {
			wakes := at(func(s *session) { s.setTimer(false, holds) })
			if got := wakes.armed.Equal(wakes.TrustedUntil()); got != holds {
				t.Errorf("holds=%v: the timer wakes at the end of the trust: %v", holds, got)
			}
			over := at(func(s *session) {
				s.overdue(s.TrustedUntil().Add(-1), holds)
				if s.loss != nil {
					t.Errorf("holds=%v: lost while it is trusted", holds)
				}
				s.overdue(s.TrustedUntil(), holds)
			})
			if lost := over.loss != nil && over.loss.Cause == CauseSilence; lost != holds {
				t.Errorf("holds=%v: lost at the end of the trust: %v", holds, lost)
			}
		}
	})
}
