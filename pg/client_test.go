package pg

import (
	"context"
	"errors"
	"testing"
	"time"
)

// caller is a client that writes down what it is told. Its channels have room for more than is allowed to come, so that
// a second answer is seen and does not block a session.
type caller struct {
	r       Request
	answers chan answer
	losses  chan loss
	seats   chan seated
}

type answer struct {
	ok      bool
	err     error
	session *Session
	holder  *Holder
	at      time.Time
}

type loss struct {
	session   *Session
	id        int64
	err       error
	published error // what the session said of itself at that moment
	at        time.Time
}

type seated struct {
	session *Session
	err     error
}

func newCaller(id int64) *caller {
	c := &caller{answers: make(chan answer, 8), losses: make(chan loss, 8), seats: make(chan seated, 8)}
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
	c.answers <- answer{ok: r.OK, err: r.Err, session: r.Session, holder: r.Holder, at: time.Now()}
}

func (c *caller) Lost(s *Session, id int64, cause error) {
	c.losses <- loss{session: s, id: id, err: cause, published: s.Lost(), at: time.Now()}
}

func (c *caller) Reserved(_ *Reservation, s *Session, err error) { c.seats <- seated{s, err} }

func (c *caller) submit(s *Session, op Op) {
	c.r.Op = op
	s.Submit(&c.r)
}

// on runs one operation on a session and returns its answer.
func (c *caller) on(t testing.TB, s *Session, op Op) answer {
	t.Helper()
	c.submit(s, op)
	return receive(t, c.answers)
}

// try asks the pool for the lock.
func (c *caller) try(t testing.TB, p *Pool) answer {
	t.Helper()
	p.Try(&c.r)
	return receive(t, c.answers)
}

// take is try, where the answer must be yes.
func (c *caller) take(t testing.TB, p *Pool) *Session {
	t.Helper()
	a := c.try(t, p)
	if !a.ok || a.err != nil {
		t.Fatalf("lock %d: granted=%v, %v", c.r.ID, a.ok, a.err)
	}
	return a.session
}

// release unlocks, and the server must have had the lock.
func (c *caller) release(t testing.TB, s *Session) {
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
	if l.published == nil || l.published.Error() != l.err.Error() {
		t.Errorf("lock %d: told of %v while the session said %v", l.id, l.err, l.published)
	}
	none(t, c.losses, "told twice")
	return l
}

// quiet checks that nothing came that was not taken.
func (c *caller) quiet(t testing.TB) {
	t.Helper()
	none(t, c.answers, "an answer too many")
	none(t, c.losses, "a loss too many")
	none(t, c.seats, "a session too many")
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
func (c *caller) reserve(t testing.TB, p *Pool, use Use) *Session {
	t.Helper()
	p.Reserve(&Reservation{Client: c, Use: use})
	got := receive(t, c.seats)
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got.session
}

// quick is a config for tests that do not wait for trust to run out.
func quick() Config {
	return Config{ConnectTimeout: 20 * time.Second, CloseTimeout: 10 * time.Second}
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
