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

// A claim that has ended is answered with its cause wherever it is: before it is sent, on its way, in line, at the
// server.
func TestCancel(t *testing.T) {
	for _, row := range []struct {
		name   string
		cancel func(r *rig) *caller
	}{
		{"before it is sent", func(r *rig) *caller {
			c := r.prepare(key(1))
			c.End(errGaveUp)
			c.End(context.Canceled) // one cause, the first
			c.submit()
			return c
		}},
		{"before it is sent, to a keeper that is there", func(r *rig) *caller {
			r.acquire(key(1)).End(ErrReleased)
			c := r.prepare(key(1))
			c.End(errGaveUp)
			c.submit()
			return c
		}},
		{"on its way", func(r *rig) *caller {
			c := r.submit(key(1))
			c.End(errGaveUp)
			return c
		}},
		{"in line behind a holder", func(r *rig) *caller {
			holder := r.acquire(key(1))
			c := r.submit(key(1))
			synctest.Wait()
			c.End(errGaveUp)
			c.expect(errGaveUp)
			r.mustRelease(holder)
			return c
		}},
		{"in the server's queue", func(r *rig) *caller {
			r.store.lockOutside(1)
			c := r.submit(key(1))
			synctest.Wait()
			c.End(errGaveUp)
			return c
		}},
		{"between two polls", func(r *rig) *caller {
			r.store.lockOutside(1)
			c := r.submit(key(1, pollFirst(5)))
			synctest.Wait()
			c.End(errGaveUp)
			return c
		}},
		{"during a try", func(r *rig) *caller {
			r.store.script = func(c call) verdict { return verdict{hang: c.kind == fxTry && c.nth == 1} }
			c := r.submit(key(1))
			synctest.Wait()
			c.End(errGaveUp)
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
					if !errors.Is(c.Over(), errGaveUp) && c.release() != nil {
						t.Errorf("the hold ended by %v", c.Over())
					}
				} else {
					c.expect(errGaveUp)
				}
				if waited := time.Since(start); waited != 0 {
					t.Errorf("answered after %v, should be at once", waited)
				}
				c.End(context.Canceled) // too late
				synctest.Wait()
				r.store.unlockOutside(1)
				r.mustRelease(r.acquire(key(1)))
			})
		})
	}
}

// A cancellation and a grant meet: by hand, by the server's try, by the server's queue. Either the caller has the lock,
// which its end then releases, or it does not; the next in line gets it in any case.
func TestCancelMeetsGrant(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, arrange := range map[string]func(r *rig) (grant func()){
		"by hand": func(r *rig) func() {
			holder := r.acquire(key(1))
			return func() { holder.End(ErrReleased) }
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
					meet := []func(){grant, func() { first.End(errGaveUp) }}
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
						t.Fatalf("the next in line: %v", err)
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
		line := make([]Claim, senders*each)
		for i := range line {
			line[i].Terms = key(1)
			line[i].Init(r.d)
			r.d.Submit(&line[i])
		}
		stays := r.submit(key(1))
		synctest.Wait()
		start := make(chan struct{})
		for n := range senders {
			go func() {
				<-start
				for i := n; i < len(line); i += senders {
					line[i].End(context.Canceled)
				}
			}()
		}
		close(start)
		for i := range line {
			if err := line[i].Wait(); !errors.Is(err, context.Canceled) {
				t.Fatalf("answered with %v", err)
			}
		}
		if n := r.d.Counters.Waiting(); n != 1 || holder.Over() != nil {
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

// registered is a registration with a context that counts how often it is taken back.
type registered func()

func (r registered) Unregister() bool {
	r()
	return true
}

// Who watches a hold is told once of its end, and the registration is taken back.
func TestWatch(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		unregistered, told := 0, 0
		watch := func(cause error) {
			if told++; !errors.Is(cause, ErrLost) || !errors.Is(cause, errBroken) {
				t.Errorf("told of %v", cause)
			}
		}
		c := r.prepare(key(1))
		c.Registration = registered(func() { unregistered++ })
		c.submit()
		if c.wait() != nil || c.Over() != nil {
			t.Fatal(c.Err, c.Over())
		}
		c.Watch(watch)
		if !r.store.loseHolder(1, errBroken) {
			t.Fatal("it is not held")
		}
		synctest.Wait()
		if err := c.release(); !errors.Is(err, ErrLost) {
			t.Errorf("the outcome of a lost hold is %v", err)
		}
		if told != 1 || unregistered != 1 {
			t.Errorf("told %d times, unregistered %d times, should be once each", told, unregistered)
		}
		late := 0
		c.Watch(func(error) { late++ })
		if late != 1 || told != 1 {
			t.Errorf("who watches late is told %d times, and the first again: %v", late, told != 1)
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
			if n := len(r.store.callsOf(1, fxAbandon)); n != 1 {
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
