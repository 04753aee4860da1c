package actor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Every event in every state. "a" is the claim that the state is about, "b" one that comes now.
func TestEveryEventInEveryState(t *testing.T) {
	bug := "panic"
	events := []struct {
		name string
		do   func(*driver) *driver
		// For idle, trying, pausing, waiting, held, kept, unlocking, settling: what is done, and where it leads.
		did [8]string
		to  [8]state
	}{
		{"acquire", func(d *driver) *driver { return d.acquire("b") },
			[8]string{"try", "", "", "", "", "", "", ""},
			[8]state{stTrying, stTrying, stPausing, stWaiting, stHeld, stKept, stUnlocking, stSettling}},
		{"try", func(d *driver) *driver { return d.acquire("b", try) },
			[8]string{"try", "refuse b", "refuse b", "refuse b", "refuse b", "refuse b", "", "refuse b"},
			[8]state{stTrying, stTrying, stPausing, stWaiting, stHeld, stKept, stUnlocking, stSettling}},
		{"dedicated", func(d *driver) *driver { return d.acquire("b", dedicated) },
			[8]string{"reserve-dedicated", "", "", "", "", "", "", ""},
			[8]state{stPausing, stTrying, stPausing, stWaiting, stHeld, stKept, stUnlocking, stSettling}},
		{"end", func(d *driver) *driver { return d.end("a", context.Canceled) },
			[8]string{"", "refuse a", "refuse a withdraw", "refuse a", "over a unlock", "", "", "refuse a"},
			[8]state{stIdle, stTrying, stIdle, stWaiting, stUnlocking, stKept, stUnlocking, stSettling}},
		{"yes", func(d *driver) *driver { return d.yes() },
			[8]string{bug, "grant a", bug, "grant a", bug, bug, "settle a", "unlock"},
			[8]state{stIdle, stHeld, stPausing, stHeld, stHeld, stKept, stIdle, stUnlocking}},
		{"no", func(d *driver) *driver { return d.no() },
			[8]string{bug, "reserve poll", bug, "return reserve poll", bug, bug, "settle a", "try"},
			[8]state{stIdle, stWaiting, stPausing, stWaiting, stHeld, stKept, stIdle, stTrying}},
		{"failed", func(d *driver) *driver { return d.broken() },
			[8]string{bug, "ask-pause a", bug, "return ask-pause a", bug, bug, "settle a", "try"},
			[8]state{stIdle, stPausing, stPausing, stPausing, stHeld, stKept, stIdle, stTrying}},
		{"failed for good", func(d *driver) *driver { return d.refused() },
			[8]string{bug, "refuse a", bug, "return refuse a", bug, bug, "settle a", "try"},
			[8]state{stIdle, stIdle, stPausing, stIdle, stHeld, stKept, stIdle, stTrying}},
		{"lost", func(d *driver) *driver { return d.lose() },
			[8]string{"", "", "", "", "over a settle a", "", "", ""},
			[8]state{stIdle, stTrying, stPausing, stWaiting, stIdle, stIdle, stUnlocking, stSettling}},
		{"told", func(d *driver) *driver { return d.told(&Holder{PID: 5}) },
			[8]string{"", "", "", "", "", "", "", ""},
			[8]state{stIdle, stTrying, stPausing, stWaiting, stHeld, stKept, stUnlocking, stSettling}},
		{"due, and nothing is", func(d *driver) *driver { return d.tick() },
			[8]string{"", "", "", "", "", "", "", ""},
			[8]state{stIdle, stTrying, stPausing, stWaiting, stHeld, stKept, stUnlocking, stSettling}},
		{"all is due", func(d *driver) *driver { return d.passes(time.Second).tick() },
			[8]string{"", "", "try", "ask", "", "unlock", "", ""},
			[8]state{stIdle, stTrying, stTrying, stWaiting, stHeld, stUnlocking, stUnlocking, stSettling}},
		{"session", func(d *driver) *driver { return d.session() },
			[8]string{bug, bug, "wait", bug, bug, bug, bug, bug},
			[8]state{stIdle, stTrying, stWaiting, stWaiting, stHeld, stKept, stUnlocking, stSettling}},
		{"close", func(d *driver) *driver { return d.close() },
			[8]string{"exit", "refuse a", "refuse a withdraw", "refuse a", "over a unlock", "unlock", "", "refuse a"},
			[8]state{stIdle, stTrying, stIdle, stWaiting, stUnlocking, stUnlocking, stUnlocking, stSettling}},
	}
	for _, e := range events {
		for s := stIdle; s <= stSettling; s++ {
			if s == stIdle && e.name == "end" {
				continue // there is nothing to end
			}
			t.Run(s.String()+"/"+e.name, func(t *testing.T) {
				d := in(t, s)
				if e.did[s] == bug {
					defer func() {
						if r, _ := recover().(string); !strings.HasPrefix(r, "BUG: ") {
							t.Errorf("recovered %q: an answer that nobody waits for is a bug", r)
						}
					}()
				}
				e.do(d).expect(e.did[s], e.to[s])
			})
		}
	}
}

// What a session of the key's own may answer in each state.
func TestReservationInEveryState(t *testing.T) {
	// retrying has a reservation under way while it tries.
	retrying := func(t *testing.T) *driver { return in(t, stPausing).passes(100 * time.Millisecond).tick() }
	for _, row := range []struct {
		name   string
		before func(t *testing.T) *driver
		answer func(d *driver) *driver
		did    string
		to     state
	}{
		{"pausing, there it is", func(t *testing.T) *driver { return in(t, stPausing) }, (*driver).session, "wait", stWaiting},
		{"pausing, none", func(t *testing.T) *driver { return in(t, stPausing) }, (*driver).noSession, "ask-pause a", stPausing},
		{"trying, there it is", retrying, (*driver).session, "", stTrying},
		{"trying, none", retrying, (*driver).noSession, "", stTrying},
		{"trying, found held", retrying, func(d *driver) *driver { return d.session().no() }, "wait", stWaiting},
		{"trying, granted meanwhile", retrying, func(d *driver) *driver { return d.session().yes() }, "grant a return", stHeld},
		{"held, too late", retrying, func(d *driver) *driver { return d.yes().expect("grant a withdraw", stHeld).session() },
			"return", stHeld},
		{"held, withdrawn", retrying, func(d *driver) *driver { return d.yes().withdrawn() }, "", stHeld},
		{"unlocking, nobody wants the lock", retrying, func(d *driver) *driver {
			return d.withdraw("a").yes().expect("unlock", stUnlocking).session()
		}, "return", stUnlocking},
		{"idle, too late", func(t *testing.T) *driver { return in(t, stPausing) },
			func(d *driver) *driver { return d.withdraw("a").session() }, "return", stIdle},
		{"idle, withdrawn", func(t *testing.T) *driver { return in(t, stPausing) },
			func(d *driver) *driver { return d.withdraw("a").withdrawn() }, "", stIdle},
		{"closing, too late", func(t *testing.T) *driver { return in(t, stPausing) },
			func(d *driver) *driver { return d.close().session() }, "return exit", stIdle},
		{"closing, withdrawn", func(t *testing.T) *driver { return in(t, stPausing) },
			func(d *driver) *driver { return d.close().withdrawn() }, "exit", stIdle},
		{"asked again after it was withdrawn", func(t *testing.T) *driver { return in(t, stPausing) },
			func(d *driver) *driver {
				d.withdraw("a").acquire("b").no().expect("poll", stWaiting)
				return d.withdrawn()
			}, "reserve", stWaiting},
	} {
		t.Run(row.name, func(t *testing.T) { row.answer(row.before(t)).expect(row.did, row.to) })
	}
}

// What a poll under way may meet. It is for "a", and a session to wait on has been asked for.
func TestPolling(t *testing.T) {
	for _, row := range []struct {
		name string
		meet func(d *driver) *driver
		did  string
		to   state
	}{
		{"a claim", func(d *driver) *driver { return d.acquire("b") }, "", stWaiting},
		{"a try", func(d *driver) *driver { return d.acquire("b", try) }, "refuse b", stWaiting},
		{"the end", func(d *driver) *driver { return d.withdraw("a") }, "refuse a withdraw stop-polling", stWaiting},
		{"stop", (*driver).close, "refuse a stop-polling", stWaiting},
		{"yes", (*driver).yes, "grant a withdraw", stHeld},
		{"a no that it did not ask for", (*driver).no, "poll", stWaiting},
		{"a failure", (*driver).broken, "ask-pause a", stPausing},
		{"a failure for good", (*driver).refused, "refuse a withdraw", stIdle},
		{"a loss", (*driver).lose, "", stWaiting},
		{"the time", (*driver).tick, "", stWaiting},
		{"a session", (*driver).session, "stop-polling", stWaiting},
		{"no session", (*driver).noSession, "", stWaiting},

		{"a session, and it is over", func(d *driver) *driver { return d.session().no() }, "wait", stWaiting},
		{"a session, and a grant", func(d *driver) *driver { return d.session().yes() }, "grant a return", stHeld},
		{"a session, and a failure", func(d *driver) *driver { return d.session().broken() }, "return ask-pause a", stPausing},
		{"a session, and the end", func(d *driver) *driver { return d.session().withdraw("a") }, "refuse a", stWaiting},
		{"a session, the end, and it is over", func(d *driver) *driver { return d.session().withdraw("a").no() }, "return", stIdle},
		{"a session, the end, and a grant", func(d *driver) *driver { return d.session().withdraw("a").yes() }, "unlock", stUnlocking},
		{"a session, stop, and it is over", func(d *driver) *driver { return d.session().close().no() }, "return exit", stIdle},

		{"the end, and it is over", func(d *driver) *driver { return d.withdraw("a").no() }, "", stIdle},
		{"the end, and a grant", func(d *driver) *driver { return d.withdraw("a").yes() }, "unlock", stUnlocking},
		{"the end, and a session", func(d *driver) *driver { return d.withdraw("a").session() }, "return", stWaiting},
		{"the end, and another claim", func(d *driver) *driver { return d.withdraw("a").acquire("b").no() }, "poll", stWaiting},
		{"stop, and the end", func(d *driver) *driver { return d.close().no().expect("withdraw", stIdle).withdrawn() }, "exit", stIdle},
		{"the first leaves", func(d *driver) *driver { return d.acquire("b").withdraw("a") }, "refuse a", stWaiting},
		{"the first leaves, and a grant", func(d *driver) *driver { return d.acquire("b").withdraw("a").yes() }, "grant b withdraw", stHeld},

		// The next waiter wants a session of its own, and does not poll.
		{"one of another kind", another(nil), "refuse a stop-polling", stWaiting},
		{"one of another kind, and it is over", another((*driver).no), "withdraw", stPausing},
		{"one of another kind, it is over, and the place given up", another(func(d *driver) *driver { return d.no().withdrawn() }),
			"reserve-dedicated", stPausing},
		{"one of another kind, and a grant", another((*driver).yes), "unlock", stUnlocking},
		{"one of another kind, and the wrong session", another((*driver).session), "", stWaiting},
		{"one of another kind, the wrong session, and it is over", another(func(d *driver) *driver { return d.session().no() }),
			"return reserve-dedicated", stPausing},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDriver(t).acquire("a").no().expect("reserve poll", stWaiting)
			row.meet(d).expect(row.did, row.to)
		})
	}
}

// another puts one of another kind first, and then lets something happen.
func another(then func(d *driver) *driver) func(d *driver) *driver {
	return func(d *driver) *driver {
		d.acquire("b", dedicated).withdraw("a")
		if then != nil {
			then(d)
		}
		return d
	}
}

func TestNames(t *testing.T) {
	var all []string
	for s := stIdle; s <= stSettling; s++ {
		all = append(all, s.String())
	}
	for _, m := range []message{acquire{}, release{}, await{}, contextEnded{}, withdraw{}, paused{}, due{}, closing{}, Answered{},
		Reserved{}, Lost{}, Told{}} {
		all = append(all, "message "+m.String())
	}
	for k := fxTry; k <= fxExit; k++ {
		all = append(all, "effect "+k.String())
	}
	for o := opNone; o <= opUnlock; o++ {
		all = append(all, "operation "+o.String())
	}
	seen := map[string]bool{}
	for _, name := range all {
		if name == "" || strings.HasSuffix(name, " ") || seen[name] {
			t.Errorf("the name %q is empty or used twice", name)
		}
		seen[name] = true
	}
}

type strange struct{}

func (strange) String() string { return "strange" }

func TestUnknownMessagesAreBugs(t *testing.T) {
	defer func() {
		if r, _ := recover().(string); !strings.HasPrefix(r, "BUG: ") {
			t.Errorf("recovered %q", r)
		}
	}()
	newDriver(t).step(strange{})
}

// The errors are told apart by errors.Is alone.
func TestReleaseOutcome(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer Answer
		want   []error
	}{
		{"released", Answer{OK: true}, nil},
		{"the server did not have it", Answer{}, []error{ErrLost}},
		{"no answer", Answer{Err: errBroken}, []error{ErrReleaseUnknown, errBroken}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := in(t, stUnlocking).answer(row.answer)
			d.expect("settle a", stIdle)
			got := d.claims["a"].Outcome()
			if row.want == nil && got != nil {
				t.Errorf("outcome %v, should be nil", got)
			}
			for _, want := range row.want {
				if !errors.Is(got, want) {
					t.Errorf("outcome %v, should be %v", got, want)
				}
			}
			if over := d.claims["a"].Over(); !errors.Is(over, ErrReleased) {
				t.Errorf("the hold ended by %v, should be %v", over, ErrReleased)
			}
		})
	}
}
