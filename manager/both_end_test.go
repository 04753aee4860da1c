package manager_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/hashing"
	"github.com/lockkeeper/lockkeeper/manager"
)

// However the hold ends, it ends as one, and both locks are released.
func TestBothEndAsOne(t *testing.T) {
	s := server(t)
	for _, key := range []string{oneKey, otherKey} {
		t.Run("context, "+key, func(t *testing.T) {
			m := openOn(t, s, withBoth)
			ctx, cancel := context.WithCancel(t.Context())
			lock, err := m.Acquire(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			detached, err := m.Acquire(ctx, "detached", manager.WithDetachedHold())
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			ended(t, "the end of the hold", lock.Done())
			wantIs(t, lock.Err(), context.Canceled)
			eventually(t, "both are released", func() bool { return len(held(t, s)) == 2 }) // of the other hold
			wantHeld(t, detached)
			release(t, detached)
			wantHeldAtServer(t, s)
		})
		t.Run("loss of either, "+key, func(t *testing.T) {
			m := openOn(t, s, withBoth, manager.WithMaxLocksPerSession(1)) // so that the two are on different sessions
			for _, lost := range bothIDs(key) {
				lock := acquire(t, m, key)
				terminate(t, s, held(t, s)[lost])
				ended(t, "the end of the hold", lock.Done())
				wantIs(t, lock.Err(), manager.ErrLost)
				wantIs(t, context.Cause(lock.Context()), manager.ErrLost)
				wantIs(t, lock.Release(bounded(t)), manager.ErrLost)
				eventually(t, "the other is released", func() bool { return len(held(t, s)) == 0 })
				err := m.Do(bounded(t), key, func(ctx context.Context) error {
					terminate(t, s, held(t, s)[lost])
					ended(t, "the end of the context", ctx.Done())
					return nil
				})
				wantIs(t, err, manager.ErrLost)
				eventually(t, "the other is released", func() bool { return len(held(t, s)) == 0 })
			}
		})
		t.Run("close, "+key, func(t *testing.T) {
			c := openClosesLate(t, s, withBoth)
			lock := acquire(t, c.m, key)
			c.close(t, s, bothIDs(key)...)
			wantIs(t, lock.Err(), manager.ErrClosed)
		})
		t.Run("close while Do works, "+key, func(t *testing.T) {
			m := openOn(t, s, withBoth)
			closed := make(chan struct{})
			err := m.Do(bounded(t), key, func(ctx context.Context) error {
				go func() { defer close(closed); closeNow(t, m) }()
				ended(t, "the end of the context", ctx.Done())
				for range 10 { // the server would take no longer to unlock
					wantHeldAtServer(t, s, bothIDs(key)...)
				}
				return context.Cause(ctx)
			})
			wantIs(t, err, manager.ErrClosed)
			ended(t, "the return of Close", closed)
			wantHeldAtServer(t, s)
		})
	}
}

// Both locks are kept for a minimum hold, and neither is where the second could not be had.
func TestBothForAMinimumHold(t *testing.T) {
	s := server(t)
	v := openVersions(t, s)
	for _, key := range []string{oneKey, otherKey} {
		theirs := acquire(t, map[bool]*manager.Manager{true: v.before, false: v.after}[bothIDs(key)[1] == hashing.FNV1a(key)], key)
		_, err := v.between.TryAcquire(bounded(t), key, manager.WithMinHold(time.Hour))
		wantIs(t, err, manager.ErrNotAcquired)
		_, err = v.between.Acquire(bounded(t), key, manager.WithMinHold(time.Hour), manager.WithWaitTimeout(50*time.Millisecond))
		wantIs(t, err, manager.ErrWaitTimeout)
		ctx, cancel := context.WithCancel(t.Context())
		waiting := acquiring(ctx, t, v.between, key, manager.WithMinHold(time.Hour))
		eventually(t, "it waits", func() bool { return queued(t, s, theirs.ID()) == 1 })
		cancel()
		wantIs(t, ended(t, "the end of the wait", waiting).err, context.Canceled)
		eventually(t, "nothing is kept", func() bool { return len(held(t, s)) == 1 })
		release(t, theirs)
		release(t, acquire(t, v.between, key, manager.WithMinHold(time.Hour)))
		wantHeldAtServer(t, s, bothIDs(key)...)
		closeNow(t, v.between)
		wantHeldAtServer(t, s)
		v.between = openOn(t, s, withBoth)
	}
}

// A period is run by one replica, whichever of the programs of a deploy they have.
func TestBothOnce(t *testing.T) {
	s, clock := server(t), noonAnd(0, 0)
	for name, replicas := range map[string][]manager.Option{
		"old, then both": {withOld, withBoth, withSwapped}, "both, then old": {withBoth, withSwapped, withOld},
		"new, then both": {withNew, withSwapped, withBoth}, "both, then new": {withSwapped, withBoth, withNew},
	} {
		t.Run(name, func(t *testing.T) {
			ran := 0
			var all []*manager.Manager
			for i, ids := range replicas {
				m := openOn(t, s, ids, clock.option())
				all = append(all, m)
				for _, key := range []string{oneKey, otherKey} {
					before := ran
					err := m.Once(bounded(t), key, time.Hour, did(&ran))
					if i == 0 && (err != nil || ran != before+1) {
						t.Errorf("the first: %v", err)
					} else if i > 0 {
						wantIs(t, err, manager.ErrAlreadyRun)
						eventually(t, "the holder is told", func() bool { // a slow server may not have told in time
							if failure(t, err).Holder == nil {
								err = m.Once(bounded(t), key, time.Hour, did(&ran))
								wantIs(t, err, manager.ErrAlreadyRun)
							}
							return failure(t, err).Holder != nil
						})
					}
				}
			}
			if ran != 2 {
				t.Errorf("two jobs ran %d times", ran)
			}
			for _, m := range all {
				closeNow(t, m) // else the locks stay until the period is over
			}
		})
	}
}

// One leads of all, and nobody does who waits for the second lock.
func TestBothElect(t *testing.T) {
	s := server(t)
	key := "leader" // of elect
	for _, theirs := range []manager.Option{withOld, withNew, withSwapped} {
		one, two := openOn(t, s, theirs, manager.WithApplicationName("lk one")), openOn(t, s, withBoth)
		first := elect(t, one)
		term := first.leads(t)
		second := elect(t, two)
		eventually(t, "the second waits", func() bool { return queued(t, s, bothIDs(key)[0])+queued(t, s, bothIDs(key)[1]) == 1 })
		wantIs(t, two.Leader(key).IsLeader(t.Context()), manager.ErrNotLeader)
		wantIs(t, two.Leader(key).Resign(t.Context()), manager.ErrNotLeader)
		eventually(t, "it is known who leads", func() bool {
			h, err := two.Leader(key).Current(bounded(t))
			if err != nil {
				wantIs(t, err, manager.ErrNoLeader) // a slow server
				return false
			}
			if h.ApplicationName != "lk one" {
				t.Fatalf("the leader is %+v", h)
			}
			return true
		})
		first.endThis(term, t)
		term = second.leads(t)
		if h, err := two.Leader(key).Current(bounded(t)); err != nil || !h.Local {
			t.Errorf("the leader is %+v, %v", h, err)
		}
		second.endThis(term, t)
		closeNow(t, one)
		closeNow(t, two)
	}
}

// The server does not say in time who has the upper id, which the leader has: then nobody is known to lead, not who has the lower and waits.
func TestBothOfAHungServerNamesNoWaiter(t *testing.T) {
	s, key := breakable(t), "leader" // of elect
	theirs := withOld
	if hashing.Postgres(key) == bothIDs(key)[1] {
		theirs = withNew
	}
	long := []manager.Option{manager.WithHealth(time.Minute, time.Minute), manager.WithSessionTimeout(3 * time.Minute)}
	one, two := openOn(t, s, append(long, theirs)...), openOn(t, s, append(long, withBoth)...)
	first := elect(t, one)
	term := first.leads(t)
	second := elect(t, two)
	eventually(t, "the second waits", func() bool { return queued(t, s, bothIDs(key)[1]) == 1 })
	waiter := uint32(held(t, s)[bothIDs(key)[0]])
	type answer struct {
		leader *manager.Holder
		err    error
	}
	asked, ctx := make(chan answer, 1), bounded(t)
	thaw := freeze(t, s)
	go func() { h, err := two.Leader(key).Current(ctx); asked <- answer{h, err} }()
	<-time.After(3 * time.Second) // it has given up asking for the upper id by then; if not, the test says less
	thaw()
	if got := ended(t, "the answer", asked); got.err != nil {
		wantIs(t, got.err, manager.ErrNoLeader)
	} else if got.leader.PID == waiter {
		t.Errorf("a waiter leads: %+v", got.leader)
	}
	first.endThis(term, t)
	second.endThis(second.leads(t), t)
}

// Resign returns when both locks are released.
func TestBothResign(t *testing.T) {
	s, upper := server(t), bothIDs("leader")[1]
	unlocks, mayUnlock := make(chan struct{}), make(chan struct{})
	m := openOn(t, s, withBoth, manager.WithHook(func(id int64, step string) {
		if id == upper && step == "unlock" {
			close(unlocks)
			<-mayUnlock
		}
	}))
	c := elect(t, m)
	term := c.leads(t)
	resigned := make(chan error, 1)
	go func() { resigned <- m.Leader("leader").Resign(bounded(t)) }()
	c.endsTerm(term, t, manager.ErrResigned)
	c.stop() // so that there is no other term
	c.lets(t)
	ended(t, "the release", unlocks)
	eventually(t, "the lower is released", func() bool { return len(held(t, s)) == 1 })
	for range 10 { // Resign would take no longer to return
		if held(t, s)[upper] == 0 {
			t.Fatal("the upper is released")
		}
	}
	if isEnded(resigned) {
		t.Error("Resign returned before both locks were released")
	}
	close(mayUnlock)
	if err := ended(t, "the return of Resign", resigned); err != nil {
		t.Error(err)
	}
	wantIs(t, ended(t, "the return of Elect", c.returned), context.Canceled)
}

// Sessions for one lock alone are fewer than callers: nobody waits for a second one.
func TestBothOnDedicatedSessions(t *testing.T) {
	s := server(t)
	m := openOn(t, s, withBoth, manager.WithMaxSessions(3))
	const callers = 6
	done := make(chan error, callers)
	for i := range callers {
		go func() {
			key := string(rune('a' + i))
			lock, err := m.Acquire(bounded(t), key, manager.WithDedicatedSession())
			if err == nil {
				err = lock.Release(bounded(t))
			}
			done <- err
		}()
	}
	for range callers {
		if err := ended(t, "the release", done); err != nil {
			t.Error(err)
		}
	}
	lock := acquire(t, m, oneKey, manager.WithDedicatedSession())
	eventually(t, "one session is for one lock alone", func() bool { return m.Stats().Sessions.Dedicated == 1 })
	release(t, lock)
}

// The loss of either lock ends the hold and its minimum hold: Once runs again in the period, as after the loss of a single lock.
func TestBothOnceAfterALoss(t *testing.T) {
	s := server(t)
	const key, period = "report@2026-03-29T00:00:00Z", 24 * time.Hour
	for i, lost := range bothIDs(key) {
		t.Run([]string{"the lower id", "the upper id"}[i], func(t *testing.T) {
			clock, ran := noonAnd(0, 0), 0
			one, two := openOn(t, s, withBoth, clock.option()), openOn(t, s, withBoth, clock.option())
			err := one.Once(bounded(t), "report", period, func(ctx context.Context) error {
				wantHeldAtServer(t, s, bothIDs(key)...)
				terminate(t, s, held(t, s)[lost])
				ended(t, "the end of the context", ctx.Done())
				return nil
			}, manager.WithDedicatedSession()) // so that the two are on different sessions
			wantIs(t, err, manager.ErrLost)
			eventually(t, "nothing is kept", func() bool { return len(held(t, s)) == 0 })
			if err := two.Once(bounded(t), "report", period, did(&ran)); err != nil || ran != 1 {
				t.Errorf("after the loss: %v, and f ran %d times", err, ran)
			}
		})
	}
}

// Both locks are kept for a minimum hold where the context ended by the loss of another hold: that is no loss of theirs.
func TestBothForAMinimumHoldAfterTheLossOfAnother(t *testing.T) {
	s := server(t)
	for name, acquireIt := range map[string]func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, []int64, error){
		"two ids": func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, []int64, error) {
			lock, err := m.Acquire(ctx, oneKey, manager.WithMinHold(time.Hour))
			return lock, bothIDs(oneKey), err
		},
		"a set": func(ctx context.Context, m *manager.Manager) (interface{ Done() <-chan struct{} }, []int64, error) {
			set, err := m.Keys(oneKey, otherKey).Acquire(ctx, manager.WithMinHold(time.Hour))
			return set, slices.Sorted(slices.Values(append(bothIDs(oneKey), bothIDs(otherKey)...))), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			others, m := openOn(t, s), openOn(t, s, withBoth)
			outer := acquire(t, others, "outer")
			hold, ids, err := acquireIt(outer.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			terminate(t, s, held(t, s)[outer.ID()])
			ended(t, "the end of the hold", hold.Done())
			eventually(t, "the holds of all locks are over", func() bool { return m.Stats().Held == 0 })
			// It says that the session is lost before it has released the lock.
			eventually(t, "the server has released what was lost", func() bool { return held(t, s)[outer.ID()] == 0 })
			for range 10 { // the server would take no longer to unlock
				wantHeldAtServer(t, s, ids...)
			}
			closeNow(t, m)
			wantHeldAtServer(t, s)
		})
	}
}
