package actor

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func (r *rig) keys() int64 { return r.d.Counters.Keys.Load() }

// attached is how many keepers the store knows of, and how many it has ever known.
func (s *fakeStore) attached() (now int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.links)
}

// An unused keeper goes after the linger time at the latest, and after half of it at the earliest.
func TestRetirement(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) { // linger: 2 s
		for range 10 { // in use again and again, it stays
			r.mustRelease(r.acquire(key(1)))
			sleep(990 * ms)
			if r.keys() != 1 || r.store.attached() != 1 {
				t.Fatalf("%d keys, %d keepers: it was in use", r.keys(), r.store.attached())
			}
		}
		sleep(time.Second + 20*ms)
		if r.keys() != 0 || r.store.attached() != 0 {
			t.Fatalf("%d keys, %d keepers: unused for longer than it may linger", r.keys(), r.store.attached())
		}
		r.mustRelease(r.acquire(key(1))) // and it comes back
	})
}

// What a keeper wanted to be woken for ends with it.
func TestRetiredKeeperHasNoTimer(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.Linger = 10 * ms }, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		c := r.submit(key(1))
		sleep(150 * ms) // it has asked who is in the way, and will again in two seconds
		r.store.unlockOutside(1)
		c.wait()
		k := c.keeper.Load()
		r.mustRelease(c)
		sleep(20 * ms)
		if r.store.attached() != 0 || k.clock.Stop() {
			t.Errorf("%d keepers, and the timer was running", r.store.attached())
		}
	})
}

func TestKeepersInUseDoNotRetire(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(2)
		held, waits := r.acquire(key(1)), r.submit(key(2))
		sleep(time.Minute)
		if r.keys() != 2 || r.store.attached() != 2 {
			t.Fatalf("%d keys, %d keepers: one holds and one waits", r.keys(), r.store.attached())
		}
		r.mustRelease(held)
		waits.End(errGaveUp)
		waits.expect(errGaveUp)
		sleep(2 * time.Second)
		if r.keys() != 0 || r.store.attached() != 0 {
			t.Fatalf("%d keys, %d keepers: nobody uses them any more", r.keys(), r.store.attached())
		}
	})
}

// Claims come at the very moments at which keepers retire. The store sees to it that the old keeper is silent when the
// new one has come.
func TestRetirementRaces(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.Linger = 10 * ms }, func(t *testing.T, r *rig) {
		var wg sync.WaitGroup
		for id := range int64(8) {
			wg.Go(func() {
				for n := range 200 {
					c := r.submit(key(id))
					if c.wait() == nil {
						c.release()
					}
					time.Sleep(time.Duration(n%3) * 5 * ms) //nolint:forbidigo // the clock of a bubble jumps
				}
			})
		}
		wg.Wait()
	})
}

func TestMaxWaiters(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.Limits.MaxWaiters = 3 }, func(t *testing.T, r *rig) {
		holder := r.acquire(key(1))
		line := []*caller{r.submit(key(1)), r.submit(key(1)), r.submit(key(1))}
		r.submit(key(1)).expect(ErrTooManyWaiters)
		r.submit(key(1, try)).expect(ErrNotAcquired)
		line[1].End(errGaveUp)
		line[1].expect(errGaveUp)
		late := r.submit(key(1))
		r.submit(key(1)).expect(ErrTooManyWaiters)
		r.mustRelease(holder)
		for _, c := range []*caller{line[0], line[2], late} {
			if err := c.wait(); err != nil {
				t.Fatal(err)
			}
			r.mustRelease(c)
		}
	})
}

func TestMaxKeys(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.MaxKeys = 3 }, func(t *testing.T, r *rig) {
		var held []*caller
		for id := range int64(3) {
			held = append(held, r.acquire(key(id)))
		}
		r.submit(key(3)).expect(ErrTooManyKeys)
		r.submit(key(3, try)).expect(ErrTooManyKeys)
		r.submit(key(2)).End(errGaveUp) // a key that is in use is no further key
		r.mustRelease(held[0])
		sleep(2 * time.Second)
		r.mustRelease(r.acquire(key(3)))
	})
}

// Two names with one id meet in one keeper: they exclude each other, and are counted.
func TestCollisions(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		a := r.acquire(key(1))
		other := func(t *Terms) { t.Name = "another name" }
		b := r.submit(key(1, other))
		r.submit(key(1, other, try)).expect(ErrNotAcquired)
		r.submit(key(1, try)).expect(ErrNotAcquired)
		if n := r.d.Counters.Collisions.Load(); n != 2 {
			t.Errorf("%d collisions, should be 2", n)
		}
		r.mustRelease(a)
		b.wait()
		r.mustRelease(b)
	})
}

// First come, first served.
func TestInOrder(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		holder := r.acquire(key(1))
		var line []*caller
		for range 50 {
			line = append(line, r.submit(key(1)))
			synctest.Wait()
		}
		for i, next := range line {
			r.mustRelease(holder)
			synctest.Wait()
			if holderOf(r, 1) != next {
				t.Fatalf("number %d was passed over", i)
			}
			holder = next
		}
		r.mustRelease(holder)
	})
}

// Keys come and go, and nothing of them stays.
func TestManyKeys(t *testing.T) {
	total, atOnce := 20_000, 2000
	if stressed() {
		total = 100_000
	}
	bubble(t, func(c *rigConfig) { c.Linger = 10 * ms }, func(t *testing.T, r *rig) {
		r.store.atOnce = true
		claims := make([]Claim, atOnce)
		for from := 0; from < total; from += atOnce {
			for i := range claims {
				claims[i] = Claim{}
				claims[i].Terms = Terms{ID: int64(from + i)}
				claims[i].Init(r.d)
				r.d.Submit(&claims[i])
			}
			for i := range claims {
				c := &claims[i]
				if c.Wait() == nil {
					c.End(ErrReleased)
					<-c.Settled()
				}
				if c.Err != nil || c.Outcome() != nil {
					t.Fatalf("key %d: %v, %v", c.ID, c.Err, c.Outcome())
				}
			}
			sleep(20 * ms)
			if r.keys() != 0 || r.store.attached() != 0 || len(r.d.keys) != 0 {
				t.Fatalf("%d keys, %d keepers", r.keys(), r.store.attached())
			}
			r.store.forget()
		}
		for epoch := range r.d.touched {
			if n := cap(r.d.touched[epoch]); n > 4*atOnce {
				t.Errorf("the directory remembers %d entries", n)
			}
		}
	})
}

// A first claim finds no keeper, so that a thousand of them at once must still make one alone.
func TestOneKeeperForManyFirstClaims(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if c := r.submit(key(1)); c.wait() == nil {
					if err := c.release(); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := r.store.attached(); n != 1 {
			t.Errorf("%d keepers, should be one", n)
		}
	})
}
