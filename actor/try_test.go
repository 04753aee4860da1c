package actor

import (
	"testing"
	"time"
)

// A try that comes while an operation is under way whose caller has given up. Only what the server says after it came may refuse it.
func TestTryAfterACallerGaveUp(t *testing.T) {
	askedNow := func(d *driver) Told { return Told{Holder: &Holder{PID: 5}, Asked: d.now} }
	waiting := func(t *testing.T) *driver { return in(t, stWaiting).withdraw("a").passes(time.Millisecond) }
	polling := func(t *testing.T) *driver {
		return newDriver(t).acquire("a").no().expect("reserve poll", stWaiting).withdraw("a").expect("refuse a withdraw stop-polling", stWaiting)
	}
	for _, row := range []struct {
		name string
		meet func(t *testing.T) *driver
		did  string
		to   state
	}{
		{"a try is under way, and says no", func(t *testing.T) *driver { return in(t, stTrying).withdraw("a").acquire("b", try).no() }, "try", stTrying},
		{"and its own says no", func(t *testing.T) *driver {
			return in(t, stTrying).withdraw("a").acquire("b", try).no().expect("try", stTrying).no()
		}, "refuse b", stIdle},
		{"a try is under way, and says yes", func(t *testing.T) *driver { return in(t, stTrying).withdraw("a").acquire("b", try).yes() }, "grant b", stHeld},
		{"a poll is being stopped", func(t *testing.T) *driver { return polling(t).acquire("b", try) }, "", stWaiting},
		{"a poll was stopped", func(t *testing.T) *driver { return polling(t).acquire("b", try).no() }, "try", stTrying},
		{"a poll was granted", func(t *testing.T) *driver { return polling(t).acquire("b", try).yes() }, "grant b", stHeld},
		{"a wait is under way", func(t *testing.T) *driver { return waiting(t).acquire("b", try) }, "ask", stWaiting},
		{"a wait is granted", func(t *testing.T) *driver { return waiting(t).acquire("b", try).yes() }, "grant b", stHeld},
		{"the slice of a wait is over", func(t *testing.T) *driver { return waiting(t).acquire("b", try).no() }, "try", stTrying},
		{"somebody holds the lock", func(t *testing.T) *driver {
			d := waiting(t).acquire("b", try)
			return d.step(askedNow(d))
		}, "refuse b", stWaiting},
		{"somebody holds the lock, which may be shared", func(t *testing.T) *driver {
			d := waiting(t).acquire("b", shared, try)
			return d.step(askedNow(d))
		}, "", stWaiting},
		{"somebody held the lock before", func(t *testing.T) *driver {
			d := waiting(t)
			old := askedNow(d)
			return d.passes(time.Millisecond).acquire("b", try).step(old)
		}, "", stWaiting},
		{"nobody holds the lock any more", func(t *testing.T) *driver {
			d := waiting(t).acquire("b", try)
			return d.step(Told{Asked: d.now})
		}, "", stWaiting},
		{"another try too soon", func(t *testing.T) *driver {
			d := waiting(t).acquire("b", try)
			return d.step(askedNow(d)).passes(time.Millisecond).acquire("c", try).wakesAfter(askAfter - time.Millisecond)
		}, "", stWaiting},
		{"another try soon", func(t *testing.T) *driver {
			d := waiting(t).acquire("b", try)
			return d.step(askedNow(d)).passes(time.Millisecond).acquire("c", try).passes(askAfter).tick()
		}, "ask", stWaiting},
		{"another who waits behind it", func(t *testing.T) *driver {
			d := waiting(t).acquire("b", try).acquire("c")
			return d.step(askedNow(d)).expect("refuse b", stWaiting).yes()
		}, "grant c", stHeld},
	} {
		t.Run(row.name, func(t *testing.T) { row.meet(t).expect(row.did, row.to) })
	}
}

// A wait whose grant is on its way is no holder that is in the way of a try.
func TestAGrantedWaitIsNoOther(t *testing.T) {
	k := &keeper{link: &fakeLink{own: &fakeSession{pid: 7}}}
	k.server.op = opWait
	for pid, others := range map[uint32]bool{7: false, 8: true} {
		if told := k.ofOthers(Told{Holder: &Holder{PID: pid}}); (told.Holder != nil) != others {
			t.Errorf("the holder has pid %d, the wait 7: told %v", pid, told.Holder)
		}
	}
	k.server.op = opNone
	if told := k.ofOthers(Told{Holder: &Holder{PID: 7}}); told.Holder == nil {
		t.Error("no wait is under way, and the holder is not told")
	}
	if told := k.ofOthers(Told{}); told.Holder != nil {
		t.Error("nobody holds the lock, and a holder is told")
	}
}
