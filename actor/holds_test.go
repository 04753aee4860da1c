package actor

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Handed on in this process for at most a quantum of grants.
func TestQuantumOfGrants(t *testing.T) {
	d := newMind(t) // three grants
	d.acquire("a").acquire("b").acquire("c").acquire("d").yes().expect("grant a", stHeld)
	if d.claims["a"].Local {
		t.Error("the server's grant counts as local")
	}
	d.release("a").expect("over a settle a grant b", stHeld)
	if c := d.claims["b"]; !c.Local || c.Outcome() != nil || d.claims["a"].Outcome() != nil {
		t.Errorf("local %v, outcomes %v and %v", c.Local, c.Outcome(), d.claims["a"].Outcome())
	}
	d.release("b").expect("over b settle b grant c", stHeld)
	// Three waiters fit in the line.
	if got := d.claims["d"]; !errors.Is(got.Err, ErrTooManyWaiters) {
		t.Errorf("d was answered with %v", got.Err)
	}
	d.acquire("e").release("c").expect("over c unlock", stUnlocking)
	d.yes().expect("settle c try", stTrying).yes().expect("grant e", stHeld)
	d.acquire("f").release("e").expect("over e settle e grant f", stHeld) // a new quantum
}

// And for at most a quantum of time since the server's grant.
func TestQuantumOfTime(t *testing.T) {
	for _, row := range []struct {
		held time.Duration
		did  string
		to   state
	}{
		{20*time.Millisecond - 1, "over a settle a grant b", stHeld},
		{20 * time.Millisecond, "over a unlock", stUnlocking},
	} {
		in(t, stHeld).acquire("b").passes(row.held).release("a").expect(row.did, row.to)
	}
	d := in(t, stHeld).acquire("b").passes(15*time.Millisecond).release("a").expect("over a settle a grant b", stHeld)
	d.acquire("c").passes(15*time.Millisecond).release("b").expect("over b unlock", stUnlocking)
}

// A session for waiting is not kept by a line that does not wait.
func TestSessionGoesBackAfterRelease(t *testing.T) {
	d := in(t, stWaiting).yes().acquire("b").passes(time.Second).release("a").expect("over a unlock", stUnlocking)
	d.yes().expect("settle a give-back try", stTrying)
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
	d.yes().expect("settle a reserve-dedicated", stPausing).seat().expect("try-reserved", stTrying)
	d.yes().expect("grant b", stHeld).release("b").expect("over b settle b grant c", stHeld)
	d.release("c").yes().expect("settle c give-back", stIdle)

	// The lock came on a session with others for one who has left since.
	d = in(t, stTrying).acquire("b", dedicated).withdraw("a").yes().expect("unlock", stUnlocking)
	d.yes().expect("reserve-dedicated", stPausing)

	// The next who wants a session of its own takes the one that is there.
	d = newMind(t).acquire("a", dedicated).seat().yes().expect("grant a", stHeld).passes(time.Second)
	d.acquire("b", dedicated).release("a").expect("over a unlock", stUnlocking).yes().expect("settle a try-reserved", stTrying)
}

// A reservation of the wrong kind is taken back first.
func TestOtherKindOfSession(t *testing.T) {
	d := in(t, stPausing).acquire("b", dedicated).withdraw("a").expect("refuse a withdraw", stPausing)
	d.withdrawn().expect("reserve-dedicated", stPausing)
	d = newMind(t).acquire("a", dedicated).acquire("b").withdraw("a").expect("refuse a withdraw try", stTrying)
	d.no().expect("poll timer", stWaiting).seat().expect("give-back reserve", stWaiting)
}

// A grant that meets somebody who has given up goes to the next, and to nobody if there is none.
func TestGrantMeetsACancelledCaller(t *testing.T) {
	d := in(t, stTrying).acquire("b").acquire("c").cancel("a", context.Canceled).cancel("b", errGaveUp)
	d.yes().expect("refuse a refuse b grant c", stHeld)
	d.refusal("a", context.Canceled)
	d.refusal("b", errGaveUp)
	d.end("a", nil).expect("", stHeld) // its message comes late
	in(t, stTrying).cancel("a", context.Canceled).yes().expect("refuse a unlock", stUnlocking)
}

// A release is a success when the next holder has the lock or the server says so, and not before.
func TestReleaseToNobody(t *testing.T) {
	d := in(t, stHeld).acquire("b").cancel("b", context.Canceled).release("a").expect("over a refuse b unlock", stUnlocking)
	if d.claims["a"].isSettled() {
		t.Fatal("settled, and the server has not confirmed")
	}
	d.broken().expect("settle a", stIdle)
	if got := d.claims["a"].Outcome(); !errors.Is(got, ErrReleaseUnknown) {
		t.Errorf("outcome %v, should be %v", got, ErrReleaseUnknown)
	}
}

// What the holder hears, and how its hold ends, with somebody in line.
func TestLoss(t *testing.T) {
	d := in(t, stHeld).acquire("b").lose().expect("over a settle a try", stTrying)
	for _, got := range []error{d.claims["a"].Over(), d.claims["a"].Outcome()} {
		if !errors.Is(got, ErrLost) || !errors.Is(got, errBroken) {
			t.Errorf("heard %v, should be %v and %v", got, ErrLost, errBroken)
		}
	}
	d.release("a").expect("", stTrying) // too late
	in(t, stWaiting).yes().lose().expect("over a settle a give-back", stIdle)
	in(t, stWaiting).yes().acquire("b").lose().expect("over a settle a give-back try", stTrying)
	in(t, stUnlocking).lose().expect("", stUnlocking).broken().expect("settle a", stIdle)
}

// Waiters that leave take along what was under way for them alone.
func TestWithdraw(t *testing.T) {
	in(t, stTrying).withdraw("a").expect("refuse a", stTrying).no().expect("", stIdle)
	in(t, stTrying).withdraw("a").yes().expect("unlock", stUnlocking).yes().expect("", stIdle)
	in(t, stWaiting).withdraw("a").expect("refuse a abandon", stWaiting).no().expect("give-back", stIdle)
	in(t, stWaiting).withdraw("a").yes().expect("unlock", stUnlocking).yes().expect("give-back", stIdle)
	// With somebody behind, that one inherits.
	in(t, stWaiting).acquire("b").withdraw("a").expect("refuse a", stWaiting).yes().expect("grant b", stHeld)
	in(t, stPausing).acquire("b").withdraw("a").expect("refuse a", stPausing).seat().expect("wait", stWaiting)
	in(t, stPausing).acquire("b").acquire("c").withdraw("b").expect("refuse b", stPausing).
		seat().yes().expect("grant a", stHeld).release("a").expect("over a settle a grant c", stHeld)
	// Once is enough, for each wait.
	in(t, stWaiting).withdraw("a").no().acquire("b").no().seat().no().withdraw("b").expect("refuse b abandon", stWaiting)
	in(t, stWaiting).withdraw("a").acquire("b").withdraw("b").expect("refuse b", stWaiting)
	in(t, stWaiting).withdraw("a").stop().expect("", stWaiting).no().expect("give-back exit", stIdle)
}

// A claim that has ended before it came is answered with its cause.
func TestEndedBeforeItCame(t *testing.T) {
	d := newMind(t)
	c := &Claim{}
	c.Terms = key(1)
	c.Init(nil)
	c.Name, d.claims["a"] = "a", c
	d.end("a", context.Canceled).expect("", stIdle)
	d.step(event{kind: evAcquire, claim: c}).expect("refuse a", stIdle).refusal("a", context.Canceled)
}

// Everything that closing meets.
func TestStop(t *testing.T) {
	d := in(t, stHeld).acquire("b").stop().expect("refuse b over a unlock", stUnlocking)
	d.refusal("b", ErrClosed)
	d.acquire("c").expect("refuse c", stUnlocking).refusal("c", ErrClosed)
	d.yes().expect("settle a exit", stIdle)
	if got := d.claims["a"]; !errors.Is(got.Over(), ErrClosed) || got.Outcome() != nil {
		t.Errorf("over %v, outcome %v", got.Over(), got.Outcome())
	}
	in(t, stTrying).stop().yes().expect("unlock", stUnlocking).yes().expect("exit", stIdle)
	in(t, stTrying).stop().broken().expect("exit", stIdle)
	in(t, stWaiting).stop().yes().expect("unlock", stUnlocking).yes().expect("give-back exit", stIdle)
	in(t, stPausing).stop().expect("refuse a withdraw", stIdle).seat().expect("give-back exit", stIdle)
	in(t, stSettling).stop().expect("refuse a", stSettling).yes().expect("unlock", stUnlocking).yes().expect("exit", stIdle)
	in(t, stUnlocking).acquire("b").stop().expect("refuse b", stUnlocking).broken().expect("settle a exit", stIdle)
}

// Who is in the way, as told to those who are refused.
func TestWhoIsInTheWay(t *testing.T) {
	d := in(t, stWaiting).passes(askAfter).tick().expect("ask timer", stWaiting).wakesAfter(askAgain)
	h := &Holder{PID: 7, ApplicationName: "other"}
	d.told(h)
	if d.m.remote != h {
		t.Error("the answer was forgotten")
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
		d := newMind(t)
		d.acquire("a", func(t *Terms) {
			if left > 0 {
				t.Deadline = d.now.Add(left)
			}
		}).no().seat().no().expect("wait timer", stWaiting).wakesAfter(after)
	}
	// Nobody is asked about while polls go on quickly, and yet once it is time.
	d = newMind(t).acquire("a", pollFirst(9)).no().wakesAfter(100 * time.Millisecond).passes(100 * time.Millisecond).tick()
	d.expect("ask try", stTrying).no().expect("timer", stPausing).wakesAfter(200 * time.Millisecond)
}
