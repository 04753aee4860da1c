package actor

import (
	"bytes"
	"errors"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// eventRoom is enough for whatever a store says before the keeper reads any of it, and replyRoom for whatever a keeper says before
// its caller reads any of it: neither ever waits for the other. The fake store complains where there is no room.
func TestRoom(t *testing.T) {
	var stopped, goOn chan struct{}
	bubble(t, func(c *rigConfig) {
		stopped, goOn = make(chan struct{}), make(chan struct{})
		c.free = 0
		c.Hook = func(id int64, step string) {
			if step == "message paused" { // the keeper does nothing until the test lets it
				close(stopped)
				<-goOn
			}
		}
	}, func(t *testing.T, r *rig) {
		r.store.script = func(c call) verdict {
			switch c.kind {
			case fxAsk, fxWithdraw, fxUnlock:
				return verdict{after: time.Second}
			default:
				return verdict{}
			}
		}
		r.store.lockOutside(1)
		c := r.submit(key(1))
		sleep(150 * ms) // it polls, has asked who holds the lock, and is in the queue for a session
		r.store.unlockOutside(1)
		if err := c.wait(); err != nil { // and takes the reservation back
			t.Fatal(err)
		}
		c.drop()
		synctest.Wait()
		go c.Pause(0)
		<-stopped
		r.store.mu.Lock()
		link := r.store.latest[1]
		r.store.lose(link.heldOn, errBroken)
		r.store.mu.Unlock()
		sleep(2 * time.Second)
		if n := len(link.events); n != eventRoom-1 {
			t.Errorf("%d events are unread, should be %d: one of each kind, and room for a second Told", n, eventRoom-1)
		}
		close(goOn)
		if err := c.release(); !errors.Is(err, ErrReleaseUnknown) {
			t.Errorf("settled with %v", err)
		}
		r.store.unlockOutside(1)
	})
}

// The most that a keeper says to a caller who does not read: a question for a pause, and the decision.
func TestReplyRoom(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.script = func(c call) verdict {
			if c.kind == fxTry && c.nth <= 5 {
				return verdict{err: errBroken}
			}
			return verdict{}
		}
		c := &Claim{Terms: key(1)}
		c.Owner = quiet{}
		if err := r.s.Submit(c); err != nil {
			t.Fatal(err)
		}
		sleep(time.Minute) // five pauses of a second, without a word of the caller's
		if n := len(c.reply); n != replyRoom {
			t.Errorf("%d replies are unread, should be %d", n, replyRoom)
		}
		r.mustRelease(r.acquire(key(2)))
		if <-c.Replies() != AskPause || <-c.Replies() != Decided || c.Err != nil {
			t.Fatalf("answered with %v", c.Err)
		}
		c.Release(nil)
	})
}

// How long a pause is, is the caller's to say, on its own goroutine: a keeper runs no code of its callers. Without an answer it is
// a second, and the keeper goes on.
func TestPausesAreTheCallers(t *testing.T) {
	bubble(t, nil, func(t *testing.T, r *rig) {
		r.store.lockOutside(1)
		blocked := make(chan struct{})
		slow := r.prepare(key(1, pollFirst(4)))
		slow.pause = func(int) time.Duration { // user code that blocks
			if bytes.Contains(debug.Stack(), []byte("(*keeper)")) {
				t.Error("a keeper asks for the pause itself")
			}
			<-blocked
			return time.Hour
		}
		slow.submit()
		sleep(ms)
		behind := r.submit(key(1))
		r.submit(key(1, try)).expect(ErrNotAcquired)
		r.mustRelease(r.acquire(key(2)))
		sleep(1500 * ms)
		sameGaps(t, "tries", r.store.callsOf(1, fxTry), time.Second)
		r.store.unlockOutside(1)
		sleep(2 * time.Second)
		if n := r.s.Counters.Held(); n != 1 {
			t.Errorf("%d hold, should be the one whose pause has no answer", n)
		}
		close(blocked)
		for _, c := range []*caller{slow, behind} {
			if err := c.wait(); err != nil {
				t.Fatal(err)
			}
			r.mustRelease(c)
		}
	})
}
