package actor

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// hinting is a driver of a machine that tells others, and hears.
func hinting(t *testing.T) *driver {
	t.Helper()
	d := newDriver(t)
	d.m.limits.Hints = true
	return d
}

func (d *driver) hears(kind HintKind, peers ...Peer) *driver {
	return d.step(heard{&Hint{kind, peers}})
}

// tells checks what the last step told the others.
func (d *driver) tells(kind HintKind, peers ...Peer) *driver {
	d.t.Helper()
	var told []string
	for _, fx := range d.m.effects {
		if fx.hint != nil {
			told = append(told, fmt.Sprint(fx.hint.Kind, fx.hint.Peers))
		}
	}
	if want := []string{fmt.Sprint(kind, peers)}; !slices.Equal(told, want) {
		d.t.Fatalf("told %v, should tell %v", told, want)
	}
	return d
}

func TestAnOfferIsTaken(t *testing.T) {
	d := hinting(t).acquire("a").no().expect("poll", stWaiting).tells(Wanted, Here)
	d.hears(Held, Here).expect("pace", stWaiting)
	d.hears(Offered, Here, 1).expect("stop-polling", stWaiting).no().expect("try", stTrying).yes().expect("grant a", stHeld)
	d.release("a").expect("over a unlock", stUnlocking).tells(Offered, 1)
	d.yes().expect("settle a", stIdle)
}

// One who holds the lock, and one who waits, in two processes: each is offered it when the other has released, whether or not the other's
// offer comes before the answer to the own unlock.
func TestAnOfferDuringAnUnlock(t *testing.T) {
	d := hinting(t).acquire("a").yes().hears(Wanted, 1).acquire("b").passes(time.Second)
	d.release("a").expect("over a unlock", stUnlocking).tells(Offered, 1, Here)
	d.hears(Offered, Here, 1).expect("", stUnlocking)
	d.yes().expect("settle a try", stTrying)
	d.no().expect("poll", stWaiting).tells(Wanted, Here)
}

func TestWhoOfferedTheLockDoesNotTryForIt(t *testing.T) {
	d := hinting(t).acquire("a").yes().hears(Wanted, 1).acquire("b").passes(time.Second)
	d.release("a").tells(Offered, 1, Here).yes().expect("settle a poll", stWaiting)
	if d.m.effects[len(d.m.effects)-1].hint != nil || !d.m.hinted() {
		t.Error("it tells again that it waits")
	}
}

// A turn that came when nobody waited here any more is over: who comes then does not wait for it.
func TestATurnThatNobodyTook(t *testing.T) {
	d := hinting(t).acquire("a").yes().hears(Wanted, 1).acquire("b").passes(time.Second)
	d.release("a").tells(Offered, 1, Here).withdraw("b").expect("refuse b", stUnlocking).yes().expect("settle a", stIdle)
	d.hears(Offered, Here, 1).expect("tell", stIdle).tells(Offered, 1)
	d.acquire("c").expect("try", stTrying)
}

func TestTheServersQueueWhereNobodyAnswers(t *testing.T) {
	d := hinting(t).acquire("a").no().expect("poll", stWaiting).wakesAfter(fallAfter)
	d.passes(fallAfter).tick().expect("ask pace reserve", stWaiting)
	d.session().expect("stop-polling", stWaiting).no().expect("wait", stWaiting)
	d.no().expect("return reserve poll", stWaiting)              // its slice is over: and so on
	d.hears(Offered, 1, Here).expect("withdraw pace", stWaiting) // there is one that tells
	d = hinting(t).acquire("a").no().hears(Held, Here).passes(2 * answerAge).tick()
	d.expect("ask pace tell", stWaiting).tells(Wanted, Here) // is it still there?
	d.passes(patience).tick().expect("pace reserve", stWaiting)
}

// Who releases without knowing of anybody answers one who tells of itself too late for that.
func TestWhoReleasedAnswers(t *testing.T) {
	d := hinting(t).acquire("a").yes().release("a").yes().expect("settle a", stIdle)
	d.hears(Wanted, 1).expect("tell", stIdle).tells(Offered, 1)
	d.hears(Wanted, 2).expect("", stIdle) // the first has the lock now, or passes it on
	d.hears(Offered, Here, 2).expect("tell", stIdle).tells(Offered, 2)
}

func TestAHolderSaysThatItKnows(t *testing.T) {
	d := hinting(t).acquire("a").yes().hears(Wanted, 1).expect("", stHeld).wakesAfter(tellAfter)
	d.hears(Wanted, 2).hears(Wanted, 1).passes(tellAfter).tick().expect("tell", stHeld).tells(Held, 1, 2)
	d.sleepsOn().release("a").tells(Offered, 1, 2)
}

// A shared lock is not offered: who waits in the server's queue keeps readers out.
func TestWhoWaitsForASharedLockQueues(t *testing.T) {
	shared := func(t *Terms) { t.Shared = true }
	d := hinting(t).acquire("a", shared).yes().hears(Wanted, 1).expect("tell", stHeld).tells(Shared, 1)
	d.release("a").expect("over a unlock", stUnlocking)
	if d.m.effects[len(d.m.effects)-1].hint != nil {
		t.Error("it was offered")
	}
	hinting(t).acquire("a").no().hears(Shared, Here).expect("pace reserve", stWaiting)
	hinting(t).acquire("a", shared).no().expect("reserve poll", stWaiting)
}
