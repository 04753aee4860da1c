package actor

import (
	"testing"
	"time"
)

// The keeper on its own clock: nobody waits, nobody asks, and the lock is released when the minimum hold is over.
func TestMinHoldOnTheClock(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		first := r.acquire(key(1, minHold))
		sleep(300 * ms)
		r.mustRelease(first)
		if c := r.submit(key(1, try)); c.wait() == nil || c.Holder == nil || !c.Holder.Local {
			t.Fatalf("during a minimum hold: %v, held by %+v; this process holds it", c.Err, c.Holder)
		}
		next := r.submit(key(1))
		sleep(700*ms - 1)
		if unlocks := r.store.callsOf(1, fxUnlock); len(unlocks) != 0 {
			t.Fatalf("unlocked at %v, before the minimum hold is over", unlocks[0].at)
		}
		sleep(1)
		if err := next.wait(); err != nil || next.Local {
			t.Fatalf("after the minimum hold: %v, by a local hand-off: %v", err, next.Local)
		}
		if unlocks := r.store.callsOf(1, fxUnlock); len(unlocks) != 1 || unlocks[0].at.Sub(first.Granted) != time.Second {
			t.Fatalf("unlocked %v, should be once, a second after the grant at %v", unlocks, first.Granted)
		}
		r.mustRelease(next)
	})
}

// A release that comes after the minimum hold waits for the server's word, as any other.
func TestMinHoldThatIsOverOnTheClock(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.script = func(c call) verdict {
			if c.kind == fxUnlock {
				return verdict{after: 5 * ms}
			}
			return verdict{}
		}
		c := r.acquire(key(1, minHold))
		sleep(time.Second)
		r.mustRelease(c)
		if took := time.Since(c.Granted) - time.Second; took != 5*ms {
			t.Errorf("the release took %v, and the server 5ms", took)
		}
	})
}

func TestMinHoldOfAnUnusedLockOnTheClock(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.acquire(key(1, minHold))
		c.ReleaseUnused()
		r.mustRelease(r.acquire(key(1, minHold)))
		if waited := time.Since(c.Granted); waited != 0 {
			t.Errorf("granted to the next after %v", waited)
		}
	})
}

// A key whose lock is only kept goes idle when that is over.
func TestMinHoldThenIdle(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.mustRelease(r.acquire(key(1, minHold)))
		sleep(time.Second + 2*r.s.config.IdleTimeout)
		if n := r.s.Counters.Keys.Load(); n != 0 {
			t.Fatalf("%d keys are in use after the idle time", n)
		}
	})
}

// A keeper that fails during a minimum hold releases the lock: what was promised is lost with it, as with a session.
func TestMinHoldAndAFailedKeeper(t *testing.T) {
	failing(t, nil, func(t *testing.T, r *rig) {
		first := r.acquire(key(1, minHold))
		r.mustRelease(first)
		r.fail()
		sleep(100 * ms)
		if unlocks := r.store.callsOf(1, fxUnlock); len(unlocks) != 1 || len(r.failures) != 1 {
			t.Fatalf("%d unlocks and %d failures, should be one of each", len(unlocks), len(r.failures))
		}
		r.mustRelease(r.acquire(key(1)))
	})
}
