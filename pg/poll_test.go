package pg

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/pgfake"
)

// Polling: asked for again and again, all together, until there is something to tell.

// polling runs a test with a pool on a fake server and somebody else's session on it, which holds the locks.
func polling(t *testing.T, config Config, test func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		f := newFake(t)
		test(t, f, fakePool(t, f, config), &fakeSession{Session: pgfake.Session{PID: 1}, Backend: pgfake.NewBackend(&f.table, 1), server: f})
	})
}

func (c *caller) poll(p *Pool) {
	c.pool, c.unsent = nil, nil
	c.r.OK, c.r.Again, c.r.Err = false, false, nil
	p.Poll(&c.r)
}

// pollsEnd checks that the pool has forgotten all polls, and with them its clock.
func pollsEnd(t *testing.T, f *fakeServer, p *Pool) {
	t.Helper()
	synctest.Wait()
	var asked atomic.Int64
	f.onStatement(func(_ *fakeSession, q *question) {
		if q.Kind == "try" || q.Kind == "batch" {
			asked.Add(1)
		}
	})
	wait(time.Second)
	if asked.Load() != 0 || len(p.poller.under) != 0 {
		t.Errorf("%d statements in a second, %d batches under way, and nobody polls", asked.Load(), len(p.poller.under))
	}
	f.onStatement(nil)
}

func TestAPollIsGrantedSoonAfterTheRelease(t *testing.T) {
	polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		f.try(other, 1)
		c := newCaller(1)
		c.poll(p)
		wait(time.Minute)
		none(t, c.answers, "an answer while the lock is held")
		begin := time.Now()
		f.unlock(other, 1)
		a := c.await(t)
		if took := a.at.Sub(begin); !a.ok || a.err != nil || took > pollSoonest {
			t.Errorf("%+v after %v", a, took)
		}
		pollsEnd(t, f, p)
		c.release(t, a.session) // the lock is like any other's
		if held := f.held(); len(held) != 0 {
			t.Errorf("held: %v", held)
		}
		c.quiet(t)
	})
}

// Its request is the client's again when it is answered: it may be the next poll's.
func TestAPollAfterAPoll(t *testing.T) {
	polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		c := newCaller(1)
		for range 100 {
			f.try(other, 1)
			c.poll(p)
			wait(7 * time.Millisecond)
			p.StopPolling(&c.r)
			if a := c.await(t); a.ok || a.err != nil {
				t.Fatalf("stopped: %+v", a)
			}
			c.poll(p)
			f.unlock(other, 1)
			c.release(t, c.await(t).session)
			p.StopPolling(&c.r) // too late
		}
		pollsEnd(t, f, p)
		c.quiet(t)
	})
}

func TestAPollIsStopped(t *testing.T) {
	for name, c := range map[string]struct {
		before time.Duration
		free   bool // while it is being asked for
		ok     bool
	}{
		"at once":                      {before: 0},
		"at rest":                      {before: 5 * time.Millisecond},
		"under way":                    {before: pollSoonest},
		"under way, and it is granted": {before: pollSoonest, free: true, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
				f.try(other, 1)
				answer := make(chan struct{})
				f.onStatement(func(_ *fakeSession, q *question) {
					if q.Kind == "try" || q.Kind == "batch" {
						<-answer
					}
				})
				caller := newCaller(1)
				caller.poll(p)
				if c.before > 0 {
					wait(c.before)
				}
				if asking := len(p.poller.under) == 1; asking != (c.before == pollSoonest) {
					t.Errorf("it is being asked for: %v", asking)
				}
				p.StopPolling(&caller.r)
				synctest.Wait()
				if c.before == pollSoonest {
					none(t, caller.answers, "an answer before the server's")
				} else if len(caller.answers) != 1 {
					t.Error("no answer, and nothing is under way")
				}
				if c.free {
					f.unlock(other, 1)
				}
				close(answer)
				a := caller.await(t)
				if a.ok != c.ok || a.err != nil {
					t.Errorf("%+v", a)
				}
				pollsEnd(t, f, p)
				if a.ok {
					caller.release(t, a.session)
				}
				caller.quiet(t)
			})
		})
	}
}

// All are asked for once in a while, a portion at a time; and not faster where the server is slow.
func TestPollsTakeTurns(t *testing.T) {
	const n = 10_000
	polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		callers := newCallers(span(1, n))
		for _, c := range callers {
			f.try(other, c.r.ID)
			c.poll(p)
		}
		synctest.Wait()
		var mu sync.Mutex
		asked := make(map[int64][]time.Time)
		ticks := make(map[time.Time]int)
		statements := 0
		count := func(_ *fakeSession, q *question) {
			if q.Kind != "batch" {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			statements++
			for _, l := range q.Locks() {
				asked[l.ID] = append(asked[l.ID], time.Now())
				ticks[time.Now()]++
			}
		}
		f.onStatement(count)
		wait(time.Second)
		f.onStatement(nil)
		for id := int64(1); id <= n; id++ {
			if times := asked[id]; len(times) < 9 || len(times) > 11 {
				t.Fatalf("lock %d was asked for %d times in a second, 10 are right", id, len(times))
			} else if span := times[len(times)-1].Sub(times[0]); span > time.Duration(len(times)-1)*n*pollShare+pollTick {
				t.Fatalf("lock %d was asked for at %v", id, times)
			}
		}
		for at, ids := range ticks {
			if ids > maxPollBatches*maxBatch {
				t.Errorf("%d locks were asked for at %v", ids, at)
			}
		}
		if statements > 300 {
			t.Errorf("%d statements in a second", statements)
		}
		for _, c := range []*caller{callers[0], callers[n/2], callers[n-1]} {
			begin := time.Now()
			f.unlock(other, c.r.ID)
			a := c.await(t)
			if took := a.at.Sub(begin); !a.ok || took > n*pollShare+pollTick {
				t.Errorf("lock %d: %+v after %v", c.r.ID, a, took)
			}
			c.release(t, a.session)
		}
		slow := make(chan struct{})
		f.onStatement(func(*fakeSession, *question) { <-slow })
		wait(2 * time.Second)
		if out := len(p.poller.under); out > maxPollBatches {
			t.Errorf("%d batches are under way while the server does not answer", out)
		}
		close(slow)
		f.onStatement(nil)
		wait(time.Second)
		for _, c := range callers {
			c.quiet(t)
			p.StopPolling(&c.r)
		}
		pollsEnd(t, f, p)
	})
}

func TestPollInterval(t *testing.T) {
	for n, want := range map[int]time.Duration{1: pollSoonest, 2000: 20 * time.Millisecond, 10_000: 100 * time.Millisecond,
		50_000: 500 * time.Millisecond, 1_000_000: pollLatest} {
		l := round{share: pollShare, soonest: pollSoonest, list: make([]*poll, n)}
		if got := l.interval(); got != want {
			t.Errorf("%d are asked for within %v, should be %v", n, got, want)
		}
		asked := 0
		for range 100 * int(want/pollTick) {
			portion := l.portion(pollTick, maxPollBatches*maxBatch)
			if asked += portion; portion > maxPollBatches*maxBatch {
				t.Fatalf("%d polls at a tick", portion)
			}
		}
		if right := 100 * n; n <= 100_000 && asked != right {
			t.Errorf("%d polls: %d turns in a hundred intervals, should be %d", n, asked, right)
		}
	}
}

// A session that is lost fails the polls that it was asked for, and no other.
func TestASessionIsLostUnderPolls(t *testing.T) {
	polling(t, Config{SharedSessions: 1}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		callers := newCallers(span(1, 3000))
		for _, c := range callers {
			f.try(other, c.r.ID)
			c.poll(p)
		}
		f.onStatement(func(_ *fakeSession, q *question) { q.never = q.Kind == "batch" })
		wait(pollTick)
		asking := 0
		for _, b := range p.poller.under {
			asking += len(b.polls)
		}
		s := p.first()
		f.onStatement(nil)
		f.of(t, s).conn.Close()
		receive(t, ended(s))
		wait(time.Second)
		failed := 0
		for _, c := range callers {
			if len(c.answers) == 0 {
				p.StopPolling(&c.r)
				c.stopped(t)
				continue
			}
			failed++
			if a := c.await(t); a.ok || causeOf(t, a.err) != CauseConnection || !Transient(a.err) {
				t.Fatalf("%+v", a)
			}
			c.quiet(t)
		}
		if failed != asking || asking == 0 || asking > maxPollBatches*maxBatch {
			t.Errorf("%d polls failed, %d were under way", failed, asking)
		}
		pollsEnd(t, f, p)
	})
}

// stopped takes the answer to a poll that was stopped at rest, which is there at once.
func (c *caller) stopped(t *testing.T) {
	t.Helper()
	if a := c.await(t); a.ok || a.err != nil {
		t.Errorf("%+v", a)
	}
	c.quiet(t)
}

// A lock that a poll was granted is its client's: it hears of the loss, also when the request has done other things since.
func TestALockOfAPollIsLost(t *testing.T) {
	polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, _ *fakeSession) {
		c := newCaller(1)
		for range 2 {
			c.poll(p)
			c.release(t, c.await(t).session)
		}
		c.poll(p)
		s := c.await(t).session
		synctest.Wait()
		f.of(t, s).conn.Close()
		if l := c.lost(t, CauseConnection); l.session != s {
			t.Errorf("lost with session %d, and it was on %d", l.session.PID(), s.PID())
		}
		pollsEnd(t, f, p)
		c.quiet(t)
	})
}

// The list keeps everybody who polls, whoever leaves.
func TestPollsInAnyOrder(t *testing.T) {
	polling(t, Config{}, func(t *testing.T, f *fakeServer, p *Pool, other *fakeSession) {
		callers := newCallers(span(1, 50))
		for _, c := range callers {
			f.try(other, c.r.ID)
			c.poll(p)
		}
		for len(callers) > 0 {
			wait(3 * time.Millisecond)
			for _, i := range []int{len(callers) / 2, len(callers) / 3} {
				if i < len(callers) {
					p.StopPolling(&callers[i].r)
					callers[i].stopped(t)
					callers = slices.Delete(callers, i, i+1)
				}
			}
			if len(callers) == 0 {
				break
			}
			c := callers[0]
			f.unlock(other, c.r.ID)
			c.release(t, c.await(t).session)
			c.quiet(t)
			callers = callers[1:]
		}
		pollsEnd(t, f, p)
	})
}
