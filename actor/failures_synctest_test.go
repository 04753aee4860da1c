package actor

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fail makes the keeper of key 1 fail, by a message that means nothing to it otherwise. The rig's hook must see to it.
func (r *rig) fail() {
	r.store.tell(1)
	synctest.Wait()
}

// failing runs a test twice: the keeper of key 1 fails at "message told", by a panic and by a Goexit.
func failing(t *testing.T, change func(*rigConfig), test func(t *testing.T, r *rig)) {
	t.Helper()
	for name, fail := range map[string]func(){"panic": func() { panic("injected") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(c *rigConfig) {
				c.Hook = func(id int64, step string) {
					if id == 1 && step == "message told" {
						fail()
					}
				}
				if change != nil {
					change(c)
				}
			}, test)
		})
	}
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
		r.fail()
		if told := holder.toldOf(); len(told) != 1 || !errors.Is(told[0], ErrLost) || !errors.Is(told[0], ErrKeeperFailed) {
			t.Errorf("the holder was told %v", told)
		}
		wasPanic := strings.Contains(t.Name(), "/panic")
		if text := holder.Over().Error(); strings.Contains(text, "panic: injected") != wasPanic || strings.Contains(text, "Goexit") == wasPanic {
			t.Errorf("told %s", text)
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
		if f := r.s.Counters.Failures.Load(); f != 1 {
			t.Errorf("%d holds are counted as lost by a failure, should be one", f)
		}
	})
}

// What is under way when a keeper fails is waited for, and what it brings is given back.
func TestFailureDuringAnOperation(t *testing.T) {
	for _, kind := range []effectKind{fxTry, fxTryOwn, fxUnlock} {
		t.Run(kind.String(), func(t *testing.T) {
			failing(t, nil, func(t *testing.T, r *rig) {
				r.store.script = func(c call) verdict { return verdict{hang: c.kind == kind && c.nth == 1} }
				c := r.submit(key(1, func(t *Terms) { t.Dedicated = kind == fxTryOwn }))
				if kind == fxUnlock {
					c.wait()
					c.drop()
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

// A wait at the server that the failed keeper began goes on to the end of its slice: a try must not wait for that.
func TestTryAfterAFailureDuringAWait(t *testing.T) {
	once := func(c *rigConfig) {
		hook, failed := c.Hook, false
		c.Hook = func(id int64, step string) {
			if step != "message told" || !failed { // the next one is told who holds the lock
				failed = failed || step == "message told"
				hook(id, step)
			}
		}
	}
	failing(t, once, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		waits := r.submit(key(1))
		synctest.Wait()
		start := time.Now()
		r.fail()
		waits.cancel()
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
			for _, words := range []string{"5 restarts in 10s", until.Format(time.RFC3339)} {
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
				if c.submitted {
					c.cancel() // it is over
				}
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
		if err := r.s.Close(context.Background()); err != nil || time.Since(start) != time.Second {
			t.Errorf("closed with %v after %v, should take the second of the unlock", err, time.Since(start))
		}
		if !errors.Is(holder.Over(), ErrKeeperFailed) {
			t.Errorf("over by %v", holder.Over())
		}
	})
}

// A poll would go on for as long as somebody else holds the lock: it is stopped when its keeper fails, also where the key is
// refused for a while.
func TestAKeeperThatFailsStopsItsPoll(t *testing.T) {
	for _, restarts := range []int{0, 5} {
		failing(t, func(c *rigConfig) { c.free, c.Intensity.Restarts = 0, restarts }, func(t *testing.T, r *rig) {
			r.store.lockOutside(1)
			c := r.submit(key(1))
			sleep(ms)
			r.fail()
			if n := len(r.store.callsOf(1, fxStopPolling)); n != 1 {
				t.Errorf("the poll was stopped %d times", n)
			}
			if restarts == 0 {
				c.expect(ErrKeeperFailed)
				sleep(10 * time.Second)
				r.submit(key(1, try)).expect(ErrNotAcquired)
				return
			}
			sleep(pollEvery)
			if polls := len(r.store.callsOf(1, fxPoll)); polls != 2 {
				t.Errorf("%d polls, should be one for each incarnation", polls)
			}
			r.store.unlockOutside(1)
			c.wait()
			r.mustRelease(c)
		})
	}
}

// Whoever asks for the outcome of a hold, or releases it, when the keeper fails gets an answer all the same.
func TestFailureBeforeAnOutcome(t *testing.T) {
	for name, fail := range map[string]func(){"panic": func() { panic("injected") }, "Goexit": runtime.Goexit} {
		for _, step := range []string{"message release"} {
			t.Run(name+" at "+step, func(t *testing.T) {
				var failed atomic.Bool
				bubble(t, func(c *rigConfig) {
					c.Hook = func(_ int64, at string) {
						if at == step && !failed.Swap(true) {
							fail()
						}
					}
				}, func(t *testing.T, r *rig) {
					c := r.acquire(key(1))
					awaited := make(chan bool)
					go func() { awaited <- c.Await(nil) }()
					synctest.Wait()
					if err := c.release(); !errors.Is(err, ErrKeeperFailed) {
						t.Errorf("the release is settled with %v", err)
					}
					if !<-awaited {
						t.Error("the outcome is not known")
					}
					r.mustRelease(r.acquire(key(1)))
				})
			})
		}
	}
}
