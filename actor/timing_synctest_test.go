package actor

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// gaps are the times between calls.
func gaps(calls []call) (gaps []time.Duration) {
	for i := 1; i < len(calls); i++ {
		gaps = append(gaps, calls[i].at.Sub(calls[i-1].at))
	}
	return gaps
}

func sameGaps(t *testing.T, what string, got []call, want ...time.Duration) {
	t.Helper()
	g := gaps(got)
	if len(g) != len(want) {
		t.Fatalf("%s: pauses of %v, should be %v", what, g, want)
	}
	for i := range g {
		if g[i] != want[i] {
			t.Fatalf("%s: pauses of %v, should be %v", what, g, want)
		}
	}
}

func TestPausesBetweenTries(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		c := r.submit(key(1, pollFirst(5)))
		sleep(time.Second)
		sameGaps(t, "tries", r.store.callsOf(1, fxTry), 100*ms, 200*ms, 300*ms)
		if waits := r.store.callsOf(1, fxWait); len(waits) != 1 || gaps(r.store.callsOf(1, fxTry, fxWait))[3] != 0 {
			t.Fatalf("after the last try the lock was waited for %d times, should be once and at once", len(waits))
		}
		r.store.unlockOutside(1)
		if err := c.wait(); err != nil || c.Attempts != 5 {
			t.Fatalf("answered %v after %d attempts, should be granted at the fifth", err, c.Attempts)
		}
		r.mustRelease(c)
	})
}

func TestPausesAfterFailures(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.script = func(c call) verdict {
			if c.kind == fxTry {
				return verdict{err: errBroken, after: 5 * ms}
			}
			return verdict{}
		}
		start := time.Now()
		c := r.submit(key(1, attempts(4)))
		c.expect(ErrAttempts)
		sameGaps(t, "tries", r.store.callsOf(1, fxTry), 105*ms, 205*ms, 305*ms)
		if waited := time.Since(start); waited != 620*ms || c.Attempts != 4 || len(c.Failures) != 4 {
			t.Errorf("%d attempts, %d failures in %v, should be 4, 4 in 620 ms", c.Attempts, len(c.Failures), waited)
		}
	})
}

func TestPollsWithoutASession(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.free = 0 }, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		c := r.submit(key(1))
		sleep(time.Minute + ms)
		if tries, polls := len(r.store.callsOf(1, fxTry)), len(r.store.callsOf(1, fxPoll)); tries != 1 || polls != 1 {
			t.Errorf("%d tries and %d polls, should be one of each: the store asks again", tries, polls)
		}
		r.store.unlockOutside(1)
		start := time.Now()
		if err := c.wait(); err != nil || time.Since(start) >= pollEvery || c.Attempts != 2 {
			t.Errorf("answered %v after %v and %d attempts", err, time.Since(start), c.Attempts)
		}
		r.mustRelease(c)
		if n := len(r.store.callsOf(1, fxWithdraw)); n != 1 {
			t.Errorf("the place in the queue for a session was given up %d times, should be once", n)
		}
	})
}

// A wait lasts for slices; between two of them others have their turn on the session.
func TestSlices(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.free = 1 }, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		r.store.lockOutside(2)
		start := time.Now()
		a, b := r.submit(key(1)), r.submit(key(2))
		sleep(7 * time.Second)
		for id := int64(1); id <= 2; id++ {
			var prev call
			for _, c := range r.store.callsOf(id, fxWait) {
				if !prev.at.IsZero() && c.at.Sub(prev.at) != 4*time.Second {
					t.Errorf("key %d waited again after %v, should be when the other had its slice", id, c.at.Sub(prev.at))
				}
				prev = c
			}
			if prev.at.Sub(start) < 4*time.Second {
				t.Errorf("key %d waited last after %v", id, prev.at.Sub(start))
			}
		}
		r.store.unlockOutside(1)
		r.store.unlockOutside(2)
		a.wait()
		b.wait()
		r.mustRelease(a)
		r.mustRelease(b)
	})
}

// Who is in the way is asked once a wait has lasted, and then now and again; and told to who gives up.
func TestAsksWhoIsInTheWay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		start := time.Now()
		c := r.submit(key(1))
		sleep(5 * time.Second)
		asked := r.store.callsOf(1, fxAsk)
		if len(asked) == 0 || asked[0].at.Sub(start) != 100*ms {
			t.Fatalf("asked %d times, should be after 100 ms", len(asked))
		}
		sameGaps(t, "questions", asked, 2*time.Second, 2*time.Second)
		c.ContextEnded(context.DeadlineExceeded)
		c.expect(context.DeadlineExceeded)
		if c.Holder == nil || c.Holder.ApplicationName != "outside" || c.Holder.Local {
			t.Errorf("told that %+v is in the way", c.Holder)
		}
	})
}

func TestShortWaitsAskNobody(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		c := r.submit(key(1))
		sleep(99 * ms)
		r.store.unlockOutside(1)
		c.wait()
		sleep(time.Second)
		if n := len(r.store.callsOf(1, fxAsk)); n != 0 {
			t.Errorf("asked %d times who holds the lock", n)
		}
		r.mustRelease(c)
	})
}

// An answer about who holds the lock may come late. A question during another has no answer.
func TestSlowHearsay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.script = func(c call) verdict {
			if c.kind == fxAsk {
				return verdict{after: 3 * time.Second}
			}
			return verdict{}
		}
		r.store.lockOutside(1)
		c := r.submit(key(1))
		sleep(4 * time.Second)
		if asked := len(r.store.callsOf(1, fxAsk)); asked != 2 {
			t.Errorf("asked %d times, should be twice", asked)
		}
		c.cancel()
		c.expect(errGaveUp)
		if c.Holder == nil {
			t.Error("nobody is said to hold the lock")
		}
	})
}

// A question that falls due during a try waits for its answer: the alarm must not go off again and again meanwhile.
func TestNothingIsDueDuringATry(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		r.store.script = func(c call) verdict {
			if c.kind == fxTry && c.nth > 1 {
				return verdict{after: time.Minute}
			}
			return verdict{}
		}
		c := r.submit(key(1, pollFirst(3)))
		sleep(30 * time.Second)
		r.store.unlockOutside(1)
		c.cancel()
		c.expect(errGaveUp)
	})
}

func TestHolderInThisProcess(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.acquire(key(1))
		granted := time.Now()
		sleep(time.Second)
		b := r.submit(key(1, try))
		b.expect(ErrNotAcquired)
		if h := b.Holder; h == nil || !h.Local || h.PID != a.Session.PID() || !h.Since.Equal(granted) ||
			!h.Seen.Equal(time.Now()) {
			t.Errorf("told that %+v is in the way", b.Holder)
		}
		r.mustRelease(a)
	})
}

// Local hand-offs end at their limit: then other processes get the lock.
func TestHandOffLimitLetsOthersIn(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		first := r.acquire(key(1))
		r.store.lockOutside(1) // it waits now
		var line []*caller
		for range 8 {
			line = append(line, r.submit(key(1)))
		}
		holder := first
		for i, next := range line[:4] { // 5 ms each
			sleep(5 * ms)
			r.mustRelease(holder)
			synctest.Wait()
			if handed := holderOf(r, 1) == next; handed != (i < 3) {
				t.Fatalf("hand-off %d: %v", i, handed)
			}
			holder = next
		}
		sleep(time.Second) // whoever is outside has it now
		r.store.unlockOutside(1)
		for _, next := range line[3:] {
			next.wait()
			r.mustRelease(next)
		}
		if local, server := r.s.Counters.GrantsLocal.Load(), r.s.Counters.GrantsServer.Load(); local != 7 || server != 2 {
			t.Errorf("%d grants by hand and %d by the server, should be 7 and 2", local, server)
		}
	})
}

// holderOf is who holds a key now.
func holderOf(r *rig, id int64) *caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	if live := r.holding(id); len(live) > 0 {
		return live[0]
	}
	return nil
}

// When the session is trusted no longer, a release does not hand the lock on.
func TestTrustEndsDuringAHold(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.acquire(key(1))
		b := r.submit(key(1))
		sleep(5 * ms)
		r.store.setTrust(1, time.Now())
		before := r.store.tenures(1)
		r.mustRelease(a)
		b.wait()
		if b.Local || b.tenure == before {
			t.Error("the lock was handed on")
		}
		r.mustRelease(b)
	})
}
