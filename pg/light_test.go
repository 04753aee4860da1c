package pg

import (
	"errors"
	"testing"
	"testing/synctest"
)

// Where all sessions hold thousands of locks, locks that come one at a time get a session of their own, since a statement
// costs the server more the more locks its session holds. Locks that come in crowds do not.
func TestLightSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		config := quick()
		config.SharedSessions, config.MaxLocksPerSession = 1, 5000
		p := openPool(t, f.source(t), config)
		crowd := func(from int64, n int) map[*Session]int {
			callers := newCallers(span(from, int64(n)))
			for _, c := range callers {
				p.Try(&c.r)
			}
			where := make(map[*Session]int)
			for _, c := range callers {
				a := receive(t, c.answers)
				if !a.ok {
					t.Fatalf("%+v", a)
				}
				where[a.session]++
			}
			return where
		}
		heavy := crowd(1, fullAt)
		if len(heavy) != 1 {
			t.Fatalf("%d sessions, one is allowed", len(heavy))
		}
		synctest.Wait()            // its count is known a moment after the answers are
		newCaller(5000).take(t, p) // which finds that there is need of a light one
		synctest.Wait()
		lone := newCaller(5001)
		light := lone.take(t, p)
		if heavy[light] > 0 || !light.light {
			t.Errorf("a lone lock is among %d others", light.locks.Load())
		}
		lone.release(t, light)
		for s, n := range crowd(10_000, 500) {
			if s == light && n > 250 {
				t.Errorf("%d locks of a crowd of 500 are on the light session", n)
			}
		}
		if got := p.Stats().Shared; got != 2 {
			t.Errorf("%d shared sessions", got)
		}
		for i := range int64(2 * lightLocks) { // one at a time, and none is released
			newCaller(20_000+i).take(t, p)
		}
		// The count is known a moment after the answer is, so that it can be one too low for whoever comes next.
		if got := light.locks.Load(); got < lightLocks || got > lightLocks+lightWaiting {
			t.Errorf("%d locks on the light session", got)
		}
	})
}

// A light session is no room for more locks than are allowed.
func TestLightSession_LimitHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		config := quick()
		config.SharedSessions, config.MaxLocksPerSession = 1, fullAt
		p := openPool(t, f.source(t), config)
		refused := 0
		for i := range int64(3 * fullAt) {
			if a := newCaller(i).try(t, p); !a.ok {
				if !errors.Is(a.err, ErrTooManyLocks) {
					t.Fatal(a.err)
				}
				refused++
			}
			synctest.Wait()
		}
		if held := 3*fullAt - refused; held > fullAt+lightLocks {
			t.Errorf("%d locks are held on sessions that may hold %d and %d", held, fullAt, lightLocks)
		}
	})
}
