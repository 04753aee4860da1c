package pg

import (
	"testing"
	"testing/synctest"
	"time"
)

// Whoever asks is told, however many ask at one time: those who come while a question is under way, or too soon after it, are in the next.
func TestEveryWishIsAnswered(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), patient())
	const n = 3*maxBatch/2 + 1
	holders, askers := newCallers(span(1, 10)), newCallers(span(1, n))
	for _, c := range holders {
		c.take(t, p)
	}
	waiter := newCaller(3)
	waiter.submit(waiter.reserve(t, p, UseWaiting), OpWait)
	eventually(t, "one waits in the server's queue", func() bool { return len(d.queued(t)) == 1 })
	for round := range 3 {
		for _, c := range askers {
			p.Who(c.r.ID, c)
			p.Who(c.r.ID, c)
		}
		for _, c := range askers {
			a := receive(t, c.told)
			if (a.Holder != nil) != (c.r.ID <= 10) || a.Waiters != (c.r.ID == 3) || a.Holder != nil && a.Holder.PID != holders[0].r.Session.PID() {
				t.Errorf("round %d, lock %d: %+v, %+v", round, c.r.ID, a, a.Holder)
			}
			for len(c.told) > 0 {
				<-c.told
			}
		}
	}
	for _, c := range holders {
		c.release(t, c.r.Session)
	}
	if a := waiter.await(t); !a.ok {
		t.Errorf("%+v", a)
	}
	waiter.release(t, waiter.r.Session)
}

// A slow server is asked less often, and nobody who asked is forgotten over that.
func TestQuestionsKeepTheirDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		c := newCaller(1)
		s := c.take(t, p)
		var asked []time.Time
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "who" {
				asked = append(asked, time.Now())
				time.Sleep(5 * time.Millisecond) //nolint:forbidigo // in a synctest bubble
			}
		})
		for range 5 {
			p.Who(1, c)
			receive(t, c.told)
		}
		for i := 1; i < len(asked); i++ {
			if gap := asked[i].Sub(asked[i-1]); gap < askShare*5*time.Millisecond || gap > 2*askShare*5*time.Millisecond {
				t.Errorf("asked again after %v", gap)
			}
		}
		c.release(t, s)
	})
}
