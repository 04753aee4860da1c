package actor

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// An unused keeper ends after the idle timeout, and one in use does not.
func TestRetirement(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) { // idle timeout: 2 s
		for range 10 { // used again and again, it stays
			r.mustRelease(r.acquire(key(1)))
			sleep(1990 * ms)
			if r.keys() != 1 {
				t.Fatalf("%d keys: it was in use", r.keys())
			}
		}
		k, _ := r.s.find(1)
		sleep(2*time.Second + 20*ms) // a use in an idle time begins the next one only when that has passed
		if r.keys() != 0 {
			t.Fatalf("%d keys: unused for longer than the idle timeout", r.keys())
		}
		select {
		case <-k.done:
		default:
			t.Error("the keeper has not ended")
		}
		r.mustRelease(r.acquire(key(1))) // and there is a new one
	})
}

// A pause, or a question, that nobody waits for any more does not keep the keeper.
func TestAnAbandonedPauseDoesNotDelayRetirement(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		c := r.prepare(key(1, pollFirst(3)))
		c.pause = func(int) time.Duration { return time.Hour }
		c.submit()
		sleep(ms)
		c.cancel()
		c.expect(errGaveUp)
		sleep(2*time.Second + ms)
		if r.keys() != 0 {
			t.Error("the key is in use, and nobody uses it")
		}
	})
}

func TestKeepersInUseDoNotRetire(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(2)
		held, waits := r.acquire(key(1)), r.submit(key(2))
		sleep(time.Minute)
		if r.keys() != 2 {
			t.Fatalf("%d keys: one holds and one waits", r.keys())
		}
		r.mustRelease(held)
		waits.cancel()
		waits.expect(errGaveUp)
		sleep(4*time.Second + ms) // a slice, and the idle timeout
		if r.keys() != 0 {
			t.Fatalf("%d keys: nobody uses them any more", r.keys())
		}
	})
}

// Claims come at the very moments at which keepers retire. The store sees to it that the old keeper is silent when the new one
// has come.
func TestRetirementMeetsClaims(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.IdleTimeout = 10 * ms }, func(t *testing.T, r *rig) {
		var wg sync.WaitGroup
		for id := range int64(8) {
			for range 2 {
				wg.Go(func() {
					for n := range 200 {
						c := r.submit(key(id))
						if c.wait() == nil {
							c.release()
						}
						time.Sleep(time.Duration(n%3) * 5 * ms)
					}
				})
			}
		}
		wg.Wait()
	})
}

// As above, with real threads: no claim is left without an answer, in many rounds.
func TestRetirementRounds(t *testing.T) {
	rounds := 3000
	if stressed() {
		rounds *= 30
	}
	r := newRig(t, func(c *rigConfig) { c.IdleTimeout = 20 * time.Microsecond })
	r.store.atOnce = true
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for round := range rounds {
				c := &Claim{Terms: key(int64(n % 2))}
				c.Owner = quiet{}
				if err := r.s.Submit(c); err != nil {
					t.Error(err)
					return
				}
				if <-c.Replies(); c.Err != nil {
					t.Error(c.Err)
					return
				}
				if c.Release(nil); c.Outcome() != nil {
					t.Error(c.Outcome())
					return
				}
				for range round % 200 { // to come at every moment of a retirement
					runtime.Gosched()
				}
				if round%500 == 0 {
					r.store.mu.Lock()
					r.store.calls = r.store.calls[:0]
					r.store.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if s := r.s.Counters.Restarts.Load(); s != 0 {
		t.Errorf("%d restarts", s)
	}
}

// A keeper that wants to end, and has a claim before the supervisor lets it go, stays.
func TestClaimDuringARetirement(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.store.attach = func(id int64) {
			if id == 2 {
				<-gate // the supervisor receives nothing meanwhile
			}
		}
		r.mustRelease(r.acquire(key(1)))
		before, _ := r.s.find(1)
		other := make(chan *caller)
		go func() { other <- r.submit(key(2)) }()
		sleep(time.Minute) // it has wanted to end for long
		c := r.acquire(key(1))
		close(gate)
		for _, held := range []*caller{c, <-other} {
			sleep(time.Minute)
			if held.wait() != nil || held.Over() != nil {
				t.Fatal(held.Err, held.Over())
			}
			r.mustRelease(held)
		}
		if k := c.keeper; k != before {
			t.Error("there was another keeper")
		}
	})
}
