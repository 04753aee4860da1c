package pg

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The pool of sessions: how it grows, what it does when it cannot, and how it ends.

// fakePool opens a pool on a fake server, whose shared session is there when it returns.
func fakePool(t *testing.T, f *fakeServer, config Config) *Pool {
	t.Helper()
	p := openPool(t, f.source(t), config)
	eventually(t, "the first session is shared", func() bool { return p.Stats().Shared == 1 })
	return p
}

func TestThePoolGrowsWithTheLoad(t *testing.T) {
	for _, c := range []struct{ requests, limit, want int }{
		{1, 4, 1}, {100, 4, 1}, {1026, 4, 1}, {1027, 4, 2}, {2053, 4, 2}, {2054, 4, 3}, {4500, 4, 4}, {3500, 2, 2}, {2000, 1, 1},
	} {
		t.Run(fmt.Sprint(c.requests, " requests, at most ", c.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := fakePool(t, f, Config{SharedSessions: c.limit})
				release := make(chan struct{})
				f.onStatement(func(_ *fakeSession, q *question) {
					if q.Kind == "try" || q.Kind == "batch" {
						<-release
					}
				})
				callers := newCallers(span(1, int64(c.requests)))
				for _, c := range callers {
					c.ask(p)
					synctest.Wait() // a session that was asked for is there
				}
				if stats := p.Stats(); stats.Shared != c.want || stats.Opening != 0 {
					t.Errorf("%+v", stats)
				}
				close(release)
				for _, c := range callers {
					if a := c.await(t); !a.ok {
						t.Fatalf("%+v", a)
					}
				}
			})
		})
	}
}

// A statement costs the server more the more locks its session holds: new locks go elsewhere.
func TestNewLocksGoToTheLeastLoadedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{})
		full := p.first()
		for _, c := range newCallers(span(1, manyLocks)) {
			if s := c.take(t, p); s != full {
				t.Fatal("a second session was opened without need")
			}
		}
		synctest.Wait()            // its count of locks is published after the answer
		newCaller(5000).take(t, p) // it asks for another session, and does not wait for it
		synctest.Wait()
		for _, c := range newCallers(span(6000, 20)) {
			s := c.take(t, p)
			if s == full {
				t.Errorf("lock %d went to a session with %d locks", c.r.ID, full.locks.Load())
			}
			c.release(t, s)
		}
		if stats := p.Stats(); stats.Shared != 2 {
			t.Errorf("%+v", stats)
		}
	})
}

// What fails later than at Open is told to whoever asked, and forgotten: the next one tries anew. (An earlier helper
// kept the error of a failed connection attempt, and no acquire succeeded any more.)
func TestAFailedConnectionIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{})
		f.change(func() { f.dial = func(context.Context, string) error { return syscall.ECONNREFUSED } })
		first := p.first()
		f.of(t, first).conn.Close()
		receive(t, ended(first))
		caller := newCaller(1)
		for range 3 {
			a := caller.try(t, p)
			if a.ok || !errors.Is(a.err, syscall.ECONNREFUSED) || !Transient(a.err) {
				t.Errorf("%+v", a)
			}
			for _, use := range []Use{UseWaiting, UseDedicated} {
				p.Reserve(&Reservation{Client: caller, Use: use})
				if got := receive(t, caller.reserved); !errors.Is(got.err, syscall.ECONNREFUSED) {
					t.Errorf("%+v", got)
				}
			}
		}
		f.change(func() { f.dial = nil })
		caller.release(t, caller.take(t, p))
		caller.reserve(t, p, UseWaiting)
		if stats := p.Stats(); stats.Opening != 0 || stats.Queued != 0 {
			t.Errorf("%+v", stats)
		}
		caller.quiet(t)
	})
}

// A thousand requests that meet no session wait for one attempt, and share its fate.
func TestRequestsShareOneConnectionAttempt(t *testing.T) {
	for name, fate := range map[string]error{"success": nil, "failure": syscall.ECONNRESET} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := fakePool(t, f, Config{SharedSessions: 1})
				var dials atomic.Int32
				answer := make(chan struct{})
				f.change(func() {
					f.dial = func(context.Context, string) error {
						dials.Add(1)
						<-answer
						return fate
					}
				})
				first := p.first()
				f.of(t, first).conn.Close()
				receive(t, ended(first))
				callers := newCallers(span(1, 1000))
				for _, c := range callers {
					c.ask(p)
				}
				synctest.Wait()
				close(answer)
				for _, c := range callers {
					if a := c.await(t); a.ok != (fate == nil) || !errors.Is(a.err, fate) {
						t.Fatalf("%+v", a)
					}
				}
				if n := dials.Load(); n != 1 {
					t.Errorf("%d connection attempts", n)
				}
			})
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := patient()
	config.WaitingSessions = 2
	p := openDSN(t, d.dsn(), config)
	other := openDSN(t, d.dsn(), quick())
	crowd := startCrowd(t, p, 4)
	l := takeAll(t, p)
	queued := newCaller(200)
	p.Reserve(&Reservation{Client: queued, Use: UseWaiting})
	theirs := newCaller(500)
	theirs.take(t, other)
	crowd.stop.Store(true)
	crowd.end(t)
	var closing sync.WaitGroup
	for range 4 {
		closing.Go(func() { closePool(t, p) })
	}
	closing.Wait()
	// Close waits until the server has hung up, and a server that has hung up has released the locks: no need to poll.
	if locks := d.locks(t); len(locks) != 1 || locks[500] == 0 {
		t.Errorf("after Close the server has %v", locks)
	}
	for _, c := range append(l.shared, l.waited, l.dedicated) {
		c.lost(t, CauseClosed)
		c.quiet(t)
	}
	if a := l.waiting.await(t); a.ok { // the holder's session was gone first
		l.waiting.lost(t, CauseClosed)
	} else if causeOf(t, a.err) != CauseClosed {
		t.Errorf("the wait under way: %+v", a)
	}
	if got := receive(t, queued.reserved); !errors.Is(got.err, ErrClosed) {
		t.Errorf("the queued reservation: %+v", got)
	}
	closePool(t, p)
	late := newCaller(1)
	if a := late.try(t, p); !errors.Is(a.err, ErrClosed) || Transient(a.err) {
		t.Errorf("a try after Close: %+v", a)
	}
	p.Reserve(&Reservation{Client: late, Use: UseDedicated})
	if got := receive(t, late.reserved); !errors.Is(got.err, ErrClosed) {
		t.Errorf("a reservation after Close: %+v", got)
	}
	p.Who(1, late)
	p.StopPolling(&late.r)
	if a := late.on(t, l.session, OpTry); causeOf(t, a.err) != CauseClosed {
		t.Errorf("a request to a closed session: %+v", a)
	}
	p.Return(l.dedicated.r.Session.(*Solo)) //nolint:forcetypeassert // it was reserved
	if stats := p.Stats(); stats.Shared+stats.Waiting+stats.Dedicated+stats.Idle+stats.Opening != 0 {
		t.Errorf("%+v", stats)
	}
	eventually(t, "only the other pool's connection is left", func() bool { return d.backends(t) == 1 })
}

// The server does not answer the goodbye, nor anything else.
func TestCloseWithAServerThatHangs(t *testing.T) {
	for name, state := range map[string]func(f *fakeServer, p *Pool){
		"idle": func(*fakeServer, *Pool) {},
		"busy": func(_ *fakeServer, p *Pool) { p.Try(&newCaller(9).r) },
		"opening": func(f *fakeServer, p *Pool) {
			f.change(func() { f.dial = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() } })
			p.Reserve(&Reservation{Client: newCaller(10), Use: UseDedicated})
		},
		"setting up": func(_ *fakeServer, p *Pool) {
			p.Reserve(&Reservation{Client: newCaller(10), Use: UseDedicated})
		},
		"waiting": func(f *fakeServer, p *Pool) {
			c := newCaller(1)
			p.Reserve(&Reservation{Client: c, Use: UseWaiting})
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := fakePool(t, f, Config{})
				holder := newCaller(1)
				holder.take(t, p)
				f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
				state(f, p)
				synctest.Wait()
				for _, s := range f.all() {
					s.hung.Store(true)
				}
				f.change(func() {
					if f.dial == nil {
						f.dial = func(context.Context, string) error { return errMute }
					}
				})
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := p.Close(ctx); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > defaultCloseTimeout+defaultConnectTimeout {
					t.Errorf("Close took %v", took)
				}
				synctest.Wait()
				if n := len(f.all()); n != 0 {
					t.Errorf("%d connections are left", n)
				}
				holder.lost(t, CauseClosed)
			})
		})
	}
}

func TestCloseThatIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := fakePool(t, f, Config{})
		holder := newCaller(1)
		s := holder.take(t, p)
		f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
		busy := newCaller(2)
		busy.ask(p)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		holder.lost(t, CauseClosed) // at once
		receive(t, ended(s))        // and the rest ends by itself
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		busy.await(t)
	})
}

// Reservations come and go while no session is given back: those that were withdrawn are not kept for ever.
func TestWithdrawnReservationsAreForgotten(t *testing.T) {
	q := &reservations{}
	staying := &Reservation{Client: newCaller(1), Use: UseWaiting}
	q.push(staying)
	for i := range 10_000 {
		r := &Reservation{Client: newCaller(int64(i)), Use: UseWaiting}
		q.push(r)
		q.answered(r)
	}
	if n := len(q.list); n > 100 {
		t.Errorf("%d reservations are kept, and 1 waits", n)
	}
	if next := q.next(); next != staying || q.n != 0 {
		t.Errorf("the next is %+v, and %d wait behind it", next, q.n)
	}
}
