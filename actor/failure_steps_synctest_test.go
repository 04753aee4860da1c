package actor

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// saboteur makes the keeper of key 1 fail at a step of its life.
type saboteur struct {
	step  string
	exit  bool // by runtime.Goexit; else by a panic
	nth   int  // occurrence; 0: all of them
	rig   *rig
	mu    sync.Mutex
	count map[string]int
	// Of the last failure: who held the lock, and which grant of the server's that was.
	holders []*Claim
	tenure  int
	struck  int
}

func (s *saboteur) hook(id int64, step string) {
	if id != 1 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[step]++
	if step != s.step || s.nth != 0 && s.count[step] != s.nth {
		return
	}
	s.struck++
	s.tenure = s.rig.store.tenures(1)
	if k, ok := s.rig.s.find(id); ok { // this is its goroutine
		concerned := []*Claim{k.machine.holders.head}
		for _, fx := range k.machine.effects {
			concerned = append(concerned, fx.claim)
		}
		for _, c := range concerned {
			if c != nil && c.Session != nil && c.Over() == nil && !slices.Contains(s.holders, c) {
				s.holders = append(s.holders, c)
			}
		}
	}
	if s.exit {
		runtime.Goexit()
	}
	panic("injected at " + step)
}

// sabotaged runs a test in a bubble where key 1 is in danger.
func sabotaged(t *testing.T, step string, nth int, exit bool, test func(t *testing.T, r *rig, s *saboteur)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		s := &saboteur{step: step, nth: nth, exit: exit, count: map[string]int{}}
		s.rig = newRig(t, func(c *rigConfig) {
			c.free, c.Hook, c.Limits.HandOffGrants = 1, s.hook, 3
		})
		test(t, s.rig, s)
	})
}

// life leads key 1 through all that can happen to a key, twice, whatever comes of it, and to its retirement. What is
// held at its end is for Close.
func life(r *rig) {
	get := func(change ...func(*Terms)) *caller {
		c := r.submit(key(1, change...))
		c.wait()
		return c
	}
	done := func(c *caller) {
		if c.wait() == nil {
			c.release()
		}
	}
	for range 2 {
		// A holder and a queue: handed on, and then released.
		line := []*caller{get(), r.submit(key(1)), r.submit(key(1)), r.submit(key(1))}
		sleep(ms)
		get(try)
		for _, c := range line {
			done(c)
		}
		// Another process has it: the server's queue, slice after slice, and who holds the lock.
		r.store.lockOutside(1)
		c := r.submit(key(1))
		sleep(2500 * ms)
		r.store.unlockOutside(1)
		done(c)
		// Given up in the server's queue,
		r.store.lockOutside(1)
		c = r.submit(key(1))
		sleep(50 * ms)
		c.cancel()
		c.wait()
		sleep(10 * ms)
		// and queued for a session.
		other := r.acquire(key(3, dedicated))
		c = r.submit(key(1))
		sleep(50 * ms)
		c.cancel()
		c.wait()
		sleep(ms)
		r.mustRelease(other)
		r.store.unlockOutside(1)
		// Attempts that fail, with pauses, and somebody who only gives up waiting.
		r.store.lockOutside(1)
		c = r.submit(key(1, pollFirst(3)))
		sleep(350 * ms)
		c.Withdraw(errGaveUp)
		c.wait()
		sleep(2 * time.Second) // to the end of its slice
		r.store.unlockOutside(1)
		// An outcome that another goroutine waits for.
		if c = get(); c.Err == nil {
			known := make(chan bool)
			go func() { known <- c.Await(nil) }()
			synctest.Wait()
			done(c)
			<-known
		}
		// The loss of a session of its own.
		c = get(dedicated)
		r.store.loseHolder(1, errBroken)
		sleep(ms)
		done(c)
		sleep(15 * time.Second) // to the end of any restart window, and until the keeper has retired
	}
}

// allSteps are the steps of a keeper's life: each message that it gets and each effect that it carries out.
func allSteps() (steps []string) {
	for _, m := range []message{acquire{}, &release{}, contextEnded{}, withdraw{}, paused{}, due{}, closing{}, Answered{},
		Reserved{}, Lost{}, Told{}} {
		steps = append(steps, "message "+m.String())
	}
	for k := fxTry; k <= fxExit; k++ {
		steps = append(steps, k.String())
	}
	return steps
}

func TestW19LifeHasAllSteps(t *testing.T) {
	var s *saboteur
	t.Run("life", func(t *testing.T) {
		sabotaged(t, "none", 0, false, func(_ *testing.T, r *rig, saboteur *saboteur) {
			s = saboteur
			life(r)
			r.acquire(key(1, forWork))
		})
	})
	for _, step := range allSteps() {
		n := s.count[step]
		if once := step == "message closing" || step == "exit" || step == "notify"; n == 0 || n == 1 && !once {
			t.Errorf("%q came %d times", step, n)
		}
		delete(s.count, step)
	}
	for step := range s.count {
		t.Errorf("%q is a step that is not in the list", step)
	}
}

// A panic, or a Goexit, at any step of a keeper's life: at the first time, at the second, and at every time.
func TestFailureAtEveryStep(t *testing.T) {
	for _, step := range allSteps() {
		for n := range 6 {
			nth, exit := n%3, n >= 3
			t.Run(fmt.Sprintf("%s/%d exit=%v", step, nth, exit), func(t *testing.T) {
				sabotaged(t, step, nth, exit, func(t *testing.T, r *rig, s *saboteur) {
					bystander := r.acquire(key(2))
					life(r)
					if n := r.keys(); n != 1 {
						t.Errorf("%d keys are in use, should be the bystander's alone", n)
					}
					last := key(1)
					if step == "notify" {
						last.Hold = HoldForWork
					}
					r.submit(last).wait() // perhaps a holder, and perhaps
					r.submit(key(1))      // a waiter, for Close
					synctest.Wait()
					if bystander.Over() != nil {
						t.Errorf("another key's hold ended: %v", bystander.Over())
					}
					r.mustRelease(bystander)
					start := time.Now()
					r.close()
					if took := time.Since(start); took != 0 {
						t.Errorf("Close took %v, and nothing was under way", took)
					}
					s.check(t)
				})
			})
		}
	}
}

// check looks at what everybody was told.
func (s *saboteur) check(t *testing.T) {
	t.Helper()
	r := s.rig
	if s.struck == 0 && s.nth < 2 {
		t.Error("it never came to a failure")
	}
	if len(r.failures) != s.struck || int(r.s.Counters.Restarts.Load()) != s.struck {
		t.Errorf("%d panics, %d reported, %d counted", s.struck, len(r.failures), r.s.Counters.Restarts.Load())
	}
	for _, f := range r.failures {
		if want := "injected at " + s.step; f.ID != 1 || !s.exit && f.Value != want || s.exit && f.Value == want || len(f.Stack) == 0 {
			t.Errorf("reported: key %d, %v, %d bytes of stack", f.ID, f.Value, len(f.Stack))
		}
	}
	if s.nth > 0 && len(s.holders) > 1 {
		t.Errorf("%d holders", len(s.holders))
	}
	for _, c := range s.holders {
		for _, err := range []error{c.Over(), c.Outcome()} {
			if !errors.Is(err, ErrLost) || !errors.Is(err, ErrKeeperFailed) {
				t.Errorf("a holder of the failed keeper was told %v", err)
			}
		}
		if s.nth > 0 {
			r.servedAnew(t, c, s.tenure)
		}
	}
	failed := 0
	for _, c := range r.callers {
		switch {
		case c.Err == nil, errors.Is(c.Err, errGaveUp), errors.Is(c.Err, ErrNotAcquired), errors.Is(c.Err, ErrClosed):
		case errors.Is(c.Err, ErrKeeperFailed) && c.ID == 1:
			failed++
		default:
			t.Errorf("a claim was answered with %v", c.Err)
		}
	}
	if s.nth > 0 && failed > 1 {
		t.Errorf("%d claims were refused because of one panic; who waits should go on waiting", failed)
	}
}

// servedAnew checks that whoever came after a lost holder has the lock by a later grant of the server's.
func (r *rig) servedAnew(t *testing.T, lost *Claim, tenure int) {
	t.Helper()
	for _, c := range r.callers {
		if c.ID == 1 && c.Err == nil && c.Granted.After(lost.Granted) && c.tenure <= tenure {
			t.Errorf("a claim was granted by the grant %d, which the failed keeper had; it came after", c.tenure)
		}
	}
}
