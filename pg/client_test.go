package pg

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// caller is a client that writes down what it is told. Its channels have room for more than is allowed to come, so that
// a second answer is seen and does not block a session.
type caller struct {
	r        Request
	pool     *Pool           // that was asked for the lock; nil where a session was
	unsent   <-chan struct{} // of the request under way
	answers  chan answer
	losses   chan loss
	reserved chan gotSession
	told     chan WhoAnswer
}

type answer struct {
	ok, again bool
	err       error
	session   Session
	at        time.Time
}

type loss struct {
	session Session
	id      int64
	err     error     // what the session said of itself at that moment
	trusted time.Time // and how long it was trusted then
	at      time.Time
}

type gotSession struct {
	session *Solo
	err     error
}

func newCaller(id int64) *caller {
	c := &caller{answers: make(chan answer, 8), losses: make(chan loss, 8), reserved: make(chan gotSession, 8),
		told: make(chan WhoAnswer, 8)}
	c.r.ID, c.r.Client = id, c
	return c
}

func newCallers(ids []int64) []*caller {
	callers := make([]*caller, len(ids))
	for i, id := range ids {
		callers[i] = newCaller(id)
	}
	return callers
}

func (c *caller) Done(r *Request) {
	c.answers <- answer{ok: r.OK, again: r.Again, err: r.Err, session: r.Session, at: time.Now()}
}

func (c *caller) Lost(s Session, id int64) {
	c.losses <- loss{session: s, id: id, err: s.Lost(), trusted: s.TrustedUntil(), at: time.Now()}
}

func (c *caller) Reserved(_ *Reservation, s *Solo, err error) { c.reserved <- gotSession{s, err} }

func (c *caller) Told(a WhoAnswer) { c.told <- a }

func (c *caller) submit(s Session, op Op) {
	c.r.Op, c.r.OK, c.r.Again, c.r.Err = op, false, false, nil
	c.pool = nil
	c.unsent = s.Submit(&c.r)
}

// ask asks the pool for the lock.
func (c *caller) ask(p *Pool) {
	c.r.OK, c.r.Again, c.r.Err = false, false, nil
	c.pool = p
	c.unsent = p.Try(&c.r)
}

// await is the answer to the request under way. The pool is asked again where no session had room, or the request was never sent;
// a session's end is the answer of the session.
func (c *caller) await(t testing.TB) answer {
	t.Helper()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	for range 1000 {
		a, sent := answer{}, true
		select {
		case a = <-c.answers:
		case <-c.unsent:
			select {
			case a = <-c.answers: // it was received, after all
			default:
				a, sent = answer{session: c.r.Session, err: c.r.Session.Lost(), at: time.Now()}, false
			}
		case <-bound.C:
			t.Fatalf("the %v of %d was not answered", c.r.Op, c.r.ID)
		}
		if c.pool == nil || sent && !a.again {
			return a
		}
		c.ask(c.pool)
	}
	panic(fmt.Sprintf("the pool was asked for lock %d again and again", c.r.ID))
}

// on runs one operation on a session and returns its answer.
func (c *caller) on(t testing.TB, s Session, op Op) answer {
	t.Helper()
	c.submit(s, op)
	return c.await(t)
}

// try asks the pool for the lock.
func (c *caller) try(t testing.TB, p *Pool) answer {
	t.Helper()
	c.ask(p)
	return c.await(t)
}

// who asks for the holder of the caller's lock.
func (c *caller) who(t testing.TB, p *Pool) *Holder {
	t.Helper()
	p.Who(c.r.ID, c)
	return receive(t, c.told).Holder
}

// take is try, where the answer must be yes.
func (c *caller) take(t testing.TB, p *Pool) Session {
	t.Helper()
	a := c.try(t, p)
	if !a.ok || a.err != nil {
		t.Fatalf("lock %d: granted=%v, %v", c.r.ID, a.ok, a.err)
	}
	return a.session
}

// takeOwn takes the lock on a dedicated session.
func (c *caller) takeOwn(t testing.TB, p *Pool) *Solo {
	t.Helper()
	own := c.reserve(t, p, UseDedicated)
	if a := c.on(t, own, OpTry); !a.ok || a.err != nil {
		t.Fatalf("lock %d: granted=%v, %v", c.r.ID, a.ok, a.err)
	}
	return own
}

// takeOn takes the lock on a session of that use: shared or dedicated.
func (c *caller) takeOn(t testing.TB, p *Pool, use Use) *session {
	t.Helper()
	if use == UseDedicated {
		return &c.takeOwn(t, p).session
	}
	c.take(t, p)
	return &p.first().session
}

// release unlocks, and the server must have had the lock.
func (c *caller) release(t testing.TB, s Session) {
	t.Helper()
	if a := c.on(t, s, OpUnlock); !a.ok || a.err != nil {
		t.Fatalf("unlock %d: released=%v, %v", c.r.ID, a.ok, a.err)
	}
}

// lost takes the news of a loss, which must have this cause, and checks that it came once.
func (c *caller) lost(t testing.TB, cause Cause) loss {
	t.Helper()
	l := receive(t, c.losses)
	if got := causeOf(t, l.err); got != cause {
		t.Errorf("lock %d was lost because %q: %v; expected %q", l.id, got, l.err, cause)
	}
	if l.id != c.r.ID {
		t.Errorf("the loss of lock %d was told to the client of %d", l.id, c.r.ID)
	}
	if l.trusted.After(l.at) {
		t.Errorf("lock %d: told of its loss while it was trusted for %v", l.id, l.trusted.Sub(l.at))
	}
	none(t, c.losses, "told twice")
	return l
}

// quiet checks that nothing came that was not taken.
func (c *caller) quiet(t testing.TB) {
	t.Helper()
	none(t, c.answers, "an answer too many")
	none(t, c.losses, "a loss too many")
	none(t, c.reserved, "a session too many")
}

func causeOf(t testing.TB, err error) Cause {
	t.Helper()
	var lost *LossError
	if !errors.As(err, &lost) {
		t.Fatalf("%v is no LossError", err)
	}
	return lost.Cause
}

// reserve asks for a session of the caller's own and returns it.
func (c *caller) reserve(t testing.TB, p *Pool, use Use) *Solo {
	t.Helper()
	p.Reserve(&Reservation{Client: c, Use: use})
	got := receive(t, c.reserved)
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.session
}

// ended is closed when a session has ended.
func ended(s Session) <-chan struct{} {
	switch s := s.(type) {
	case *Shared:
		return s.gone
	case *Solo:
		return s.gone
	}
	panic("not reached")
}

// first is the pool's first shared session.
func (p *Pool) first() *Shared { return (*p.shared.Load())[0] }

// quick is a config for tests that do not wait for trust to run out.
func quick() Config {
	return Config{HealthTimeout: patience, ConnectTimeout: 20 * time.Second, CloseTimeout: 10 * time.Second}
}

// openPool opens a pool that is closed with the test.
func openPool(t testing.TB, source Source, config Config) *Pool {
	t.Helper()
	p, err := Open(within(t), source, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, p) })
	return p
}

func closePool(t testing.TB, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

func openDSN(t testing.TB, dsn string, config Config) *Pool {
	t.Helper()
	return openPool(t, sourceOf(t, dsn), config)
}

func sourceOf(t testing.TB, dsn string) Source {
	t.Helper()
	source, err := FromDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func span(from, n int64) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = from + int64(i)
	}
	return ids
}
