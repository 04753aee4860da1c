package actor

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// An operation that was given to a session which had ended is asked again at once, on a session that lives; a release that was
// never sent is not confirmed.
func TestUnsent(t *testing.T) {
	for _, kind := range []effectKind{fxTry, fxTryOwn, fxWait, fxPoll, fxUnlock} {
		t.Run(kind.String(), func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, r *rig) {
				r.store.script = func(c call) verdict {
					if c.kind == kind && c.nth == 1 {
						return verdict{unsent: errBroken, after: ms}
					}
					return verdict{}
				}
				if kind == fxWait || kind == fxPoll {
					r.store.lockOutside(1)
				}
				start := time.Now()
				c := r.submit(key(1, func(t *Terms) { t.Dedicated = kind == fxTryOwn }))
				sleep(2 * ms)
				r.store.unlockOutside(1)
				if err := c.wait(); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(start); waited > 30*ms {
					t.Errorf("granted after %v", waited)
				}
				if kind != fxUnlock {
					if len(c.Failures) != 1 || !errors.Is(c.Failures[0], errBroken) {
						t.Errorf("the failures are %v", c.Failures)
					}
					r.mustRelease(c)
					return
				}
				if err := c.release(); !errors.Is(err, ErrReleaseUnknown) || !errors.Is(err, errBroken) {
					t.Errorf("settled with %v", err)
				}
				r.mustRelease(r.acquire(key(1)))
			})
		})
	}
}

// The second attempt may go to a session that has ended, too, and that has yet to answer what it received: the keeper must wait
// for that before it takes the operation for unsent.
func TestUnsentAfterUnsent(t *testing.T) {
	for range 20 { // which case of its select the keeper chooses is chance
		synctest.Test(t, func(t *testing.T) {
			first, second := make(chan struct{}), make(chan struct{})
			goOn := make(chan struct{})
			link := &scriptedLink{ended: []chan struct{}{first, second, nil}}
			r := newRig(t, func(c *rigConfig) {
				c.Hook = func(_ int64, step string) {
					if step == "message told" {
						<-goOn
					}
				}
			})
			r.s.config.Store = link
			c := r.submit(key(1))
			link.events <- Told{}
			synctest.Wait() // the keeper stands still, and has both of these before it when it goes on
			link.events <- Answered{&Answer{Err: errBroken, Transient: true, Ended: true}}
			close(first)
			close(goOn)
			synctest.Wait()
			if link.tries != 2 {
				t.Fatalf("%d tries", link.tries)
			}
			link.events <- Answered{&Answer{OK: true}} // it was received, after all
			close(second)
			if err := c.wait(); err != nil {
				t.Fatal(err)
			}
			r.mustRelease(c)
			if link.tries != 2 || link.unlocks != 1 {
				t.Errorf("%d tries and %d unlocks", link.tries, link.unlocks)
			}
		})
	}
}

// scriptedLink is a store and its one link. The test answers the tries; unlocks succeed. The fields are the keeper's.
type scriptedLink struct {
	endedSession
	events         chan<- Event
	ended          []chan struct{} // of the session that each try is given to; nil: it lives
	tries, unlocks int
}

type endedSession struct{}

func (endedSession) TrustedUntil() time.Time { return time.Now().Add(time.Hour) }
func (endedSession) Lost() error             { return errBroken }
func (endedSession) PID() uint32             { return 1 }

func (l *scriptedLink) Attach(_ int64, events chan<- Event) Link {
	l.events = events
	return l
}

func (l *scriptedLink) Try(_ bool) { l.tries++ }

func (l *scriptedLink) Unlock(*Hint) {
	l.unlocks++
	l.events <- Answered{&Answer{OK: true}}
}

func (l *scriptedLink) Unsent() <-chan struct{} {
	if l.unlocks > 0 {
		return nil
	}
	return l.ended[l.tries-1]
}

func (l *scriptedLink) TryOwn(_ bool)     {}
func (l *scriptedLink) Wait(_ bool)       {}
func (l *scriptedLink) Poll(_, _, _ bool) {}
func (l *scriptedLink) Pace(bool)         {}
func (l *scriptedLink) Tell(*Hint)        {}
func (l *scriptedLink) Reserve(_, _ bool) {}
func (l *scriptedLink) Withdraw()         {}
func (l *scriptedLink) StopPolling()      {}
func (l *scriptedLink) Lend(any)          {}
func (l *scriptedLink) Return()           {}
func (l *scriptedLink) Ask()              {}
func (l *scriptedLink) Session() Session  { return l.endedSession }
func (l *scriptedLink) Own() Session      { return l.endedSession }

// A failed keeper's operation that was never sent is seen by the next incarnation, and during a cool-down.
func TestUnsentAfterAFailure(t *testing.T) {
	for _, restarts := range []int{0, 5} {
		for _, kind := range []effectKind{fxTry, fxUnlock} {
			failing(t, func(c *rigConfig) { c.Intensity.Restarts = restarts }, func(t *testing.T, r *rig) {
				r.store.script = func(c call) verdict {
					if c.kind == kind && c.nth == 1 {
						return verdict{unsent: errBroken, after: time.Second}
					}
					return verdict{}
				}
				c := r.submit(key(1))
				synctest.Wait()
				if kind == fxUnlock {
					c.wait()
					c.drop()
					synctest.Wait()
				}
				r.fail()
				sleep(11 * time.Second)
				if c.wait() == nil {
					c.release()
				}
				r.mustRelease(r.acquire(key(1)))
			})
		}
	}
}

// The loss of a session that held the lock once, or is used for something else, changes nothing.
func TestStaleLosses(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		first := r.acquire(key(1))
		r.store.loseHolder(1, errBroken)
		synctest.Wait()
		second := r.acquire(key(1))
		send := func(s Session) {
			r.store.mu.Lock()
			r.store.latest[1].send(Lost{s})
			r.store.mu.Unlock()
			synctest.Wait()
		}
		send(first.Session)
		if over := second.Over(); over != nil {
			t.Fatalf("over for %v", over)
		}
		waits := r.submit(key(1))
		r.store.script = func(c call) verdict { return verdict{after: time.Second} }
		sleep(30 * ms) // past the hand-off limit
		second.drop()
		synctest.Wait()
		send(second.Session) // during the unlock, which is answered by itself
		r.mustRelease(second)
		send(second.Session)
		if err := waits.wait(); err != nil || waits.Over() != nil {
			t.Fatal(err, waits.Over())
		}
		r.mustRelease(waits)
		send(waits.Session)
		r.mustRelease(r.acquire(key(1)))
	})
}
