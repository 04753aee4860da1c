package pg

import (
	"testing"
	"testing/synctest"
	"time"
)

// A session with many locks rests after the statement of a crowd, for as long as that took, unless enough for another are
// there before; and not after that of a lone caller.
func TestHeavySessionRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{SharedSessions: 1, MaxLocksPerSession: 2 * fullAt})
		s := (*p.shared.Load())[0]
		callers := newCallers(span(1, 2*fullAt))
		for _, c := range callers {
			c.submit(s, OpTry)
		}
		for _, c := range callers {
			if a := receive(t, c.answers); !a.ok {
				t.Fatalf("%+v", a)
			}
		}
		time.Sleep(2 * restMost) //nolint:forbidigo // in a bubble it is exact

		const took = 4 * time.Millisecond
		slow := func(d time.Duration) {
			f.onStatement(func(_ *fakeSession, q *question) {
				if q.kind == "unlock" || q.kind == "batch" {
					time.Sleep(d) //nolint:forbidigo // in a bubble it is exact
				}
			})
		}
		slow(took)
		// unlock is how long it takes until the last of n unlocks is answered. Submitted at once, they are a crowd.
		unlock := func(n int) time.Duration {
			t.Helper()
			synctest.Wait() // nobody is in the middle of sending
			began := time.Now()
			var all []*Request
			for _, c := range callers[:n] {
				c.r.Op = OpUnlock
				all = append(all, &c.r)
			}
			s.submitAll(all)
			var last time.Time
			for _, c := range callers[:n] {
				last = receive(t, c.answers).at
			}
			callers = callers[n:]
			return last.Sub(began)
		}
		for _, step := range []struct {
			what string
			n    int
			want time.Duration
		}{
			{"a lone caller", 1, took},
			{"one after a lone caller", 1, took},
			{"a crowd", restFrom, took},
			{"one after a crowd", 1, 2 * took},
			{"one after that", 1, took},
			{"another crowd", restFrom, took},
			{"enough for a statement after a crowd", maxBatch, took},
		} {
			if got := unlock(step.n); got != step.want {
				t.Errorf("%s: answered after %v, should be %v", step.what, got, step.want)
			}
		}
		time.Sleep(2 * restMost) //nolint:forbidigo // in a bubble it is exact
		slow(5 * restMost)
		unlock(restFrom)
		if got, most := unlock(1), 6*restMost; got != most {
			t.Errorf("after a slow statement: answered after %v, should be %v", got, most)
		}
	})
}

// Whatever the session rests for, its end and a lost connection are not kept waiting.
func TestRestDoesNotDelayTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{SharedSessions: 1, MaxLocksPerSession: 2 * fullAt})
		s := (*p.shared.Load())[0]
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.kind == "batch" {
				time.Sleep(restMost) //nolint:forbidigo // in a bubble it is exact
			}
		})
		callers := newCallers(span(1, 2*fullAt))
		for _, c := range callers {
			c.submit(s, OpTry)
		}
		for _, c := range callers {
			receive(t, c.answers)
		}
		for _, server := range f.all() {
			server.conn.Close()
		}
		began := time.Now()
		for _, c := range callers {
			if l := receive(t, c.losses); l.at.Sub(began) > 0 {
				t.Fatalf("a loss was told %v after it", l.at.Sub(began))
			}
		}
	})
}
