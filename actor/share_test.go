package actor

import (
	"testing"
	"time"
)

// toldNow is the answer to a question of just now: whether somebody elsewhere is in the server's queue.
func (d *driver) toldNow(waiters bool) *driver {
	return d.step(Told{Waiters: waiters, Asked: d.now})
}

// A writer elsewhere is asked about by whoever joins the readers, also by one that waited behind a writer here that has given up.
func TestWhoJoinsAsksForWritersElsewhere(t *testing.T) {
	d := newDriver(t)
	d.acquire("a", shared).yes().expect("grant a", stHeld)
	d.passes(askReaders-1).acquire("b", shared).expect("grant b", stHeld)
	d.passes(1).acquire("c", shared).expect("grant c ask", stHeld)
	d.acquire("d", shared).expect("grant d", stHeld)
	d.acquire("w").acquire("e", shared).passes(askReaders)
	d.withdraw("w").expect("refuse w grant e ask", stHeld)
}

// Readers that are kept out by a writer elsewhere join when it has given up, which is asked for now and then, though nobody waits: one
// that only tries does not.
func TestReadersAreKeptOutAsLongAsAWriterWaits(t *testing.T) {
	d := newDriver(t)
	d.acquire("a", shared).yes().passes(askReaders).acquire("b", shared).expect("grant b ask", stHeld)
	d.passes(1).toldNow(true).expect("", stHeld)
	d.acquire("c", shared, try).expect("refuse c", stHeld).refusal("c", ErrNotAcquired)
	d.wakesAfter(askAgain - 1)
	d.passes(askAgain-1).tick().expect("ask", stHeld).wakesAfter(askAgain)
	d.acquire("d", shared).expect("", stHeld)
	d.passes(1).toldNow(false).expect("grant d", stHeld).sleepsOn()
}

// What was asked before the grant says nothing: it may have been this process that waited.
func TestWhatWasAskedBeforeTheGrantKeepsNobodyOut(t *testing.T) {
	d := newDriver(t)
	d.acquire("a", shared).yes().toldNow(true).acquire("b", shared).expect("grant b", stHeld)
}

// A try that finds a try under way that was another's is told what came of a try of its own, whatever the modes.
func TestATryHasTheAnswerToItsOwn(t *testing.T) {
	modes := []func(*Terms){exclusive, shared}
	for _, first := range modes {
		for _, second := range modes {
			newDriver(t).acquire("a", first).withdraw("a").acquire("b", second, try).no().expect("try", stTrying).no().expect("refuse b", stIdle)
		}
	}
}

// The loss of the session ends the holds of all, and their order is that of their grants.
func TestTheLossOfASharedLockIsToldToAll(t *testing.T) {
	d := newDriver(t)
	d.acquire("a", shared).acquire("b", shared).yes().expect("grant a grant b", stHeld)
	d.acquire("w").lose().expect("over a settle a over b settle b try", stTrying)
}

// A lock that is shared is unlocked by the last who leaves it, after nobody's minimum.
func TestTheLastReaderUnlocks(t *testing.T) {
	d := newDriver(t)
	d.acquire("a", shared).acquire("b", shared).yes().passes(time.Hour)
	d.release("a").expect("over a settle a", stHeld)
	d.release("b").expect("over b unlock", stUnlocking)
	d.yes().expect("settle b", stIdle)
}

// The last reader hands the lock on to nobody where a writer elsewhere waits: that one's turn comes first.
func TestTheLastReaderIsFollowedByAWriterElsewhere(t *testing.T) {
	d := newDriver(t)
	d.m.limits.HandOffTime = 2 * askReaders
	d.acquire("a", shared).yes().passes(askReaders).acquire("b", shared).expect("grant b ask", stHeld)
	d.passes(1).toldNow(true).acquire("c", shared).expect("", stHeld)
	d.release("a").expect("over a settle a", stHeld)
	d.release("b").expect("over b unlock", stUnlocking)
}
