package pg

import (
	"errors"
	"testing"
	"testing/synctest"
)

// Where all sessions hold thousands of locks, locks that come one at a time get a session of their own, since a statement
// costs the server more the more locks its session holds. Locks that come in crowds do not.
func TestTheLoneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		config := quick()
		config.SharedSessions, config.MaxLocksPerSession = 1, 5000
		p := openPool(t, f.source(t), config)
		crowd := func(from int64, n int) map[Session]int {
			callers := newCallers(span(from, int64(n)))
			for _, c := range callers {
				c.ask(p)
			}
			where := make(map[Session]int)
			for _, c := range callers {
				a := c.await(t)
				if !a.ok {
					t.Fatalf("%+v", a)
				}
				where[a.session]++
			}
			return where
		}
		heavy := crowd(1, manyLocks)
		if len(heavy) != 1 {
			t.Fatalf("%d sessions, one is allowed", len(heavy))
		}
		synctest.Wait()            // its count is known a moment after the answers are
		newCaller(5000).take(t, p) // which finds that there is need of a lone one
		synctest.Wait()
		lone := newCaller(5001)
		light, _ := lone.take(t, p).(*Shared)
		if heavy[light] > 0 || !light.lone {
			t.Errorf("a lone lock is among %d others", light.locks.Load())
		}
		lone.release(t, light)
		for s, n := range crowd(10_000, 500) {
			if s == light && n > 250 {
				t.Errorf("%d locks of a crowd of 500 are on the lone session", n)
			}
		}
		if got := p.Stats().Shared; got != 2 {
			t.Errorf("%d shared sessions", got)
		}
		for i := range int64(2 * manyLocks) { // one at a time, and none is released
			newCaller(20_000+i).take(t, p)
		}
		// The count is known a moment after the answer is, so that it can be one too low for whoever comes next.
		if got := light.locks.Load(); got < manyLocks || got > manyLocks+loneQueue {
			t.Errorf("%d locks on the lone session", got)
		}
	})
}

// A lone session is no room for more locks than are allowed.
func TestTheLoneSessionIsNoRoomBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		config := quick()
		config.SharedSessions, config.MaxLocksPerSession = 1, manyLocks
		p := openPool(t, f.source(t), config)
		refused := 0
		for i := range int64(3 * manyLocks) {
			if a := newCaller(i).try(t, p); !a.ok {
				if !errors.Is(a.err, ErrTooManyLocks) {
					t.Fatal(a.err)
				}
				refused++
			}
			synctest.Wait()
		}
		if held := 3*manyLocks - refused; held > manyLocks+manyLocks {
			t.Errorf("%d locks are held on sessions that may hold %d and %d", held, manyLocks, manyLocks)
		}
	})
}
