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
		do   func(*mind) *mind
		// For idle, trying, pausing, waiting, held, unlocking, settling: what is done, and where it leads.
		did [7]string
		to  [7]state
	}{
		{"acquire", func(d *mind) *mind { return d.acquire("b") },
			[7]string{"try", "", "", "", "", "", ""},
			[7]state{stTrying, stTrying, stPausing, stWaiting, stHeld, stUnlocking, stSettling}},
		{"try", func(d *mind) *mind { return d.acquire("b", try) },
			[7]string{"try", "refuse b", "refuse b", "refuse b", "refuse b", "", "refuse b"},
			[7]state{stTrying, stTrying, stPausing, stWaiting, stHeld, stUnlocking, stSettling}},
		{"dedicated", func(d *mind) *mind { return d.acquire("b", dedicated) },
			[7]string{"reserve-dedicated", "", "", "", "", "", ""},
			[7]state{stPausing, stTrying, stPausing, stWaiting, stHeld, stUnlocking, stSettling}},
		{"end", func(d *mind) *mind { return d.end("a", context.Canceled) },
			[7]string{"", "refuse a", "refuse a withdraw", "refuse a abandon", "over a unlock", "", "refuse a"},
			[7]state{stIdle, stTrying, stIdle, stWaiting, stUnlocking, stUnlocking, stSettling}},
		{"yes", func(d *mind) *mind { return d.yes() },
			[7]string{bug, "grant a", bug, "grant a", bug, "settle a", "unlock"},
			[7]state{stIdle, stHeld, stPausing, stHeld, stHeld, stIdle, stUnlocking}},
		{"no", func(d *mind) *mind { return d.no() },
			[7]string{bug, "reserve poll timer", bug, "give-back reserve poll timer", bug, "settle a", "try"},
			[7]state{stIdle, stWaiting, stPausing, stWaiting, stHeld, stIdle, stTrying}},
		{"failed", func(d *mind) *mind { return d.broken() },
			[7]string{bug, "timer", bug, "give-back timer", bug, "settle a", "try"},
			[7]state{stIdle, stPausing, stPausing, stPausing, stHeld, stIdle, stTrying}},
		{"failed for good", func(d *mind) *mind { return d.refused() },
			[7]string{bug, "refuse a", bug, "give-back refuse a", bug, "settle a", "try"},
			[7]state{stIdle, stIdle, stPausing, stIdle, stHeld, stIdle, stTrying}},
		{"lost", func(d *mind) *mind { return d.lose() },
			[7]string{"", "", "", "", "over a settle a", "", ""},
			[7]state{stIdle, stTrying, stPausing, stWaiting, stIdle, stUnlocking, stSettling}},
		{"lost, and it is another session", func(d *mind) *mind { return d.step(event{kind: evLost}) },
			[7]string{"", "", "", "", "", "", ""},
			[7]state{stIdle, stTrying, stPausing, stWaiting, stHeld, stUnlocking, stSettling}},
		{"told", func(d *mind) *mind { return d.told(&Holder{PID: 5}) },
			[7]string{"", "", "", "", "", "", ""},
			[7]state{stIdle, stTrying, stPausing, stWaiting, stHeld, stUnlocking, stSettling}},
		{"timer", func(d *mind) *mind { return d.tick() },
			[7]string{"", "", "timer", "timer", "", "", ""},
			[7]state{stIdle, stTrying, stPausing, stWaiting, stHeld, stUnlocking, stSettling}},
		{"timer, all is due", func(d *mind) *mind { return d.passes(time.Second).tick() },
			[7]string{"", "", "try", "ask timer", "", "", ""},
			[7]state{stIdle, stTrying, stTrying, stWaiting, stHeld, stUnlocking, stSettling}},
		{"stop", func(d *mind) *mind { return d.stop() },
			[7]string{"exit", "refuse a", "refuse a withdraw", "refuse a abandon", "over a unlock", "", "refuse a"},
			[7]state{stIdle, stTrying, stIdle, stWaiting, stUnlocking, stUnlocking, stSettling}},
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
	retrying := func(t *testing.T) *mind { return in(t, stPausing).passes(100 * time.Millisecond).tick() }
	for _, row := range []struct {
		name   string
		before func(t *testing.T) *mind
		answer func(d *mind) *mind
		did    string
		to     state
	}{
		{"pausing, there it is", func(t *testing.T) *mind { return in(t, stPausing) }, (*mind).seat, "wait", stWaiting},
		{"pausing, none", func(t *testing.T) *mind { return in(t, stPausing) }, (*mind).noSeat, "timer", stPausing},
		{"trying, there it is", retrying, (*mind).seat, "", stTrying},
		{"trying, none", retrying, (*mind).noSeat, "", stTrying},
		{"trying, found held", retrying, func(d *mind) *mind { return d.seat().no() }, "wait timer", stWaiting},
		{"trying, granted meanwhile", retrying, func(d *mind) *mind { return d.seat().yes() }, "grant a give-back", stHeld},
		{"held, too late", retrying, func(d *mind) *mind { return d.yes().expect("grant a withdraw", stHeld).seat() },
			"give-back", stHeld},
		{"held, withdrawn", retrying, func(d *mind) *mind { return d.yes().withdrawn() }, "", stHeld},
		{"unlocking, nobody wants the lock", retrying, func(d *mind) *mind {
			return d.withdraw("a").yes().expect("unlock", stUnlocking).seat()
		}, "give-back", stUnlocking},
		{"idle, too late", func(t *testing.T) *mind { return in(t, stPausing) },
			func(d *mind) *mind { return d.withdraw("a").seat() }, "give-back", stIdle},
		{"idle, withdrawn", func(t *testing.T) *mind { return in(t, stPausing) },
			func(d *mind) *mind { return d.withdraw("a").withdrawn() }, "", stIdle},
		{"closing, too late", func(t *testing.T) *mind { return in(t, stPausing) },
			func(d *mind) *mind { return d.stop().seat() }, "give-back exit", stIdle},
		{"closing, withdrawn", func(t *testing.T) *mind { return in(t, stPausing) },
			func(d *mind) *mind { return d.stop().withdrawn() }, "exit", stIdle},
		{"asked again after it was withdrawn", func(t *testing.T) *mind { return in(t, stPausing) },
			func(d *mind) *mind {
				d.withdraw("a").acquire("b").no().expect("poll timer", stWaiting)
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
		meet func(d *mind) *mind
		did  string
		to   state
	}{
		{"a claim", func(d *mind) *mind { return d.acquire("b") }, "", stWaiting},
		{"a try", func(d *mind) *mind { return d.acquire("b", try) }, "refuse b", stWaiting},
		{"the end", func(d *mind) *mind { return d.withdraw("a") }, "refuse a abandon", stWaiting},
		{"stop", (*mind).stop, "refuse a abandon", stWaiting},
		{"yes", (*mind).yes, "grant a withdraw", stHeld},
		{"a no that it did not ask for", (*mind).no, "poll timer", stWaiting},
		{"a failure", (*mind).broken, "timer", stPausing},
		{"a failure for good", (*mind).refused, "refuse a withdraw", stIdle},
		{"a loss", (*mind).lose, "", stWaiting},
		{"the timer", (*mind).tick, "timer", stWaiting},
		{"a session", (*mind).seat, "abandon", stWaiting},
		{"no session", (*mind).noSeat, "", stWaiting},

		{"a session, and it is over", func(d *mind) *mind { return d.seat().no() }, "wait timer", stWaiting},
		{"a session, and a grant", func(d *mind) *mind { return d.seat().yes() }, "grant a give-back", stHeld},
		{"a session, and a failure", func(d *mind) *mind { return d.seat().broken() }, "give-back timer", stPausing},
		{"a session, and the end", func(d *mind) *mind { return d.seat().withdraw("a") }, "refuse a", stWaiting},
		{"a session, the end, and it is over", func(d *mind) *mind { return d.seat().withdraw("a").no() }, "give-back", stIdle},
		{"a session, the end, and a grant", func(d *mind) *mind { return d.seat().withdraw("a").yes() }, "unlock", stUnlocking},
		{"a session, stop, and it is over", func(d *mind) *mind { return d.seat().stop().no() }, "give-back exit", stIdle},

		{"the end, and it is over", func(d *mind) *mind { return d.withdraw("a").no() }, "withdraw", stIdle},
		{"the end, and a grant", func(d *mind) *mind { return d.withdraw("a").yes() }, "unlock", stUnlocking},
		{"the end, and a session", func(d *mind) *mind { return d.withdraw("a").seat() }, "give-back", stWaiting},
		{"the end, and another claim", func(d *mind) *mind { return d.withdraw("a").acquire("b").no() }, "poll timer", stWaiting},
		{"stop, and the end", func(d *mind) *mind { return d.stop().no().expect("withdraw", stIdle).withdrawn() }, "exit", stIdle},
		{"the first leaves", func(d *mind) *mind { return d.acquire("b").withdraw("a") }, "refuse a", stWaiting},
		{"the first leaves, and a grant", func(d *mind) *mind { return d.acquire("b").withdraw("a").yes() }, "grant b withdraw", stHeld},

		// The next in line wants a session of its own, and does not poll.
		{"one of another kind", another(nil), "refuse a abandon", stWaiting},
		{"one of another kind, and it is over", another((*mind).no), "withdraw", stPausing},
		{"one of another kind, it is over, and the place given up", another(func(d *mind) *mind { return d.no().withdrawn() }),
			"reserve-dedicated", stPausing},
		{"one of another kind, and a grant", another((*mind).yes), "unlock", stUnlocking},
		{"one of another kind, and the wrong session", another((*mind).seat), "", stWaiting},
		{"one of another kind, the wrong session, and it is over", another(func(d *mind) *mind { return d.seat().no() }),
			"give-back reserve-dedicated", stPausing},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newMind(t).acquire("a").no().expect("reserve poll timer", stWaiting)
			row.meet(d).expect(row.did, row.to)
		})
	}
}

// another puts one of another kind first, and then lets something happen.
func another(then func(d *mind) *mind) func(d *mind) *mind {
	return func(d *mind) *mind {
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
	for k := evAcquire; k <= evExited; k++ {
		all = append(all, "message "+k.String())
	}
	for k := fxTry; k <= fxExit; k++ {
		all = append(all, "effect "+k.String())
	}
	seen := map[string]bool{}
	for _, name := range all {
		if name == "" || strings.HasSuffix(name, " ") || seen[name] {
			t.Errorf("the name %q is empty or used twice", name)
		}
		seen[name] = true
	}
}

func TestUnknownEventsAreBugs(t *testing.T) {
	for _, kind := range []eventKind{evRetire, evDismiss, evRetirable, evExited} {
		func() {
			defer func() {
				if r, _ := recover().(string); !strings.HasPrefix(r, "BUG: ") {
					t.Errorf("%v: recovered %q", kind, r)
				}
			}()
			newMind(t).step(event{kind: kind})
		}()
	}
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
