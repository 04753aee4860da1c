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

// byHand is a directory that the test is the owner of: it hears what keepers say when the test calls handleAll.
func byHand(t *testing.T) (r *rig, handleAll func() []eventKind) {
	r = &rig{t: t, store: newFakeStore(), live: map[int64]*caller{}, patience: time.Minute}
	d := &Directory{keys: make(map[int64]*keeper), maxKeys: 10, done: make(chan struct{})}
	d.turn.Take()
	d.world = world{store: r.store, directory: d, counters: &d.Counters, limits: Limits{MaxWaiters: 9, QuantumGrants: 1}}
	r.d = d
	return r, func() (kinds []eventKind) {
		synctest.Wait()
		for list := d.inbox.Take(); ; {
			m, ok := list.Next()
			if !ok {
				synctest.Wait()
				return kinds
			}
			kinds = append(kinds, m.kind)
			d.handle(m)
		}
	}
}

// A claim that is on its way to a keeper keeps it from retiring. The directory is driven by hand here, so that the claim
// comes when the keeper has said that it is idle, and the directory has not heard.
func TestRetirementMeetsAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, handleAll := byHand(t)
		d := r.d
		use := func() {
			c := r.submit(key(1))
			handleAll()
			if c.wait() != nil {
				t.Fatal(c.Err)
			}
			r.mustRelease(c)
		}
		use()
		d.nextEpoch()
		d.nextEpoch()
		synctest.Wait() // now it has asked to be let go
		c := r.prepare(key(1))
		d.forward(&c.Claim)
		first := d.keys[1]
		if kinds := handleAll(); len(kinds) != 1 || kinds[0] != evRetirable || d.keys[1] == nil {
			t.Fatalf("the directory got %v, and forgot a keeper that has a claim: %v", kinds, d.keys[1] == nil)
		}
		if c.Wait() != nil {
			t.Fatal(c.Err)
		}
		r.mustRelease(c)
		d.nextEpoch()
		d.nextEpoch()
		if handleAll(); d.keys[1] != nil {
			t.Fatal("an idle keeper was not let go")
		}
		use()
		use()
		second := d.keys[1]
		// What the first says now is old, though it has had as many claims as the second.
		if n := second.door.entered.Load(); n != first.seen.Load() {
			t.Fatalf("the second has had %d claims, the first %d", n, first.seen.Load())
		}
		d.retire(first)
		if d.keys[1] != second {
			t.Fatal("the second keeper was forgotten on the first one's word")
		}
		d.stop()
		for d.running > 0 {
			handleAll()
		}
		for _, wrong := range r.store.leftovers(4) {
			t.Error(wrong)
		}
	})
}

// A keeper that is asked to end after the directory has let it go, and before it has heard of that, ends.
func TestRetirementMeetsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, handleAll := byHand(t)
		c := r.submit(key(1))
		handleAll()
		if c.wait() != nil {
			t.Fatal(c.Err)
		}
		r.mustRelease(c)
		k := r.d.keys[1]
		r.d.nextEpoch()
		r.d.nextEpoch()
		synctest.Wait() // now it has asked to be let go
		k.turn.Take()
		r.d.stop()
		if kinds := handleAll(); len(kinds) != 1 || kinds[0] != evRetirable || len(r.d.keys) != 0 {
			t.Fatalf("the directory got %v, and has %d keys", kinds, len(r.d.keys))
		}
		k.turn.Give()
		k.post(rare(evTold)) // anything, to have it look
		if kinds := handleAll(); len(kinds) != 1 || kinds[0] != evExited || r.d.running != 0 {
			t.Fatalf("the directory got %v, and %d keepers are left", kinds, r.d.running)
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
