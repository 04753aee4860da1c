package actor

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func (r *rig) keys() int64 { return r.s.Counters.Keys.Load() }

func TestMaxWaiters(t *testing.T) {
	bubble(t, func(c *rigConfig) { c.Limits.MaxWaiters = 3 }, func(t *testing.T, r *rig) {
		holder := r.acquire(key(1))
		line := []*caller{r.submit(key(1)), r.submit(key(1)), r.submit(key(1))}
		r.submit(key(1)).expect(ErrTooManyWaiters)
		r.submit(key(1, try)).expect(ErrNotAcquired)
		line[1].cancel()
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
		r.submit(key(2)).cancel() // a key in use is no further key
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
		if n := r.s.Counters.Collisions.Load(); n != 2 {
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
	bubble(t, func(c *rigConfig) { c.IdleTimeout = 10 * ms }, func(t *testing.T, r *rig) {
		r.store.atOnce = true
		claims := make([]Claim, atOnce)
		for from := 0; from < total; from += atOnce {
			for i := range claims {
				claims[i] = Claim{}
				claims[i].Terms = Terms{ID: int64(from + i), Owner: quiet{}}
				if err := r.s.Submit(&claims[i]); err != nil {
					t.Fatal(err)
				}
			}
			for i := range claims {
				c := &claims[i]
				if <-c.Replies(); c.Err == nil {
					c.Release(nil)
				}
				if c.Err != nil || c.Outcome() != nil {
					t.Fatalf("key %d: %v, %v", c.ID, c.Err, c.Outcome())
				}
			}
			sleep(30 * ms)
			left := 0
			for range r.s.table.Range {
				left++
			}
			if r.keys() != 0 || left != 0 {
				t.Fatalf("%d keys, %d keepers", r.keys(), left)
			}
			r.store.forget()
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
		if n := r.keys(); n != 1 {
			t.Errorf("%d keepers, should be one", n)
		}
	})
}
