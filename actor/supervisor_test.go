package actor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// fail makes the keeper of key 1 panic, by a message that means nothing to it otherwise. The rig's hook must be set to
// panic at "message told".
func (r *rig) fail() {
	r.store.mu.Lock()
	o := r.store.latest[1].observer
	r.store.mu.Unlock()
	o.Told(nil)
	synctest.Wait()
}

func failing(t *testing.T, change func(*rigConfig), test func(t *testing.T, r *rig)) {
	t.Helper()
	bubble(t, func(c *rigConfig) {
		c.Hook = func(id int64, step string) {
			if id == 1 && step == "message told" {
				panic("injected")
			}
		}
		if change != nil {
			change(c)
		}
	}, test)
}

// Those who wait when a keeper fails are served by the next one, in order; its lock has been released before.
func TestWaitersOutliveTheirKeeper(t *testing.T) {
	failing(t, nil, func(t *testing.T, r *rig) {
		holder := r.acquire(key(1))
		var line []*caller
		for range 5 {
			line = append(line, r.submit(key(1)))
			synctest.Wait()
		}
		lost := make(chan error, 1)
		holder.Watch(func(cause error) { lost <- cause })
		r.fail()
		if err := <-lost; !errors.Is(err, ErrLost) || !errors.Is(err, ErrKeeperFailed) || !strings.Contains(err.Error(), "injected") {
			t.Errorf("the holder was told %v", err)
		}
		if err := holder.release(); !errors.Is(err, ErrLost) || !errors.Is(err, ErrKeeperFailed) {
			t.Errorf("its release is settled with %v", err)
		}
		for i, c := range line {
			synctest.Wait()
			if holderOf(r, 1) != c || c.tenure != holder.tenure+1 {
				t.Fatalf("number %d was passed over, or granted by the grant %d", i, c.tenure)
			}
			r.mustRelease(c)
		}
		calls := r.store.callsOf(1, fxTry, fxUnlock)
		if len(calls) < 3 || calls[0].kind != fxTry || calls[1].kind != fxUnlock || calls[2].kind != fxTry {
			t.Errorf("the store was called for %v", calls)
		}
		if f := r.d.Counters.Failures.Load(); f != 1 {
			t.Errorf("%d holds are counted as lost by a failure, should be one", f)
		}
	})
}

// What is under way when a keeper fails is waited for, and what it brings is given back.
func TestFailureDuringAnOperation(t *testing.T) {
	for _, kind := range []effectKind{fxTry, fxTryReserved, fxUnlock} {
		t.Run(kind.String(), func(t *testing.T) {
			failing(t, nil, func(t *testing.T, r *rig) {
				r.store.script = func(c call) verdict { return verdict{hang: c.kind == kind && c.nth == 1} }
				c := r.submit(key(1, func(t *Terms) { t.Dedicated = kind == fxTryReserved }))
				if kind == fxUnlock {
					c.wait()
					c.End(ErrReleased)
				}
				synctest.Wait()
				next := r.submit(key(1))
				synctest.Wait()
				r.fail()
				r.fail()
				r.store.wakeUp(1, nil)
				if kind == fxUnlock {
					if err := c.release(); !errors.Is(err, ErrKeeperFailed) {
						t.Errorf("a release whose answer was not waited for is settled with %v", err)
					}
				} else {
					if c.wait() != nil {
						t.Fatalf("a waiter was refused: %v", c.Err)
					}
					if c.tenure != 2 {
						t.Errorf("granted by grant %d; the first was asked for by the failed keeper", c.tenure)
					}
					r.mustRelease(c)
				}
				if next.wait() != nil {
					t.Fatal(next.Err)
				}
				r.mustRelease(next)
			})
		})
	}
}

// A wait at the server that the failed keeper began is ended at once: a try must not stand behind a holder meanwhile.
func TestTryAfterAFailureDuringAWait(t *testing.T) {
	failing(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		waits := r.submit(key(1))
		synctest.Wait()
		start := time.Now()
		r.fail()
		waits.End(errGaveUp)
		waits.expect(errGaveUp)
		r.submit(key(1, try)).expect(ErrNotAcquired)
		if waited := time.Since(start); waited != 0 {
			t.Errorf("a try took %v", waited)
		}
		r.store.unlockOutside(1)
	})
}

// Five restarts in ten seconds are allowed. After one more the key is refused until the first of them is ten seconds ago.
func TestTooManyRestarts(t *testing.T) {
	failing(t, nil, func(t *testing.T, r *rig) {
		other := r.acquire(key(2))
		first := time.Now()
		for range 5 {
			holder := r.acquire(key(1))
			r.fail()
			if !errors.Is(holder.Over(), ErrKeeperFailed) {
				t.Fatalf("over by %v", holder.Over())
			}
			sleep(time.Second)
		}
		holder, waits := r.acquire(key(1)), r.submit(key(1))
		synctest.Wait()
		r.fail()
		waits.expect(ErrKeeperFailed)
		if !errors.Is(holder.Over(), ErrLost) {
			t.Errorf("over by %v", holder.Over())
		}
		until := first.Add(10 * time.Second)
		if f := r.failures[5]; !f.Until.Equal(until) || !r.failures[4].Until.IsZero() {
			t.Errorf("refused until %v, should be %v; and after the fifth until %v", f.Until, until, r.failures[4].Until)
		}
		sleep(time.Until(until) - 1)
		for _, change := range [][]func(*Terms){nil, {try}, {dedicated}} {
			c := r.submit(key(1, change...))
			c.expect(ErrKeeperFailed)
			for _, words := range []string{"5 restarts in 10s", until.Format(time.RFC3339), "injected"} {
				if !strings.Contains(c.Err.Error(), words) {
					t.Errorf("the refusal does not say %q: %v", words, c.Err)
				}
			}
		}
		if r.store.tenures(1) != 6 || len(r.store.callsOf(1, fxUnlock)) != 6 {
			t.Errorf("granted %d times, unlocked %d times, should be 6 both", r.store.tenures(1), len(r.store.callsOf(1, fxUnlock)))
		}
		sleep(1)
		for range 2 { // the later ones of the five still count
			r.mustRelease(r.acquire(key(1)))
		}
		r.fail()
		r.mustRelease(r.acquire(key(1)))
		r.fail()
		r.submit(key(1)).expect(ErrKeeperFailed)
		if other.Over() != nil {
			t.Errorf("another key's hold ended: %v", other.Over())
		}
		r.mustRelease(other)
	})
}

// A key that is refused still does what it owes: it waits for what is under way, and releases.
func TestCoolDownClearsUp(t *testing.T) {
	one := func(c *rigConfig) { c.Intensity.Restarts = 0 }
	for _, kind := range []effectKind{fxTry, fxUnlock, fxReserve} {
		t.Run(kind.String(), func(t *testing.T) {
			failing(t, one, func(t *testing.T, r *rig) {
				if kind == fxReserve {
					r.store.lockOutside(1)
				}
				r.store.script = func(c call) verdict {
					if c.kind == kind {
						return verdict{after: time.Second}
					}
					return verdict{}
				}
				c := r.submit(key(1))
				if kind == fxUnlock {
					c.wait()
				}
				synctest.Wait()
				r.fail()
				if c.wait() != nil {
					c.expect(ErrKeeperFailed)
				}
				c.End(errGaveUp) // it is over
				sleep(2 * time.Second)
				r.store.unlockOutside(1)
				r.store.mu.Lock()
				if len(r.store.owners) > 0 || r.store.free != 4 {
					t.Errorf("%d locks held, %d sessions free", len(r.store.owners), r.store.free)
				}
				r.store.mu.Unlock()
				sleep(8 * time.Second)
				r.mustRelease(r.acquire(key(1)))
			})
		})
	}
}

// Close does not wait for a key's window to pass.
func TestCloseDuringCoolDown(t *testing.T) {
	failing(t, func(c *rigConfig) { c.Intensity.Restarts = 0 }, func(t *testing.T, r *rig) {
		holder := r.acquire(key(1))
		r.store.script = func(c call) verdict {
			if c.kind == fxUnlock {
				return verdict{after: time.Second}
			}
			return verdict{}
		}
		r.fail()
		start := time.Now()
		if err := r.d.Close(context.Background()); err != nil || time.Since(start) != time.Second {
			t.Errorf("closed with %v after %v, should take the second of the unlock", err, time.Since(start))
		}
		if !errors.Is(holder.Over(), ErrKeeperFailed) {
			t.Errorf("over by %v", holder.Over())
		}
	})
}

// The directory lets a keeper go that fails too often just then.
func TestDismissedDuringCoolDown(t *testing.T) {
	failing(t, func(c *rigConfig) { c.Intensity = IntensityLimit{Restarts: 0, Window: time.Hour} }, func(t *testing.T, r *rig) {
		r.mustRelease(r.acquire(key(1)))
		synctest.Wait()
		r.store.mu.Lock()
		k, ok := r.store.latest[1].observer.(*keeper)
		r.store.mu.Unlock()
		if !ok {
			t.Fatal("the observer is no keeper")
		}
		r.fail()
		// What the keeper had said before it failed reaches the directory now.
		k.seen.Store(1)
		said := rare(evRetirable)
		said.Value.from = k
		r.d.inbox.Post(said)
		sleep(3 * time.Second)
		if n := r.store.attached(); n != 0 {
			t.Errorf("%d keepers, and the directory has let them go", n)
		}
	})
}

// A function of the caller's that fails inside the machine in mid-step, and again in each incarnation.
func TestBackoffThatPanics(t *testing.T) {
	for _, name := range []string{"made", "asked"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				bad := func(t *Terms) {
					t.NewBackoff = func() backoff.BackOff {
						if name == "made" {
							panic("no backoff today")
						}
						return panicking{}
					}
				}
				other := r.acquire(key(2))
				r.store.script = func(c call) verdict {
					if c.kind == fxTry && c.nth == 1 {
						return verdict{err: errBroken, after: time.Second}
					}
					return verdict{}
				}
				// The first is refused in the very step in which the second's pause fails.
				first, second := r.submit(key(1, attempts(1), bad)), r.submit(key(1, bad))
				sleep(time.Second)
				if err := first.wait(); !errors.Is(err, ErrAttempts) && !errors.Is(err, ErrKeeperFailed) {
					t.Errorf("the first was answered with %v", err)
				}
				if second.wait() == nil {
					r.mustRelease(second)
				}
				// Now in every incarnation, when it has looked at who waits.
				holder := r.acquire(key(1))
				line := []*caller{r.submit(key(1, pollFirst(5), bad)), r.submit(key(1, pollFirst(5), bad))}
				r.store.lockOutside(1)
				sleep(time.Second)
				if err := holder.release(); err != nil && !errors.Is(err, ErrKeeperFailed) {
					t.Errorf("a release in the step that failed is settled with %v", err)
				}
				for _, c := range line {
					c.expect(ErrKeeperFailed)
				}
				r.store.unlockOutside(1)
				r.mustRelease(other)
			})
		})
	}
}

type panicking struct{}

func (panicking) NextBackOff() time.Duration { panic("no pause today") }
func (panicking) Reset()                     {}

// A claim that was ended before it was sent is answered once, though the keeper fails at its end.
func TestFailureAtAnEarlyEnd(t *testing.T) {
	sabotaged(t, "message end", 1, func(t *testing.T, r *rig, s *saboteur) {
		s.nth = 2 // the first is the release
		r.mustRelease(r.acquire(key(1)))
		c := r.prepare(key(1))
		c.End(errGaveUp)
		synctest.Wait()
		c.submit()
		c.wait()
		synctest.Wait()
		if n := r.d.Counters.Waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

func TestIntensity(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	for _, row := range []struct {
		name  string
		limit IntensityLimit
		times []float64
		until []float64 // 0: allowed
	}{
		{"none allowed", IntensityLimit{0, 10 * time.Second}, []float64{1, 2}, []float64{11, 12}},
		{"two in ten seconds", IntensityLimit{2, 10 * time.Second}, []float64{0, 4, 5, 9.9, 10, 14, 14}, []float64{0, 0, 10, 10, 0, 0, 20}},
		{"all at once", IntensityLimit{3, 10 * time.Second}, []float64{5, 5, 5, 5, 15, 15, 15, 15}, []float64{0, 0, 0, 15, 0, 0, 0, 25}},
	} {
		t.Run(row.name, func(t *testing.T) {
			i := intensity{limit: row.limit}
			for n, when := range row.times {
				until, tooMany := i.add(at(when))
				if tooMany != (row.until[n] > 0) || tooMany && !until.Equal(at(row.until[n])) {
					t.Errorf("restart %d at %v: too many %v, until %v", n, when, tooMany, until)
				}
				if len(i.times) > row.limit.Restarts {
					t.Errorf("%d restarts are remembered", len(i.times))
				}
			}
		})
	}
}

// Only who brought it pays for a backoff that panics: it is refused at the first panic, and those behind it in the line
// are served by the next incarnation, long before the key would be given up.
func TestABackoffThatPanicsIsItsOwnersLoss(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		first := r.submit(key(1, pollFirst(5), func(t *Terms) {
			t.NewBackoff = func() backoff.BackOff { return panicking{} }
		}))
		second := r.submit(key(1))
		first.expect(ErrKeeperFailed)
		r.store.unlockOutside(1)
		second.wait()
		r.mustRelease(second)
		if n := r.d.Counters.Restarts.Load(); n != 1 {
			t.Errorf("%d restarts", n)
		}
	})
}
