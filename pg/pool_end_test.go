package pg

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Solo sessions that end at every moment between their opening, their use and their rest: each place is given back, and the pool
// can close.
func TestSoloSessionsThatEndAtAnyMoment(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	p := openPool(t, f.source(t), Config{SharedSessions: 1, MaxSessions: 4, WaitingSessions: 3,
		SessionTimeout: trust + 4*time.Millisecond})
	shared := p.first().PID()
	var stop atomic.Bool
	var killer, workers sync.WaitGroup
	killer.Go(func() {
		for !stop.Load() {
			for _, s := range f.all() {
				if s.PID != shared {
					s.conn.Close()
				}
			}
		}
	})
	rounds := 200
	if testing.Short() {
		rounds = 100
	}
	for i := range int64(6) {
		workers.Go(func() {
			c := newCaller(i)
			for n := range rounds {
				p.Reserve(&Reservation{Client: c, Use: []Use{UseWaiting, UseDedicated}[n%2]})
				got := receive(t, c.reserved)
				if got.err != nil {
					continue
				}
				if n%3 == 0 {
					if a := c.on(t, got.session, OpTry); a.ok {
						c.on(t, got.session, OpUnlock)
					}
				}
				p.Return(got.session)
			}
			for len(c.losses) > 0 {
				<-c.losses
			}
			c.quiet(t)
		})
	}
	workers.Wait()
	stop.Store(true)
	killer.Wait()
	eventually(t, "no place is taken", func() bool {
		s := p.Stats()
		return s.Waiting == 0 && s.Dedicated == 0 && s.Queued == 0 && s.Opening == 0
	})
	c := newCaller(1)
	for range 3 { // as many as there is room for
		c.reserve(t, p, UseDedicated)
	}
	closePool(t, p)
}

// While the only shared session takes its time to end, those who ask for locks share one new one, which is no lone one.
func TestOneSessionReplacesOneThatEnds(t *testing.T) {
	for name, heavy := range map[string]int64{"light": 1, "heavy": manyLocks + 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1, CloseTimeout: patience / 2})
				holders := newCallers(span(1, heavy))
				for _, c := range holders {
					c.take(t, p)
				}
				synctest.Wait() // where there are many locks a lone session has been asked for
				var dials atomic.Int32
				f.change(func() { f.dial = dialCount(&dials) })
				old := p.first()
				f.of(t, old).hung.Store(true) // it does not hear the goodbye
				old.end()
				synctest.Wait()
				for _, c := range newCallers(span(5000, 20)) {
					s, _ := c.take(t, p).(*Shared)
					if s == old || s.lone {
						t.Errorf("lone: %v, the old one: %v", s.lone, s == old)
					}
				}
				if n := dials.Load(); n != 1 {
					t.Errorf("%d connections were made", n)
				}
			})
		})
	}
}

// dialCount counts connections.
func dialCount(n *atomic.Int32) func(context.Context, string) error {
	return func(context.Context, string) error {
		n.Add(1)
		return nil
	}
}

// hold keeps the pool's goroutine busy.
type hold chan struct{}

func (h hold) do(*Pool) { <-h }
func (hold) refuse()    {}

// A session that ends between its opening and the pool's hearing of that takes no place for ever.
func TestASessionThatEndsBeforeThePoolHearsOfIt(t *testing.T) {
	for name, idle := range map[string]bool{"new": false, "out of the puddle": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 1, MaxSessions: 3})
				c, shared := newCaller(1), newCaller(2).take(t, p).PID()
				for range 50 {
					if idle {
						p.Return(c.reserve(t, p, UseDedicated))
						synctest.Wait()
					}
					gate := make(chan struct{})
					f.change(func() { f.dial = func(context.Context, string) error { <-gate; return nil } })
					busy := make(hold)
					go func() { // the pool gets to it while the session is being opened, or the opener has it from the puddle
						p.Reserve(&Reservation{Client: c, Use: UseDedicated})
						p.send(busy)
					}()
					close(gate)
					synctest.Wait()
					for _, s := range f.all() {
						if s.PID != shared {
							s.conn.Close()
						}
					}
					synctest.Wait()
					close(busy)
					p.Return(receive(t, c.reserved).session)
					synctest.Wait()
					if s := p.Stats(); s.Dedicated != 0 || s.Opening != 0 || s.Queued != 0 {
						t.Fatalf("%+v", s)
					}
				}
				closePool(t, p)
			})
		})
	}
}

// A session that takes its time to end counts: the next one is opened when it has ended.
func TestASessionThatEndsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1, MaxSessions: 2})
		newCaller(1).reserve(t, p, UseDedicated)
		old := p.first()
		f.of(t, old).hung.Store(true)
		old.end()
		synctest.Wait()
		c := newCaller(2)
		c.ask(p)
		wait(defaultCloseTimeout / 2)
		if n := len(f.all()); n != 2 {
			t.Errorf("%d sessions", n)
		}
		if a := c.await(t); !a.ok {
			t.Errorf("%+v", a)
		}
	})
}
