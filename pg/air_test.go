package pg

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// Two statements in the air.

// twoInTheAir sends two statements whose answers the fake server holds back until answer is called; each meddles with one.
func twoInTheAir(t *testing.T, f *fakeServer, first, second func(q *question)) (answer func()) {
	t.Helper()
	gate, n := make(chan struct{}), 0
	f.onStatement(func(_ *fakeSession, q *question) {
		<-gate
		if n++; n <= 2 {
			[]func(*question){first, second}[n-1](q)
		}
	})
	return func() { close(gate); synctest.Wait() }
}

func fine(*question) {}

func failing(q *question) { q.answered, q.Code = true, "57014" }

// An error in one does not touch the other: it is settled beside it, and the other's clients hear nothing of it.
func TestAnErrorBesideAnotherStatement(t *testing.T) {
	for i, meddle := range [][2]func(*question){{failing, fine}, {fine, failing}, {failing, failing}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1})
				holders := newCallers(span(1, 2))
				var s Session
				for _, c := range holders {
					s = c.take(t, p)
				}
				failed := []bool{i != 1, i != 0}
				answer := twoInTheAir(t, f, meddle[0], meddle[1])
				tries := newCallers(span(10, 2))
				for _, c := range tries {
					c.submit(s, OpTry)
					synctest.Wait() // each is a statement of its own
				}
				answer()
				for i, c := range tries {
					if a := c.await(t); a.ok == failed[i] || (a.err != nil) != failed[i] {
						t.Errorf("statement %d: %+v", i, a)
					}
					if !failed[i] {
						c.release(t, s)
					}
				}
				if s.Lost() != nil {
					t.Fatal(s.Lost())
				}
				for _, c := range slices.Concat(holders, tries) {
					if len(f.held()) > 0 && c.r.ID < 10 {
						c.release(t, s)
					}
					c.quiet(t)
				}
				if held := f.held(); len(held) != 0 || p.first().locks.Load() != 0 {
					t.Errorf("held: %v, counted: %d", held, p.first().locks.Load())
				}
			})
		})
	}
}

// An id is unlocked and tried again before the session's owner has seen the first statement come back, any number of times. The
// account is right at the end: the loss of the session is told for what is held, once.
func TestAnIDIsUsedAgainBeforeItsStatementHasLanded(t *testing.T) {
	for _, last := range []Op{OpTry, OpUnlock} {
		t.Run(last.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1})
				c, neighbours := newCaller(7), newCallers(span(50, 3))
				s := neighbours[0].take(t, p)
				for range 20 { // answers are left to lie until as many as may be are in the air
					if a := c.on(t, s, OpTry); !a.ok {
						t.Fatalf("%+v", a)
					}
					for _, n := range neighbours[1:] { // of the same statements
						n.submit(s, OpTry)
					}
					for _, n := range neighbours[1:] {
						n.await(t)
						n.submit(s, OpUnlock)
					}
					c.release(t, s)
					for _, n := range neighbours[1:] {
						n.await(t)
					}
				}
				if last == OpTry {
					c.on(t, s, OpTry)
				}
				f.of(t, s).conn.Close()
				neighbours[0].lost(t, CauseConnection)
				receive(t, ended(s))
				if last == OpTry {
					c.lost(t, CauseConnection)
				}
				for _, n := range append(neighbours, c) {
					n.quiet(t)
				}
			})
		})
	}
}

// The block of a wait is stopped where it has the lock twice.
func TestAWaitThatIsStoppedWithTheLockTwice(t *testing.T) {
	for times := range 3 {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				c := newCaller(1)
				own := c.reserve(t, p, UseWaiting)
				f.onStatement(func(fs *fakeSession, q *question) {
					if q.Kind == "wait" {
						for range times {
							f.try(fs, 1)
						}
						q.answered, q.Code = true, "57014"
					}
				})
				if a := c.on(t, own, OpWait); a.ok || sqlState(a.err) != "57014" {
					t.Errorf("%+v", a)
				}
				if held := f.held(); len(held) != 0 {
					t.Errorf("held: %v", held)
				}
				f.onStatement(nil)
				if a := c.on(t, own, OpWait); !a.ok {
					t.Errorf("the session is of no more use: %+v", a)
				}
				c.release(t, own)
				c.quiet(t)
			})
		})
	}
}

// A request that a solo session cannot do ends it, and nobody is told that he has the lock.
func TestASoloSessionHasOneLock(t *testing.T) {
	for name, ask := range map[string]func(c *caller, s *Solo){
		"try of a held id":       func(c *caller, s *Solo) { c.submit(s, OpTry) },
		"wait for a held id":     func(c *caller, s *Solo) { c.submit(s, OpWait) },
		"wait for another id":    func(c *caller, s *Solo) { c.r.ID = 8; c.submit(s, OpWait) },
		"unlock of another id":   func(c *caller, s *Solo) { c.r.ID = 8; c.submit(s, OpUnlock) },
		"unlock of what is free": func(c *caller, s *Solo) { c.r.ID = 9; c.submit(s, OpUnlock) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				holder, second := newCaller(7), newCaller(7)
				own := holder.reserve(t, p, UseDedicated)
				if a := holder.on(t, own, OpTry); !a.ok {
					t.Fatalf("%+v", a)
				}
				ask(second, own)
				if a := second.await(t); a.ok || causeOf(t, a.err) != CauseDoubt {
					t.Errorf("%+v", a)
				}
				receive(t, ended(own))
				holder.lost(t, CauseDoubt)
				second.quiet(t)
				if held := f.held(); len(held) != 0 {
					t.Errorf("held: %v", held)
				}
			})
		})
	}
}

// I9 holds as well where the tries of two clients are in two statements in the air, and where the first is granted and has not
// landed.
func TestTwoStatementsNeverTryOneIDTwice(t *testing.T) {
	for name, landing := range map[string]bool{"in the air": false, "landing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1})
				first, second := newCaller(7), newCaller(7)
				s := p.first()
				answer := twoInTheAir(t, f, fine, fine)
				first.submit(s, OpTry)
				synctest.Wait()
				if landing {
					answer()
				}
				second.submit(s, OpTry)
				synctest.Wait()
				if !landing {
					answer()
				}
				granted := 0
				for _, c := range []*caller{first, second} {
					if a := c.await(t); a.ok {
						granted++
						c.lost(t, CauseDoubt)
					} else if a.err == nil || causeOf(t, a.err) != CauseDoubt {
						t.Errorf("%+v", a)
					}
					c.quiet(t)
				}
				if granted > 1 {
					t.Error("both were granted the lock")
				}
				receive(t, ended(s))
			})
		})
	}
}
