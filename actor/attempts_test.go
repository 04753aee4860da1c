package actor

import (
	"errors"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Polling first asks exactly MaxAttempts-1 times, with the backoff's pauses between, and then waits.
func TestPollFirst(t *testing.T) {
	for n := 1; n <= 5; n++ {
		d := newMind(t).acquire("a", pollFirst(n))
		for try := 1; try < n; try++ {
			d.expect("try", stTrying).no()
			if try < n-1 {
				pause := time.Duration(try) * 100 * time.Millisecond
				d.expect("timer", stPausing)
				if due := d.m.wakeAt.Sub(d.now); due != pause {
					t.Fatalf("of %d attempts: pause %d lasts %v, should be %v", n, try, due, pause)
				}
				d.now = d.m.wakeAt
				d.m.askAt = d.now.Add(time.Hour) // who is in the way is another story
				d.tick()
			}
		}
		d.expect("reserve poll timer", stWaiting).seat().no().expect("wait timer", stWaiting)
		d.count("a", n, 0).yes().expect("grant a", stHeld).count("a", n, 0)
	}
}

// By default a lock that is held is waited for at once.
func TestDefaultWaitsAtOnce(t *testing.T) {
	newMind(t).acquire("a").expect("try", stTrying).no().expect("reserve poll timer", stWaiting).
		seat().expect("abandon", stWaiting).no().expect("wait timer", stWaiting).count("a", 2, 0).
		yes().expect("grant a", stHeld).
		release("a").expect("over a unlock", stUnlocking).
		yes().expect("settle a give-back", stIdle)
}

// While no session for waiting is free the store polls, and the machine does nothing for it; the first session that comes
// free is waited on, as a part of the same attempt.
func TestPollsWhileNoSessionIsFree(t *testing.T) {
	d := newMind(t).acquire("a").no().expect("reserve poll timer", stWaiting)
	for range 12 {
		d.passes(askAgain).tick().expect("ask timer", stWaiting)
	}
	d.count("a", 2, 0).seat().expect("abandon", stWaiting).no().expect("wait timer", stWaiting).count("a", 2, 0)
}

// A session that cannot be opened is no failure while the lock is polled, and is asked for again in a while.
func TestNoSessionIsNoFailureOfAPoll(t *testing.T) {
	d := newMind(t).acquire("a", attempts(1)).no().noSeat().expect("", stWaiting).count("a", 2, 0)
	d.passes(askAfter).tick().expect("ask reserve timer", stWaiting)
	d.passes(askAgain).tick().expect("ask timer", stWaiting) // it is under way
	d.reserved(Answer{Err: errBroken}).expect("", stWaiting)
	d.passes(askAgain).tick().expect("ask reserve timer", stWaiting).seat().expect("abandon", stWaiting)
	// Not where the poll is to end anyway.
	d = newMind(t).acquire("a").no().noSeat().withdraw("a").expect("refuse a abandon", stWaiting)
	d.passes(askAfter).tick().expect("ask timer", stWaiting).no().expect("", stIdle)
	// After a failure of the poll itself it is asked for by the next.
	d = newMind(t).acquire("a").no().noSeat().broken().expect("timer", stPausing).passes(100 * time.Millisecond).tick()
	d.expect("try", stTrying).no().expect("reserve poll timer", stWaiting)
}

// A slice of waiting that ends without a grant gives others their turn on the session.
func TestSliceOver(t *testing.T) {
	in(t, stWaiting).no().expect("give-back reserve poll timer", stWaiting).seat().no().expect("wait timer", stWaiting)
	d := newMind(t).acquire("a", dedicated).expect("reserve-dedicated", stPausing).seat().expect("try-reserved", stTrying)
	d.no().expect("wait timer", stWaiting).no().expect("wait timer", stWaiting) // its session is its own
	d.yes().expect("grant a", stHeld)
}

// Whoever gets to wait by the place of somebody who has left does not go back to trying.
func TestInheritedPlace(t *testing.T) {
	d := newMind(t).acquire("a").acquire("b", pollFirst(5)).no().expect("reserve poll timer", stWaiting)
	d.withdraw("a").expect("refuse a", stWaiting).seat().expect("abandon", stWaiting).no().expect("wait timer", stWaiting)
	d.no().expect("give-back reserve poll timer", stWaiting)

	d = newMind(t).acquire("a", attempts(1)).acquire("b", pollFirst(5)).no().passes(100 * time.Millisecond).tick()
	d.expect("ask timer", stWaiting).broken().expect("refuse a timer", stPausing)
	d.seat().expect("wait", stWaiting).no().expect("give-back reserve poll timer", stWaiting)
}

// A try asks once, whatever the policy says about waiting.
func TestTryNeverWaits(t *testing.T) {
	for _, change := range [][]func(*Terms){{try}, {try, pollFirst(1)}, {try, pollFirst(3)}} {
		d := newMind(t).acquire("a", change...).expect("try", stTrying).no().expect("refuse a", stIdle)
		d.refusal("a", ErrNotAcquired)
		d.count("a", 1, 0)
		d.acquire("b", change...).broken().expect("refuse b", stIdle)
		d.refusal("b", ErrAttempts)
		d.count("b", 1, 1)
	}
	d := newMind(t).acquire("a", try, dedicated).expect("reserve-dedicated", stPausing).seat().expect("try-reserved", stTrying)
	d.no().expect("refuse a give-back", stIdle).refusal("a", ErrNotAcquired)
	d.acquire("b", try, dedicated).noSeat().expect("refuse b", stIdle).refusal("b", ErrAttempts)
}

// A failure counts against all who wait, each from when it came, and is kept for each.
func TestFailures(t *testing.T) {
	d := newMind(t).acquire("a", attempts(3)).broken().expect("timer", stPausing).wakesAfter(100 * time.Millisecond)
	d.acquire("b", attempts(2)).passes(100*time.Millisecond).tick().expect("try", stTrying)
	d.broken().expect("timer", stPausing).wakesAfter(200 * time.Millisecond)
	d.acquire("c", attempts(5)).passes(200*time.Millisecond).tick().expect("try", stTrying)
	d.broken().expect("refuse a refuse b timer", stPausing)
	d.wakesAfter(100 * time.Millisecond) // c's own backoff begins
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
	d := newMind(t).acquire("a").acquire("b").acquire("c", dedicated).refused().expect("refuse a refuse b refuse c", stIdle)
	for _, name := range []string{"a", "b", "c"} {
		d.refusal(name, ErrAttempts)
	}
	d = in(t, stPausing).reserved(Answer{Err: errBroken}).expect("refuse a", stIdle)
	d.refusal("a", ErrAttempts)
}

// Of a long failure the latest errors are kept.
func TestKeptFailures(t *testing.T) {
	d := newMind(t).acquire("a", attempts(200))
	for range 150 {
		d.broken().passes(time.Hour).tick().expect("try", stTrying)
	}
	d.acquire("b")
	d.broken().withdraw("a").withdraw("b")
	d.count("a", 151, keptFailures).count("b", 0, 1)
}

// What failed before a grant is not told to those who were not there.
func TestFailuresEndWithAGrant(t *testing.T) {
	d := newMind(t).acquire("a").broken().passes(time.Second).tick().yes().expect("grant a", stHeld)
	d.acquire("b").release("a").expect("over a settle a grant b", stHeld).release("b").yes()
	d.count("b", 0, 0).acquire("c").broken().withdraw("c").count("c", 1, 1)
}

// A backoff that wants to stop does not: the attempts are what is bounded. None at all is a pause of a second.
func TestBackoffThatStops(t *testing.T) {
	for name, pauses := range map[string]func() backoff.BackOff{
		"stops": func() backoff.BackOff { return &backoff.StopBackOff{} },
		"none":  nil,
		"zero":  func() backoff.BackOff { return &backoff.ZeroBackOff{} },
	} {
		want := time.Second
		if name == "zero" {
			want = 0
		}
		d := newMind(t).acquire("a", func(t *Terms) { t.NewBackoff = pauses }).broken().expect("timer", stPausing)
		d.wakesAfter(want)
	}
}

// A try that comes while the server is asked for somebody who has gone takes that answer: the lock may be free, and then
// it is not held by anybody.
func TestATryTakesTheAnswerOfOneWhoHasGone(t *testing.T) {
	gone := func() *mind { return in(t, stTrying).withdraw("a").acquire("b", try).expect("", stTrying) }
	gone().yes().expect("grant b", stHeld)
	d := gone().no().expect("refuse b", stIdle)
	d.refusal("b", ErrNotAcquired)
}
