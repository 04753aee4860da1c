package actor

import (
	"errors"
	"testing"
	"time"
)

// Polling first asks exactly MaxAttempts-1 times, with the caller's pauses between, and then waits.
func TestPollFirst(t *testing.T) {
	for n := 1; n <= 5; n++ {
		d := newDriver(t).acquire("a", pollFirst(n))
		for try := 1; try < n; try++ {
			d.expect("try", stTrying).no()
			if try < n-1 {
				d.expect("ask-pause a", stPausing)
				d.m.askAt = d.now.Add(time.Hour) // who holds the lock is another story
				pause := time.Duration(try) * 100 * time.Millisecond
				d.pause("a", pause).expect("", stPausing).wakesAfter(pause).passes(pause-1).tick().expect("", stPausing)
				d.passes(1).tick()
			}
		}
		d.expect("reserve poll", stWaiting).session().no().expect("wait", stWaiting)
		d.count("a", n, 0).yes().expect("grant a", stHeld).count("a", n, 0)
	}
}

// By default a lock that is held is waited for at once.
func TestDefaultWaitsAtOnce(t *testing.T) {
	newDriver(t).acquire("a").expect("try", stTrying).no().expect("reserve poll", stWaiting).
		session().expect("stop-polling", stWaiting).no().expect("wait", stWaiting).count("a", 2, 0).
		yes().expect("grant a", stHeld).
		release("a").expect("over a unlock", stUnlocking).
		yes().expect("settle a return", stIdle)
}

// While no session for waiting is free the store polls, and the machine does nothing for it; the first session that comes
// free is waited on, as a part of the same attempt.
func TestPollsWhileNoSessionIsFree(t *testing.T) {
	d := newDriver(t).acquire("a").no().expect("reserve poll", stWaiting)
	for range 12 {
		d.passes(askAgain).tick().expect("ask", stWaiting)
	}
	d.count("a", 2, 0).session().expect("stop-polling", stWaiting).no().expect("wait", stWaiting).count("a", 2, 0)
}

// A session that cannot be opened is no failure while the lock is polled, and is asked for again in a while.
func TestNoSessionIsNoFailureOfAPoll(t *testing.T) {
	d := newDriver(t).acquire("a", attempts(1)).no().noSession().expect("", stWaiting).count("a", 2, 0)
	d.passes(askAfter).tick().expect("ask reserve", stWaiting)
	d.passes(askAgain).tick().expect("ask", stWaiting) // it is under way
	d.reserved(Answer{Err: errBroken}).expect("", stWaiting)
	d.passes(askAgain).tick().expect("ask reserve", stWaiting).session().expect("stop-polling", stWaiting)
	// Not where the poll is to end anyway; and who holds the lock matters to nobody then.
	d = newDriver(t).acquire("a").no().noSession().withdraw("a").expect("refuse a stop-polling", stWaiting)
	d.passes(askAfter).tick().expect("", stWaiting).no().expect("", stIdle)
	// After a failure of the poll itself it is asked for by the next.
	d = newDriver(t).acquire("a").no().noSession().broken().expect("ask-pause a", stPausing).passes(time.Second).tick()
	d.expect("try", stTrying).no().expect("reserve poll", stWaiting)
}

// After a failure, the last of several polls asks who holds the lock, and for a session, as any wait does.
func TestTheLastPollAfterAFailureAsks(t *testing.T) {
	d := newDriver(t).acquire("a", pollFirst(2)).expect("try", stTrying).broken().expect("ask-pause a", stPausing)
	d.passes(time.Second).tick().expect("reserve poll", stWaiting).noSession().expect("", stWaiting)
	d.wakesAfter(askAfter).passes(askAfter).tick().expect("ask reserve", stWaiting)
}

// A slice of waiting that ends without a grant gives others their turn on the session.
func TestSliceOver(t *testing.T) {
	in(t, stWaiting).no().expect("return reserve poll", stWaiting).session().no().expect("wait", stWaiting)
	d := newDriver(t).acquire("a", dedicated).expect("reserve-dedicated", stPausing).session().expect("try-own", stTrying)
	d.no().expect("wait", stWaiting).no().expect("wait", stWaiting) // its session is its own
	d.yes().expect("grant a", stHeld)
}

// Whoever gets to wait by the place of somebody who has left does not go back to trying.
func TestInheritedPlace(t *testing.T) {
	d := newDriver(t).acquire("a").acquire("b", pollFirst(5)).no().expect("reserve poll", stWaiting)
	d.withdraw("a").expect("refuse a", stWaiting).session().expect("stop-polling", stWaiting).no().expect("wait", stWaiting)
	d.no().expect("return reserve poll", stWaiting)

	d = newDriver(t).acquire("a", attempts(1)).acquire("b", pollFirst(5)).no().passes(100 * time.Millisecond).tick()
	d.expect("ask", stWaiting).broken().expect("refuse a ask-pause b", stPausing)
	d.session().expect("wait", stWaiting).no().expect("return reserve poll", stWaiting)
}

// A try asks once, whatever the policy says about waiting.
func TestTryNeverWaits(t *testing.T) {
	for _, change := range [][]func(*Terms){{try}, {try, pollFirst(1)}, {try, pollFirst(3)}} {
		d := newDriver(t).acquire("a", change...).expect("try", stTrying).no().expect("refuse a", stIdle)
		d.refusal("a", ErrNotAcquired)
		d.count("a", 1, 0)
		d.acquire("b", change...).broken().expect("refuse b", stIdle)
		d.refusal("b", ErrAttempts)
		d.count("b", 1, 1)
	}
	d := newDriver(t).acquire("a", try, dedicated).expect("reserve-dedicated", stPausing).session().expect("try-own", stTrying)
	d.no().expect("refuse a return", stIdle).refusal("a", ErrNotAcquired)
	d.acquire("b", try, dedicated).noSession().expect("refuse b", stIdle).refusal("b", ErrAttempts)
}

// A failure counts against all who wait, each from when it came, and is kept for each.
func TestFailures(t *testing.T) {
	d := newDriver(t).acquire("a", attempts(3)).broken().expect("ask-pause a", stPausing).pause("a", 100*time.Millisecond)
	d.acquire("b", attempts(2)).passes(100*time.Millisecond).tick().expect("try", stTrying)
	d.broken().expect("ask-pause a", stPausing).pause("a", 200*time.Millisecond).wakesAfter(200 * time.Millisecond)
	d.acquire("c", attempts(5)).passes(200*time.Millisecond).tick().expect("try", stTrying)
	d.broken().expect("refuse a refuse b ask-pause c", stPausing)
	d.count("a", 3, 3).count("b", 2, 2)
	for _, name := range []string{"a", "b"} {
		for _, err := range d.refusal(name, ErrAttempts).Failures {
			if !errors.Is(err, errBroken) {
				t.Errorf("%s remembers %v", name, err)
			}
		}
	}
	d.withdraw("c").expect("refuse c", stIdle).count("c", 0, 1) // it never was first when the server was asked
}

// A failure for good is everybody's, at once.
func TestPermanentFailure(t *testing.T) {
	d := newDriver(t).acquire("a").acquire("b").acquire("c", dedicated).refused().expect("refuse a refuse b refuse c", stIdle)
	for _, name := range []string{"a", "b", "c"} {
		d.refusal(name, ErrAttempts)
	}
	d = in(t, stPausing).reserved(Answer{Err: errBroken}).expect("refuse a", stIdle)
	d.refusal("a", ErrAttempts)
}

// Of a long failure the latest errors are kept.
func TestKeptFailures(t *testing.T) {
	d := newDriver(t).acquire("a", attempts(200))
	for range 150 {
		d.broken().passes(time.Hour).tick().expect("try", stTrying)
	}
	d.acquire("b")
	d.broken().withdraw("a").withdraw("b")
	d.count("a", 151, keptFailures).count("b", 0, 1)
}

// What failed before a grant is not told to those who were not there.
func TestFailuresEndWithAGrant(t *testing.T) {
	d := newDriver(t).acquire("a").broken().passes(time.Second).tick().yes().expect("grant a", stHeld)
	d.acquire("b").release("a").expect("over a grant b settle a", stHeld).release("b").yes()
	d.count("b", 0, 0).acquire("c").broken().withdraw("c").count("c", 1, 1)
}

// The caller says how long a pause is. Without a word it is a second; one that comes late counts for the pause under way.
func TestPauses(t *testing.T) {
	d := newDriver(t).acquire("a").broken().expect("ask-pause a", stPausing).wakesAfter(time.Second)
	d.passes(300*time.Millisecond).pause("a", 500*time.Millisecond).wakesAfter(500 * time.Millisecond)
	d.pause("a", -time.Hour).wakesAfter(0).tick().expect("try", stTrying).sleepsOn()
	d.pause("a", time.Hour).expect("", stTrying).sleepsOn() // nothing pauses
	d.broken().expect("ask-pause a", stPausing).passes(time.Second).tick().expect("try", stTrying)
	d.broken().expect("", stPausing).wakesAfter(time.Second) // the last question has no answer yet
	d.pause("a", 7*time.Millisecond).wakesAfter(7 * time.Millisecond)
	// A word of somebody who is not first in the queue changes nothing.
	d.acquire("b").withdraw("a").pause("a", time.Minute).wakesAfter(7 * time.Millisecond)
}

// A try that comes while the server is asked for somebody who has gone takes a grant: the lock is held by nobody then. A no may be of a lock
// that has been released since, and the server is asked again.
func TestATryTakesTheGrantOfOneWhoHasGone(t *testing.T) {
	gone := func() *driver { return in(t, stTrying).withdraw("a").acquire("b", try).expect("", stTrying) }
	gone().yes().expect("grant b", stHeld)
	d := gone().no().expect("try", stTrying).no().expect("refuse b", stIdle)
	d.refusal("b", ErrNotAcquired)
}
