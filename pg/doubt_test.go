package pg

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// An error does not mean "not acquired", and no answer means nothing at all. After each of these the server's own table
// of locks must agree with what the clients were told.

// A statement fails after it took, or released, some of its locks.
func TestAFailedStatementIsSettled(t *testing.T) {
	for _, code := range []string{"57014", "53200"} {
		for _, done := range []int{0, 1, 2, 3} { // how many of the operations had their effect
			for _, op := range []Op{OpTry, OpUnlock} {
				for _, n := range []int64{1, 3} {
					for _, sharedFrom := range []int{3, 1, 0} { // the first of those whose locks are shared
						t.Run(fmt.Sprintf("%s/%s of %d after %d, shared from %d", code, op, n, done, sharedFrom), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) { failStatement(t, code, op, n, done, sharedFrom) })
						})
					}
				}
			}
		}
	}
}

func failStatement(t *testing.T, code string, op Op, n int64, done, sharedFrom int) {
	f := newFake(t)
	p := openPool(t, f.source(t), Config{SharedSessions: 1})
	callers := newCallers(span(1, n))
	for i, c := range callers {
		c.r.Shared = i >= sharedFrom
	}
	neighbour, other := newCaller(50), newCaller(51)
	s := neighbour.take(t, p)
	other.takeOwn(t, p)
	if op == OpUnlock {
		for _, c := range callers {
			c.take(t, p)
		}
	}
	var statements []string
	f.onStatement(func(fs *fakeSession, q *question) {
		if q.Kind == "who" {
			return
		}
		statements = append(statements, q.Kind)
		if len(statements) > 1 {
			for _, c := range callers {
				none(t, c.answers, "answered before it was settled")
			}
			return
		}
		for _, c := range callers[:min(done, int(n))] {
			map[Op]func(*fakeSession, pgfake.Lock) bool{OpTry: f.tryMode, OpUnlock: f.unlockMode}[op](fs, pgfake.Lock{ID: c.r.ID, Shared: c.r.Shared})
		}
		q.answered, q.Code = true, code
	})
	submitTogether(s, callers, op)
	for _, c := range callers {
		a := c.await(t)
		switch {
		case op == OpUnlock && (!a.ok || a.err != nil):
			t.Errorf("unlock: %+v; it was settled, and is released now", a)
		case op == OpTry && (a.ok || sqlState(a.err) != code || !Transient(a.err)):
			t.Errorf("try: %+v", a)
		}
	}
	synctest.Wait()
	if held := slices.Sorted(maps.Keys(f.held())); !slices.Equal(held, []int64{50, 51}) {
		t.Errorf("held at the server: %v", held)
	}
	if len(statements) != 2 {
		t.Errorf("the statements were %q; one was to settle the first", statements)
	}
	f.onStatement(nil)
	for _, c := range callers { // the session knows as well
		c.release(t, c.take(t, p))
		c.quiet(t)
	}
	neighbour.release(t, s)
	neighbour.quiet(t)
	other.quiet(t)
}

// What cannot be settled is given up, and the error has both stories.
func TestWhatCannotBeSettledIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		neighbour, victim := newCaller(50), newCaller(1)
		s := neighbour.take(t, p)
		codes := []string{"53200", "57014", "57014"} // the second cancel hits what was sent again
		f.onStatement(func(_ *fakeSession, q *question) {
			if len(codes) > 0 {
				q.answered, q.Code, codes = true, codes[0], codes[1:]
			}
		})
		a := victim.on(t, s, OpTry)
		if a.ok || causeOf(t, a.err) != CauseDoubt || !strings.Contains(a.err.Error(), "53200") ||
			!strings.Contains(a.err.Error(), "57014") {
			t.Errorf("%+v", a)
		}
		neighbour.lost(t, CauseDoubt)
		receive(t, ended(s))
		if held := f.held(); len(held) != 0 {
			t.Errorf("held: %v", held)
		}
		victim.quiet(t)
	})
}

// agree checks that a session holds exactly what its clients were granted.
func agree(t *testing.T, d database, s Session, told map[int64]bool) {
	t.Helper()
	held := make(map[int64]bool)
	for id, pid := range d.locks(t) {
		if pid == s.PID() {
			held[id] = true
		}
	}
	if !maps.Equal(held, told) {
		t.Errorf("the server says %v, the clients were told %v", slices.Sorted(maps.Keys(held)), slices.Sorted(maps.Keys(told)))
	}
}

// An administrator cancels statements of a session in mid-batch, again and again.
func TestCancelledBatches(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), quick())
	other := newCaller(5000)
	other.takeOwn(t, p)
	callers := newCallers(span(1, 500))
	for i, c := range callers {
		c.r.Shared = i%3 == 0
	}
	cancels := watch(t, d.Server, d.name)
	cancelled := 0
	for round := 0; round < 10 || cancelled < 3 && round < 1000; round++ {
		first := newCaller(6000)
		s := first.take(t, p)
		var stop atomic.Bool
		var canceller sync.WaitGroup
		canceller.Go(func() {
			for !stop.Load() {
				cancels.exec(t, "SELECT pg_cancel_backend(%d)", s.PID())
			}
		})
		told := map[int64]bool{6000: true}
		for _, op := range []Op{OpTry, OpUnlock} {
			for _, c := range callers {
				if op == OpTry || told[c.r.ID] {
					c.submit(s, op)
				}
			}
			for _, c := range callers {
				if op == OpUnlock && !told[c.r.ID] {
					continue
				}
				a := c.await(t)
				switch {
				case a.err != nil:
					cancelled++
					if op == OpUnlock { // it is told by that, or before it where the unlock was not sent, that the lock is gone with the session
						delete(told, c.r.ID)
						if len(c.losses) > 0 {
							c.lost(t, CauseDoubt)
						}
					}
				case !a.ok:
					t.Fatalf("%v %d: %+v", op, c.r.ID, a)
				case op == OpTry:
					told[c.r.ID] = true
				default:
					delete(told, c.r.ID)
				}
			}
			if s.Lost() != nil {
				break // a cancel hit what was to settle another
			}
		}
		stop.Store(true)
		canceller.Wait()
		if s.Lost() != nil {
			receive(t, ended(s))
			for _, c := range append(callers, first) {
				if told[c.r.ID] {
					c.lost(t, CauseDoubt)
				}
			}
			told = map[int64]bool{}
		}
		agree(t, d, s, told)
		if len(told) > 0 {
			if a := first.on(t, s, OpUnlock); !a.ok && s.Lost() == nil {
				t.Fatalf("%+v", a)
			}
		}
		if t.Failed() {
			return
		}
	}
	if cancelled == 0 {
		t.Error("no statement was hit: this test has shown nothing")
	}
	other.release(t, other.r.Session)
	for _, c := range append(callers, other) {
		c.quiet(t)
	}
}

// A wait that is cancelled from outside at the moment in which it is granted, or whose slice ends then.
func TestAGrantThatMeetsAnError(t *testing.T) {
	for name, slice := range map[string]time.Duration{"cancel": 4 * patience, "end of the slice": minDuration} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			d := newDatabase(t)
			config := patient()
			config.WaitSlice = slice
			p := openDSN(t, d.dsn(), config)
			holder, waiter := newCaller(1), newCaller(1)
			own := waiter.reserve(t, p, UseWaiting)
			granted := 0
			for i := range 100 {
				waiter.r.Shared = i%2 == 1
				s := holder.take(t, p)
				waiter.submit(own, OpWait)
				if name == "cancel" {
					eventually(t, "the wait is in the queue", func() bool { return len(d.queued(t)) == 1 })
					var release sync.WaitGroup
					release.Go(func() {
						for range rand.IntN(1 << (i % 18)) { // before, while and after the cancellation is on its way
							_ = own.TrustedUntil()
						}
						holder.submit(s, OpUnlock)
					})
					d.exec(t, "SELECT pg_cancel_backend(%d)", own.PID())
					release.Wait()
				} else {
					<-time.After(slice - time.Millisecond + time.Duration(rand.IntN(2000))*time.Microsecond)
					holder.submit(s, OpUnlock)
				}
				a := waiter.await(t)
				if b := holder.await(t); !b.ok {
					t.Fatalf("%+v", b)
				}
				if a.err != nil && (name != "cancel" || sqlState(a.err) != "57014" || own.Lost() != nil) {
					t.Fatalf("%+v", a)
				}
				agree(t, d, own, map[bool]map[int64]bool{true: {1: true}, false: {}}[a.ok])
				if a.ok {
					granted++
					waiter.release(t, own)
				}
			}
			t.Logf("%d of 100 were granted", granted)
			waiter.quiet(t)
			holder.quiet(t)
		})
	}
}

// The server's lock table is full: a failed batch keeps what it took until then, unless somebody settles it.
func TestAFullLockTable(t *testing.T) {
	noLeaks(t)
	d := newServer(t, map[string]string{"max_locks_per_transaction": "10", "max_connections": "10", "max_wal_senders": "2",
		"max_worker_processes": "1", "max_replication_slots": "0", "autovacuum_max_workers": "1", "autovacuum": "off"})
	config := quick()
	config.SharedSessions = 1
	p := openDSN(t, d.dsn(), config)
	d.exec(t, "SELECT 1") // while there is room for a connection
	neighbour := newCaller(1 << 40)
	own := neighbour.reserve(t, p, UseDedicated)
	if a := neighbour.on(t, own, OpTry); !a.ok {
		t.Fatalf("%+v", a)
	}
	first := newCaller(0)
	s := first.take(t, p)
	told := map[int64]bool{0: true}
	var holders []*caller
	failed := 0
	for from := int64(1); failed == 0; from += 200 {
		callers := newCallers(span(from, 200))
		resume := stall(t, s)
		for _, c := range callers {
			c.submit(s, OpTry)
		}
		resume()
		for _, c := range callers {
			a := c.await(t)
			switch {
			case a.ok:
				told[c.r.ID] = true
				holders = append(holders, c)
			case sqlState(a.err) != "53200" || !errors.Is(a.err, ErrLockTableFull) || !Transient(a.err) ||
				!strings.Contains(a.err.Error(), "max_locks_per_transaction"): // the server's own advice
				t.Fatalf("%+v", a)
			default:
				failed++
			}
			c.quiet(t)
		}
	}
	t.Logf("%d locks were granted, %d refused", len(told), failed)
	for _, c := range holders[:10] { // the question who holds what needs locks as well
		c.release(t, s)
		delete(told, c.r.ID)
	}
	holders = holders[10:]
	agree(t, d, s, told)
	for _, c := range holders {
		c.submit(s, OpUnlock)
	}
	for _, c := range holders {
		if a := c.await(t); !a.ok || a.err != nil {
			t.Errorf("unlock %d: %+v", c.r.ID, a)
		}
		delete(told, c.r.ID)
	}
	agree(t, d, s, told)
	for _, c := range holders[:10] {
		if a := c.on(t, s, OpTry); !a.ok {
			t.Errorf("there is room again: %+v", a)
		}
		c.release(t, s)
	}
	neighbour.release(t, own)
	first.release(t, s)
}

// The connection breaks somewhere within a reply.
func TestLostReplies(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	box, dsn := newSocketMiddlebox(t, d)
	p := openDSN(t, dsn, patient()) // no health question, whose answer would be cut in place of another
	neighbour := newCaller(50)
	own := neighbour.reserve(t, p, UseDedicated)
	if a := neighbour.on(t, own, OpTry); !a.ok {
		t.Fatalf("%+v", a)
	}
	for _, op := range []Op{OpTry, OpUnlock} {
		for _, after := range []int{0, 1, 5, 6, 11, 16, 17, 30, 31, 36, 37} { // 37 bytes are all of it
			victim, beside := newCaller(1), newCaller(2)
			s := beside.take(t, p)
			if op == OpUnlock {
				if a := victim.on(t, s, OpTry); !a.ok {
					t.Fatalf("%+v", a)
				}
			}
			box.CutReply(after)
			a := victim.on(t, s, op)
			beside.lost(t, CauseConnection)
			switch {
			case op == OpTry && a.ok: // the whole reply came
				victim.lost(t, CauseConnection)
			case a.ok:
			case causeOf(t, a.err) != CauseConnection || !Transient(a.err):
				t.Errorf("%v, cut after %d bytes: %+v", op, after, a)
			}
			receive(t, ended(s))
			if op == OpUnlock { // the news of the loss may come beside the answer
				for len(victim.losses) > 0 {
					<-victim.losses
				}
			}
			victim.quiet(t)
			eventually(t, "what nobody holds is free", func() bool {
				return maps.Equal(d.locks(t), map[int64]uint32{50: own.PID()})
			})
		}
	}
	neighbour.release(t, own)
	neighbour.quiet(t)
}
