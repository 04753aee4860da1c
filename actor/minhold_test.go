package actor

import (
	"context"
	"testing"
	"time"
)

func minHold(t *Terms) { t.MinHold = time.Second }

// A hold that ends before its minimum is over at once for its holder, and the lock stays at the server.
func TestMinHoldKeepsTheLock(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*Terms)
		end    func(*driver) *driver
	}{
		{"released", minHold, func(d *driver) *driver { return d.release("a") }},
		{"its context has ended", minHold, func(d *driver) *driver { return d.end("a", context.Canceled) }},
		{"of Do", func(t *Terms) { minHold(t); forWork(t) }, func(d *driver) *driver { return d.release("a") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDriver(t).acquire("a", row.change).acquire("b").yes().passes(300 * time.Millisecond)
			row.end(d).expect("over a settle a", stKept).wakesAfter(700 * time.Millisecond)
			if err := d.claims["a"].Outcome(); err != nil {
				t.Errorf("the outcome of the release is %v", err)
			}
			d.acquire("c", try).expect("refuse c", stKept).refusal("c", ErrNotAcquired)
			d.passes(time.Second/2).tick().expect("", stKept).wakesAfter(200 * time.Millisecond)
			// Then other processes have their turn first, and b asks again.
			d.passes(200*time.Millisecond).tick().expect("unlock", stUnlocking).yes().expect("try", stTrying)
			d.yes().expect("grant b", stHeld)
		})
	}
}

func TestMinHoldThatIsOverChangesNothing(t *testing.T) {
	d := newDriver(t).acquire("a", minHold).yes().passes(time.Second)
	d.release("a").expect("over a unlock", stUnlocking).yes().expect("settle a", stIdle)
	// Nor does one of a holder change anything for the next, who came before it was over.
	d = newDriver(t).acquire("a", minHold).acquire("b").yes().passes(time.Second).release("a")
	d.yes().yes().expect("grant b", stHeld).release("b").expect("over b unlock", stUnlocking)
}

// A lock that is given back was of no use to anybody, even if its context has ended before.
func TestMinHoldOfAnUnusedLock(t *testing.T) {
	unused := func(d *driver) *driver { d.claims["a"].unused = true; return d.release("a") }
	unused(newDriver(t).acquire("a", minHold).yes()).expect("over a unlock", stUnlocking).yes().expect("settle a", stIdle)
	d := newDriver(t).acquire("a", minHold).acquire("b").yes().end("a", context.Canceled).expect("over a settle a", stKept)
	unused(d).expect("unlock", stUnlocking).yes().expect("try", stTrying).yes().expect("grant b", stHeld)
	unused(d).expect("", stHeld) // it has gone: b has the lock
	in(t, stKept).release("a").expect("", stKept)
}

func TestMinHoldEndsWithItsSession(t *testing.T) {
	d := in(t, stKept).acquire("b").lose().expect("try", stTrying).yes().expect("grant b", stHeld)
	d.release("b").expect("over b unlock", stUnlocking) // nothing of a's is left
	d = newDriver(t).acquire("a", minHold, dedicated).session().yes().release("a").expect("over a settle a", stKept)
	d.lose().expect("return", stIdle).sleepsOn()
	d = newDriver(t).acquire("a", minHold, dedicated).session().yes().release("a").passes(time.Second)
	d.tick().expect("unlock", stUnlocking).yes().expect("return", stIdle)
}

func TestMinHoldEndsWithClose(t *testing.T) {
	in(t, stKept).acquire("b").close().expect("refuse b unlock", stUnlocking).yes().expect("exit", stIdle)
	newDriver(t).acquire("a", minHold, forWork).yes().close().expect("notify a", stHeld).
		release("a").expect("over a unlock", stUnlocking).yes().expect("settle a exit", stIdle)
}
