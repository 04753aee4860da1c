package pg

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What a pool sends when nobody wants anything, and what becomes of it when something hangs.

// countingConn counts what is written to it.
type countingConn struct {
	net.Conn
	bytes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.Conn.Write(p)
}

// counted is the fake server's source, with the bytes that are written to it.
func counted(t *testing.T, f *fakeServer, bytes *atomic.Int64) Source {
	t.Helper()
	source := f.source(t)
	config, _ := source.(configSource).config() //nolint:forcetypeassert // it is what FromConfig makes
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return countingConn{conn, bytes}, nil
	}
	counting, err := FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return counting
}

// A pool without locks sends nothing, closes its sessions after a while, and opens one when it is next used.
func TestAnIdlePoolSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var bytes atomic.Int64
		p := openPool(t, counted(t, f, &bytes), Config{})
		c := newCaller(1)
		for range 3 {
			c.release(t, c.take(t, p))
			p.Return(c.reserve(t, p, UseWaiting))
			synctest.Wait()
			before := bytes.Load()
			wait(p.config.idleLimit() - time.Millisecond)
			if n := bytes.Load() - before; n != 0 {
				t.Errorf("%d bytes were sent while nobody wanted anything", n)
			}
			if s := p.Stats(); s.Shared != 1 || s.Idle != 1 || len(f.all()) != 2 {
				t.Errorf("before their time: %+v", s)
			}
			wait(time.Second)
			if s := p.Stats(); s.Shared != 0 || s.Idle != 0 || len(f.all()) != 0 {
				t.Errorf("after their time: %+v", s)
			}
			before = bytes.Load()
			wait(time.Hour)
			if n := bytes.Load() - before; n != 0 {
				t.Errorf("%d bytes were sent by a pool without sessions", n)
			}
		}
		c.quiet(t)
	})
}

// More requests than the session has room for, while the server hangs: nobody is kept in Submit, and everybody is answered when
// the trust is over.
func TestAHungServerKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		holder := newCaller(1)
		s := holder.take(t, p)
		f.onStatement(func(_ *fakeSession, q *question) { q.never = true })
		begin := time.Now()
		callers := newCallers(span(10, 3*sharedRoom))
		var all sync.WaitGroup
		for _, c := range callers {
			all.Go(func() { c.submit(s, OpTry) })
		}
		all.Wait()
		if took := time.Since(begin); took != 0 {
			t.Errorf("Submit took up to %v", took)
		}
		for _, c := range callers {
			if a := c.await(t); a.ok || causeOf(t, a.err) != CauseSilence || a.at.Sub(begin) > trust+p.config.drainDelay() {
				t.Fatalf("%+v after %v", a, a.at.Sub(begin))
			}
			c.quiet(t)
		}
		if l := holder.lost(t, CauseSilence); l.at.Sub(begin) > trust {
			t.Errorf("lost after %v", l.at.Sub(begin))
		}
	})
}

// The same with a server that is stopped.
func TestAStoppedServerKeepsNobody(t *testing.T) {
	noLeaks(t)
	d := newServer(t, nil)
	config := short()
	config.SharedSessions = 1
	p := openDSN(t, d.dsn(), config)
	holder := newCaller(1)
	s := holder.take(t, p)
	if err := d.SignalAll(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	callers := newCallers(span(10, 3*sharedRoom))
	for _, c := range callers {
		c.submit(s, OpTry)
	}
	for _, c := range callers {
		if a := c.await(t); a.ok || causeOf(t, a.err) != CauseSilence {
			t.Fatalf("%+v", a)
		}
		c.quiet(t)
	}
	holder.lost(t, CauseSilence)
	if err := d.SignalAll(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new session takes the lock", func() bool { return holder.try(t, p).ok })
	closePool(t, p)
	d.isEmpty(t)
}

// A function of the user's that blocks, panics or ends its goroutine is met by whoever needs a new session, and by nobody else.
func TestUserCodeRunsOnNoOwner(t *testing.T) {
	for name, user := range map[string]func(gate chan struct{}) error{
		"blocks": func(gate chan struct{}) error { <-gate; return errors.New("at last") },
		"panics": func(chan struct{}) error { panic("the user's") },
		"goexit": func(chan struct{}) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{SharedSessions: 2})
				gate := make(chan struct{})
				defer close(gate)
				holder, c, asker := newCaller(1), newCaller(2), newCaller(3)
				s := holder.take(t, p)
				f.change(func() { f.dial = func(context.Context, string) error { return user(gate) } })
				for _, use := range []Use{UseWaiting, UseDedicated} {
					p.Reserve(&Reservation{Client: asker, Use: use})
				}
				p.wish() // and a shared one
				begin := time.Now()
				for range 100 {
					c.release(t, c.take(t, p))
				}
				p.Stats()
				if took := time.Since(begin); took != 0 {
					t.Errorf("the others were kept for %v", took)
				}
				for range 2 {
					if got := receive(t, asker.reserved); got.err == nil || !Transient(got.err) {
						t.Errorf("%+v", got)
					}
				}
				wait(2 * trust)
				holder.quiet(t)
				holder.release(t, s)
				p.Reserve(&Reservation{Client: asker, Use: UseDedicated})
				begin = time.Now()
				closePool(t, p)
				if took := time.Since(begin); took > defaultCloseTimeout+lateBound {
					t.Errorf("Close took %v", took)
				}
				if got := receive(t, asker.reserved); got.err == nil {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// Close under load: whoever asks meanwhile hears that it is closed, nobody is kept, and nothing is left. A context that has ended
// cuts Close short, not the closing.
func TestCloseUnderLoad(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	for range 5 {
		config := quick()
		config.WaitingSessions = 4
		p := openDSN(t, d.dsn(), config)
		var all sync.WaitGroup
		var grants atomic.Int64
		for i := range int64(24) {
			all.Go(func() { untilClosed(t, newCaller(i%8), p, i, &grants) })
		}
		eventually(t, "locks are taken", func() bool { return grants.Load() > 50 })
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Close(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		all.Go(func() { closePool(t, p) })
		closePool(t, p)
		all.Wait()
		d.isEmpty(t)
	}
}

// untilClosed uses locks in one of the three ways until the pool is closed.
func untilClosed(t *testing.T, c *caller, p *Pool, way int64, grants *atomic.Int64) {
	for {
		a := answer{}
		var own *Solo
		switch way % 3 {
		case 0:
			a = c.try(t, p)
		case 1:
			c.poll(p)
			a = c.await(t)
		case 2:
			p.Reserve(&Reservation{Client: c, Use: UseWaiting})
			got := receive(t, c.reserved)
			if a.err = got.err; a.err == nil {
				own = got.session
				a = c.on(t, own, OpWait)
			}
		}
		if errors.Is(a.err, ErrClosed) {
			break
		}
		if a.ok {
			grants.Add(1)
			if b := c.on(t, a.session, OpUnlock); !b.ok && a.session.Lost() == nil {
				t.Errorf("%+v", b)
			}
		}
		if own != nil {
			p.Return(own)
		}
	}
	none(t, c.answers, "an answer too many")
	none(t, c.reserved, "a session too many")
}
