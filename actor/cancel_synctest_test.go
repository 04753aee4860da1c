package actor

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A claim that has ended is answered with its cause wherever it is: before it is sent, on its way, queued, at the
// server.
func TestCancel(t *testing.T) {
	for _, row := range []struct {
		name   string
		cancel func(r *rig) *caller
	}{
		{"on its way", func(r *rig) *caller {
			c := r.submit(key(1))
			c.cancel()
			return c
		}},
		{"queued behind a holder", func(r *rig) *caller {
			holder := r.acquire(key(1))
			c := r.submit(key(1))
			synctest.Wait()
			c.cancel()
			c.expect(errGaveUp)
			r.mustRelease(holder)
			return c
		}},
		{"in the server's queue", func(r *rig) *caller {
			r.store.lockOutside(1)
			c := r.submit(key(1))
			synctest.Wait()
			c.cancel()
			return c
		}},
		{"between two polls", func(r *rig) *caller {
			r.store.lockOutside(1)
			c := r.submit(key(1, pollFirst(5)))
			synctest.Wait()
			c.cancel()
			return c
		}},
		{"during a try", func(r *rig) *caller {
			r.store.script = func(c call) verdict { return verdict{hang: c.kind == fxTry && c.nth == 1} }
			c := r.submit(key(1))
			synctest.Wait()
			c.cancel()
			c.expect(errGaveUp)
			synctest.Wait()
			r.store.wakeUp(1, nil) // and that is what it was granted: it must be unlocked
			return c
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				start := time.Now()
				c := row.cancel(r)
				if err := c.wait(); err == nil {
					// Granted first: then the hold ends.
					if outcome := c.release(); outcome != nil || !errors.Is(c.Over(), errGaveUp) {
						t.Errorf("the hold ended by %v, settled with %v", c.Over(), outcome)
					}
				} else {
					c.expect(errGaveUp)
				}
				if waited := time.Since(start); waited != 0 {
					t.Errorf("answered after %v, should be at once", waited)
				}
				c.ContextEnded(context.Canceled) // too late
				synctest.Wait()
				r.store.unlockOutside(1)
				r.mustRelease(r.acquire(key(1)))
			})
		})
	}
}

// A cancellation and a grant meet: by hand, by the server's try, by the server's queue. Either the caller has the lock,
// which its end then releases, or it does not; the next waiter gets it in any case.
func TestCancelMeetsGrant(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, arrange := range map[string]func(r *rig) (grant func()){
		"by hand": func(r *rig) func() {
			holder := r.acquire(key(1))
			return func() { holder.drop() }
		},
		"by a try": func(r *rig) func() {
			r.store.script = func(c call) verdict { return verdict{hang: c.kind == fxTry && c.nth == 1} }
			return func() { r.store.wakeUp(1, nil) }
		},
		"by the queue": func(r *rig) func() {
			r.store.lockOutside(1)
			return func() { r.store.unlockOutside(1) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			both := [2]int{}
			for range 100 {
				bubble(t, nil, func(t *testing.T, r *rig) {
					grant := arrange(r)
					first := r.submit(key(1))
					synctest.Wait()
					next := r.submit(key(1))
					synctest.Wait()
					meet := []func(){grant, func() { first.cancel() }}
					random.Shuffle(2, func(i, j int) { meet[i], meet[j] = meet[j], meet[i] })
					var wg sync.WaitGroup
					for _, f := range meet {
						wg.Go(f)
					}
					wg.Wait()
					if first.wait() == nil {
						both[1]++
						if first.release() != nil || !errors.Is(first.Over(), errGaveUp) {
							t.Errorf("over by %v, settled with %v", first.Over(), first.Outcome())
						}
					} else {
						both[0]++
						first.expect(errGaveUp)
					}
					if err := next.wait(); err != nil {
						t.Fatalf("the next waiter: %v", err)
					}
					r.mustRelease(next)
				})
			}
			t.Logf("refused %d, granted %d", both[0], both[1])
		})
	}
}

// A thousand waiters leave at once. Each is answered with the cause, and nobody else notices.
func TestThousandCancelledAtOnce(t *testing.T) {
	senders, each := 100, 10
	if stressed() {
		each = 1000
	}
	bubble(t, func(c *rigConfig) { c.Limits.MaxWaiters = senders*each + 1 }, func(t *testing.T, r *rig) {
		holder := r.acquire(key(1))
		waiters := make([]Claim, senders*each)
		for i := range waiters {
			waiters[i].Terms, waiters[i].Owner = key(1), quiet{}
			if err := r.s.Submit(&waiters[i]); err != nil {
				t.Fatal(err)
			}
		}
		stays := r.submit(key(1))
		start := make(chan struct{})
		for n := range senders {
			go func() {
				<-start
				for i := n; i < len(waiters); i += senders {
					waiters[i].ContextEnded(context.Canceled)
				}
			}()
		}
		close(start)
		for i := range waiters {
			if reply := <-waiters[i].Replies(); reply != Decided || !errors.Is(waiters[i].Err, context.Canceled) {
				t.Fatalf("answered with %v", waiters[i].Err)
			}
		}
		if n := r.s.Counters.Waiting(); n != 1 || holder.Over() != nil {
			t.Errorf("%d wait, should be one; the hold is over by %v", n, holder.Over())
		}
		r.mustRelease(holder)
		if stays.wait() != nil {
			t.Fatal(stays.Err)
		}
		r.mustRelease(stays)
	})
}

// The release of a lock is one unlock, however many ask for it, and each sees the one outcome.
func TestManyReleases(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.acquire(key(1))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := c.release(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(r.store.callsOf(1, fxUnlock)); n != 1 {
			t.Errorf("%d unlocks, should be one", n)
		}
	})
}

// Withdraw is for who waits; a hold goes on. The end of the context ends a hold according to its mode.
func TestWithdrawDuringAHold(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		for _, mode := range []HoldMode{HoldWithContext, HoldDetached, HoldForWork} {
			c := r.acquire(key(1, func(t *Terms) { t.Hold = mode }))
			waits := r.submit(key(1, func(t *Terms) { t.Hold = mode }))
			c.Withdraw(errGaveUp)
			waits.Withdraw(errGaveUp)
			waits.expect(errGaveUp)
			if over := c.Over(); over != nil {
				t.Fatalf("mode %d: the hold is over: %v", mode, over)
			}
			c.cancel()
			synctest.Wait()
			if ended := errors.Is(c.Over(), errGaveUp); ended != (mode == HoldWithContext) || c.Lost() || !ended && c.Over() != nil {
				t.Fatalf("mode %d: the hold is over: %v", mode, c.Over())
			}
			r.mustRelease(c)
		}
	})
}

// The owner is told once of the end of its hold, and that counts as its release's outcome.
func TestOwnerIsToldOfALoss(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		c := r.acquire(key(1))
		if !r.store.loseHolder(1, errBroken) {
			t.Fatal("it is not held")
		}
		synctest.Wait()
		if err := c.release(); !errors.Is(err, ErrLost) {
			t.Errorf("the outcome of a lost hold is %v", err)
		}
		if told := c.toldOf(); len(told) != 1 || !errors.Is(told[0], ErrLost) || !errors.Is(told[0], errBroken) {
			t.Errorf("told %v", told)
		}
	})
}

// A poll would go on for as long as somebody else holds the lock: it is ended when its keeper fails, also where that is
// not replaced for a while.
func TestAKeeperThatFailsEndsItsPoll(t *testing.T) {
	for _, restarts := range []int{0, 5} {
		bubble(t, func(c *rigConfig) {
			c.free, c.Intensity.Restarts = 0, restarts
			c.Hook = func(_ int64, step string) {
				if step == "message told" {
					panic("injected")
				}
			}
		}, func(t *testing.T, r *rig) {
			r.store.lockOutside(1)
			c := r.submit(key(1))
			sleep(askAfter + ms)
			if n := len(r.store.callsOf(1, fxStopPolling)); n != 1 {
				t.Errorf("the poll was ended %d times", n)
			}
			if restarts == 0 {
				c.expect(ErrKeeperFailed)
				sleep(10 * time.Second)
				r.submit(key(1, try)).expect(ErrNotAcquired)
				return
			}
			if polls := len(r.store.callsOf(1, fxPoll)); polls != 2 {
				t.Errorf("%d polls, should be one for each incarnation", polls)
			}
			r.store.unlockOutside(1)
			c.wait()
			r.mustRelease(c)
		})
	}
}
