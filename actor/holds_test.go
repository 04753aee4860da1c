package actor

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Handed on in this process for at most the limit of grants.
func TestHandOffLimitOfGrants(t *testing.T) {
	d := newDriver(t) // three grants
	d.acquire("a").acquire("b").acquire("c").acquire("d").yes().expect("grant a", stHeld)
	if d.claims["a"].Local {
		t.Error("the server's grant counts as local")
	}
	d.release("a").expect("over a grant b settle a", stHeld)
	if c := d.claims["b"]; !c.Local || c.Outcome() != nil || d.claims["a"].Outcome() != nil {
		t.Errorf("local %v, outcomes %v and %v", c.Local, c.Outcome(), d.claims["a"].Outcome())
	}
	d.release("b").expect("over b grant c settle b", stHeld)
	// Three waiters fit in the queue.
	if got := d.claims["d"]; !errors.Is(got.Err, ErrTooManyWaiters) {
		t.Errorf("d was answered with %v", got.Err)
	}
	d.acquire("e").release("c").expect("over c unlock", stUnlocking)
	d.yes().expect("settle c try", stTrying).yes().expect("grant e", stHeld)
	d.acquire("f").release("e").expect("over e grant f settle e", stHeld) // a new count
}

// And for at most the limit of time since the server's grant.
func TestHandOffLimitOfTime(t *testing.T) {
	for _, row := range []struct {
		held time.Duration
		did  string
		to   state
	}{
		{20*time.Millisecond - 1, "over a grant b settle a", stHeld},
		{20 * time.Millisecond, "over a unlock", stUnlocking},
	} {
		in(t, stHeld).acquire("b").passes(row.held).release("a").expect(row.did, row.to)
	}
	d := in(t, stHeld).acquire("b").passes(15*time.Millisecond).release("a").expect("over a grant b settle a", stHeld)
	d.acquire("c").passes(15*time.Millisecond).release("b").expect("over b unlock", stUnlocking)
}

// A session for waiting is not kept by a queue that does not wait.
func TestSessionGoesBackAfterRelease(t *testing.T) {
	d := in(t, stWaiting).yes().acquire("b").passes(time.Second).release("a").expect("over a unlock", stUnlocking)
	d.yes().expect("settle a return try", stTrying)
}

// Neither the server's grant nor a hand-off gives the lock on a session that is trusted no longer.
func TestNoGrantWithoutTrust(t *testing.T) {
	d := in(t, stTrying)
	d.trust = d.now
	d.yes().expect("unlock", stUnlocking)
	d.trust = d.now.Add(1)
	d.yes().expect("try", stTrying).yes().expect("grant a", stHeld)

	d = in(t, stHeld).acquire("b")
	d.trust = d.now
	d.release("a").expect("over a unlock", stUnlocking).yes().expect("settle a try", stTrying)
}

// A lock on a session with others is not for one who asked for a session of its own, and the other way round is right.
func TestDedicatedGrants(t *testing.T) {
	d := in(t, stHeld).acquire("b", dedicated).acquire("c").release("a").expect("over a unlock", stUnlocking)
	d.yes().expect("settle a reserve-dedicated", stPausing).session().expect("try-own", stTrying)
	d.yes().expect("grant b", stHeld).release("b").expect("over b grant c settle b", stHeld)
	d.release("c").yes().expect("settle c return", stIdle)

	// The lock came on a session with others for one who has left since.
	d = in(t, stTrying).acquire("b", dedicated).withdraw("a").yes().expect("unlock", stUnlocking)
	d.yes().expect("reserve-dedicated", stPausing)

	// The next who wants a session of its own takes the one that is there.
	d = newDriver(t).acquire("a", dedicated).session().yes().expect("grant a", stHeld).passes(time.Second)
	d.acquire("b", dedicated).release("a").expect("over a unlock", stUnlocking).yes().expect("settle a try-own", stTrying)
}

// A reservation of the wrong kind is taken back first.
func TestOtherKindOfSession(t *testing.T) {
	d := in(t, stPausing).acquire("b", dedicated).withdraw("a").expect("refuse a withdraw", stPausing)
	d.withdrawn().expect("reserve-dedicated", stPausing)
	d = newDriver(t).acquire("a", dedicated).acquire("b").withdraw("a").expect("refuse a withdraw try", stTrying)
	d.no().expect("poll", stWaiting).session().expect("return reserve", stWaiting)
}

// A release is a success when the next holder has the lock or the server says so, and not before.
func TestReleaseIsConfirmed(t *testing.T) {
	d := in(t, stHeld).release("a").expect("over a unlock", stUnlocking)
	if d.claims["a"].stage == stageOver {
		t.Fatal("settled, and the server has not confirmed")
	}
	d.broken().expect("settle a", stIdle)
	if got := d.claims["a"].Outcome(); !errors.Is(got, ErrReleaseUnknown) {
		t.Errorf("outcome %v, should be %v", got, ErrReleaseUnknown)
	}
	// What the holder says afterwards changes nothing.
	for _, again := range []func(d *driver, name string) *driver{(*driver).release, (*driver).withdraw,
		func(d *driver, name string) *driver { return d.end(name, errGaveUp) }} {
		again(d, "a").expect("", stIdle)
	}
}

// What the holder hears, and how its hold ends, with a waiter.
func TestLoss(t *testing.T) {
	d := in(t, stHeld).acquire("b").lose().expect("over a settle a try", stTrying)
	for _, got := range []error{d.claims["a"].Over(), d.claims["a"].Outcome()} {
		if !errors.Is(got, ErrLost) || !errors.Is(got, errBroken) {
			t.Errorf("heard %v, should be %v and %v", got, ErrLost, errBroken)
		}
	}
	d.release("a").expect("", stTrying) // too late
	in(t, stWaiting).yes().lose().expect("over a settle a return", stIdle)
	in(t, stWaiting).yes().acquire("b").lose().expect("over a settle a return try", stTrying)
	in(t, stUnlocking).lose().expect("", stUnlocking).broken().expect("settle a", stIdle)
}

// Waiters that leave take along what was under way for them alone.
func TestWithdraw(t *testing.T) {
	in(t, stTrying).withdraw("a").expect("refuse a", stTrying).no().expect("", stIdle)
	in(t, stTrying).withdraw("a").yes().expect("unlock", stUnlocking).yes().expect("", stIdle)
	in(t, stWaiting).withdraw("a").expect("refuse a", stWaiting).no().expect("return", stIdle) // its slice ends first
	in(t, stWaiting).withdraw("a").yes().expect("unlock", stUnlocking).yes().expect("return", stIdle)
	// No session is opened for those who have gone, whatever the server takes for its answer.
	d := newDriver(t).acquire("a").no().withdraw("a").expect("refuse a withdraw stop-polling", stWaiting)
	d.withdrawn().expect("", stWaiting).no().expect("", stIdle)
	newDriver(t).acquire("a").no().withdraw("a").session().expect("return", stWaiting).no().expect("", stIdle)
	// With somebody behind, that one inherits.
	in(t, stWaiting).acquire("b").withdraw("a").expect("refuse a", stWaiting).yes().expect("grant b", stHeld)
	in(t, stPausing).acquire("b").withdraw("a").expect("refuse a", stPausing).session().expect("wait", stWaiting)
	in(t, stPausing).acquire("b").acquire("c").withdraw("b").expect("refuse b", stPausing).
		session().yes().expect("grant a", stHeld).release("a").expect("over a grant c settle a", stHeld)
	in(t, stWaiting).withdraw("a").acquire("b").withdraw("b").expect("refuse b", stWaiting)
	in(t, stWaiting).withdraw("a").close().expect("", stWaiting).no().expect("return exit", stIdle)
}

// The modes of a hold say what ends it.
func TestHoldModes(t *testing.T) {
	for _, row := range []struct {
		mode                 HoldMode
		contextEnds, atClose string
	}{
		{HoldWithContext, "over a unlock", "over a unlock"},
		{HoldDetached, "", "over a unlock"},
		{HoldForWork, "", "notify a"},
	} {
		held := func() *driver {
			d := newDriver(t).acquire("a", func(t *Terms) { t.Hold = row.mode }).yes().expect("grant a", stHeld)
			return d.withdraw("a").expect("", stHeld) // whoever waits no longer holds all the same
		}
		to := map[string]state{"over a unlock": stUnlocking}
		for _, effects := range []string{"", "notify a"} {
			to[effects] = stHeld
		}
		d := held().end("a", context.Canceled).expect(row.contextEnds, to[row.contextEnds])
		if over := d.claims["a"].Over(); row.contextEnds != "" && !errors.Is(over, context.Canceled) {
			t.Errorf("over for %v", over)
		}
		held().close().expect(row.atClose, to[row.atClose])
	}
	d := newDriver(t).acquire("a", forWork).acquire("b").yes().close().expect("refuse b notify a", stHeld)
	d.acquire("c").expect("refuse c", stHeld).release("a").expect("over a unlock", stUnlocking).yes().expect("settle a exit", stIdle)
	// Its loss ends it.
	d = newDriver(t).acquire("a", forWork).yes().close().lose().expect("over a settle a exit", stIdle)
	if over := d.claims["a"].Over(); !errors.Is(over, ErrLost) || !d.claims["a"].Lost() {
		t.Errorf("over for %v", over)
	}
}

// Everything that closing meets.
func TestStop(t *testing.T) {
	d := in(t, stHeld).acquire("b").close().expect("refuse b over a unlock", stUnlocking)
	d.refusal("b", ErrClosed)
	d.acquire("c").expect("refuse c", stUnlocking).refusal("c", ErrClosed)
	d.yes().expect("settle a exit", stIdle)
	if got := d.claims["a"]; !errors.Is(got.Over(), ErrClosed) || got.Outcome() != nil {
		t.Errorf("over %v, outcome %v", got.Over(), got.Outcome())
	}
	in(t, stTrying).close().yes().expect("unlock", stUnlocking).yes().expect("exit", stIdle)
	in(t, stTrying).close().broken().expect("exit", stIdle)
	in(t, stWaiting).close().yes().expect("unlock", stUnlocking).yes().expect("return exit", stIdle)
	in(t, stPausing).close().expect("refuse a withdraw", stIdle).session().expect("return exit", stIdle)
	in(t, stSettling).close().expect("refuse a", stSettling).yes().expect("unlock", stUnlocking).yes().expect("exit", stIdle)
	in(t, stUnlocking).acquire("b").close().expect("refuse b", stUnlocking).broken().expect("settle a exit", stIdle)
}

// Who is in the way, as told to those who are refused.
func TestWhoIsInTheWay(t *testing.T) {
	d := in(t, stWaiting).passes(askAfter).tick().expect("ask", stWaiting).wakesAfter(askAgain)
	h := &Holder{PID: 7, ApplicationName: "other"}
	d.told(h)
	if d.m.remote != h {
		t.Error("the answer was forgotten")
	}
	if d.step(Told{}); d.m.remote != h {
		t.Error("a question that failed had the holder forgotten")
	}
	if d.yes(); d.m.remote != nil {
		t.Error("the lock is ours, and somebody else is still said to hold it")
	}
	if d.told(h); d.m.remote != nil {
		t.Error("an answer that came late was believed")
	}
	// A caller that has little time is told in time.
	for left, after := range map[time.Duration]time.Duration{
		0: askAfter, time.Second: askAfter, 120 * time.Millisecond: 60 * time.Millisecond,
	} {
		d := newDriver(t)
		d.acquire("a", func(t *Terms) {
			if left > 0 {
				t.Deadline = d.now.Add(left)
			}
		}).no().session().no().expect("wait", stWaiting).wakesAfter(after)
	}
	// Nobody is asked about while polls go on quickly, and yet once it is time.
	d = newDriver(t).acquire("a", pollFirst(9)).no().pause("a", 100*time.Millisecond).passes(100 * time.Millisecond).tick()
	d.expect("ask try", stTrying).no().expect("ask-pause a", stPausing).pause("a", 200*time.Millisecond).
		wakesAfter(200 * time.Millisecond)
}
