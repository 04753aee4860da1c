package pg

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A storm: many clients do whatever they may, in any order, while sessions break, hang, fail and lie idle, and the pool
// is closed in the middle of it. Every request and every reservation is answered once, no lock has two owners, nothing
// is left.

// owners is the oracle: who believes that it has which lock. Where the server ends sessions its locks are free a moment
// before their owners can know, so exclusion is only asked for in storms in which it does not.
type owners struct {
	t       *testing.T
	of      []atomic.Int64
	hangUps bool
}

// stormClient notes its locks on the session's own goroutine, at the very moment in which it is told.
type stormClient struct {
	*caller
	me     int64
	owners *owners
	lost   atomic.Int64
}

func (c *stormClient) Done(r *Request) {
	granted := r.OK && r.Op != OpUnlock && time.Now().Before(r.Session.TrustedUntil()) // else nobody may believe in it
	if granted && !c.owners.of[r.ID].CompareAndSwap(0, c.me) && !c.owners.hangUps {
		c.owners.t.Errorf("client %d was granted lock %d, which client %d believes to have", c.me, r.ID, c.owners.of[r.ID].Load())
	}
	c.caller.Done(r)
}

func (c *stormClient) Lost(s Session, id int64) {
	c.owners.of[id].CompareAndSwap(c.me, 0)
	c.lost.Add(1)
}

func TestStorm(t *testing.T) {
	noLeaks(t)
	storms, length := 3, 400*time.Millisecond
	if os.Getenv("LOCKKEEPER_STRESS") != "" {
		storms, length = 40, 3*time.Second
	}
	for i := range storms {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		storm(t, seed, length, i%2 == 1)
	}
}

func storm(t *testing.T, seed uint64, length time.Duration, hangUps bool) {
	t.Helper()
	f := newFake(t)
	p := openPool(t, f.source(t), Config{HealthInterval: 60 * time.Millisecond, HealthTimeout: 60 * time.Millisecond, SessionTimeout: 1500 * time.Millisecond,
		WaitSlice: 20 * time.Millisecond, ConnectTimeout: 5 * time.Second, CloseTimeout: 50 * time.Millisecond,
		IdleTime: 40 * time.Millisecond, SharedSessions: 3, WaitingSessions: 4, MaxSessions: 10})
	var faults atomic.Int64
	f.onStatement(func(_ *fakeSession, q *question) {
		switch n := rand.IntN(1000); {
		case n < 6:
			q.answered, q.Code = true, "57014" // without having done anything
		case n < 8:
			q.never = true
		case n == 8 && hangUps:
			q.hangUp = true
		case n == 9 && hangUps:
			q.answered, q.Code, q.Severity = true, "57P01", "FATAL"
			q.hangUp = true
		default:
			return
		}
		faults.Add(1)
	})
	o := &owners{t: t, of: make([]atomic.Int64, 12), hangUps: hangUps}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var workers sync.WaitGroup
	var grants, losses atomic.Int64
	for i := range int64(16) {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		workers.Go(func() {
			c := &stormClient{caller: newCaller(0), me: i + 1, owners: o}
			c.r.Client = c
			for ctx.Err() == nil {
				grants.Add(c.round(t, p, random))
			}
			losses.Add(c.lost.Load())
			none(t, c.answers, "an answer too many")
			none(t, c.reserved, "a session too many")
		})
	}
	<-time.After(length)
	eventually(t, "faults and grants", func() bool { return faults.Load() > 0 && grants.Load() > 0 })
	closePool(t, p) // while they are at it
	cancel()
	workers.Wait()
	eventually(t, "nothing is left at the server", func() bool { return len(f.held()) == 0 && len(f.all()) == 0 })
	for id := range o.of {
		if owner := o.of[id].Load(); owner != 0 {
			t.Errorf("client %d was not told that it lost lock %d", owner, id)
		}
	}
	t.Logf("%d grants, %d faults, %d losses", grants.Load(), faults.Load(), losses.Load())
}

// round is one thing that a client may do.
func (c *stormClient) round(t *testing.T, p *Pool, random *rand.Rand) (granted int64) {
	c.r.ID = random.Int64N(int64(len(c.owners.of)))
	if random.IntN(3) > 0 {
		c.ask(p)
		return c.held(t, c.await(t), random)
	}
	if random.IntN(3) == 0 {
		c.poll(p)
		if random.IntN(2) == 0 {
			<-time.After(time.Duration(random.Int64N(int64(2 * pollSoonest))))
			p.StopPolling(&c.r)
		}
		return c.held(t, c.await(t), random)
	}
	use := []Use{UseWaiting, UseDedicated}[random.IntN(2)]
	r := &Reservation{Client: c, Use: use}
	p.Reserve(r)
	if random.IntN(4) == 0 {
		p.Withdraw(r)
	}
	got := receive(t, c.reserved)
	if got.err != nil {
		if got.session != nil || !errors.Is(got.err, ErrWithdrawn) && !errors.Is(got.err, ErrClosed) && !Transient(got.err) {
			t.Errorf("reserved: %+v", got)
		}
		return 0
	}
	for range 1 + random.IntN(3) {
		op := OpTry
		if use == UseWaiting {
			op = OpWait
		}
		c.submit(got.session, op)
		granted += c.held(t, c.await(t), random)
	}
	p.Return(got.session)
	return granted
}

// held gives a granted lock back.
func (c *stormClient) held(t *testing.T, a answer, random *rand.Rand) int64 {
	if a.err != nil && a.ok || a.err == nil && a.ok && a.session == nil {
		t.Errorf("%+v", a)
	}
	if !a.ok {
		return 0
	}
	for range random.IntN(500) {
		_ = a.session.TrustedUntil()
	}
	c.owners.of[c.r.ID].CompareAndSwap(c.me, 0)
	b := c.on(t, a.session, OpUnlock)
	if !b.ok && a.session.Lost() == nil {
		t.Errorf("unlock %d: %+v", c.r.ID, b)
	}
	return 1
}
