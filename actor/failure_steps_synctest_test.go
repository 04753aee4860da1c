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
	// Of the last failure: who held the lock, and which grant of the server's that was; how many were about to hear.
	holders  []*Claim
	tenure   int
	at       time.Time
	unheard  int
	struck   int
	together int // the most who shared the lock at a failure
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
	s.tenure, s.at = s.rig.store.tenures(1), time.Now()
	if k, ok := s.rig.s.find(id); ok { // this is its goroutine
		var concerned []*Claim
		for c := k.machine.holders.head; c != nil; c = c.next {
			concerned = append(concerned, c)
		}
		for _, fx := range k.machine.effects {
			concerned = append(concerned, fx.claim)
			if c := fx.claim; c != nil && (fx.kind == fxGrant || fx.kind == fxRefuse) && c.Session == nil && c.Err == nil {
				s.unheard++
			}
		}
		s.together = max(s.together, k.machine.holders.n)
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
func life(r *rig, mode func(*Terms)) {
	submit := func(change ...func(*Terms)) *caller { return r.submit(key(1, append(change, mode)...)) }
	get := func(change ...func(*Terms)) *caller {
		c := submit(change...)
		c.wait()
		return c
	}
	done := func(c *caller) {
		if c.wait() == nil {
			c.release()
		}
	}
	for range 2 {
		// A holder and a queue: handed on, and then released. Or such as share the lock.
		line := []*caller{get(), submit(), submit(), submit()}
		sleep(ms)
		c := get(try)
		sleep(ms)
		done(c)
		for _, c := range line {
			done(c)
		}
		if terms := key(1, mode); terms.Shared {
			sharing(r, submit, done)
		}
		// Another process has it: the server's queue, slice after slice, and who holds the lock.
		r.store.lockOutside(1)
		c = submit()
		sleep(2500 * ms)
		r.store.unlockOutside(1)
		done(c)
		// Given up in the server's queue,
		r.store.lockOutside(1)
		c = submit()
		sleep(50 * ms)
		c.cancel()
		c.wait()
		sleep(10 * ms)
		// and queued for a session.
		other := r.acquire(key(3, dedicated))
		c = submit()
		sleep(50 * ms)
		c.cancel()
		c.wait()
		sleep(ms)
		r.mustRelease(other)
		r.store.unlockOutside(1)
		// Attempts that fail, with pauses, and somebody who only gives up waiting.
		r.store.lockOutside(1)
		c = submit(pollFirst(3))
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
		// Other processes that tell when to try.
		r.s.config.Limits.Hints = true
		r.store.lockOutside(1)
		c = r.submit(key(1))
		sleep(ms)
		r.s.Hear(1, &Hint{Held, []Peer{Here}})
		sleep(2 * answerAge) // until that answer is old, and no other has come
		r.s.Hear(1, &Hint{Wanted, []Peer{1}})
		r.s.Hear(1, &Hint{Offered, []Peer{Here, 2}})
		r.store.unlockOutside(1)
		c.wait()
		sleep(20 * ms)
		done(c)
		r.s.config.Limits.Hints = false
		// The loss of a session of its own.
		sleep(ms)
		c = get(dedicated)
		r.store.loseHolder(1, errBroken)
		sleep(ms)
		done(c)
		sleep(15 * time.Second) // to the end of any restart window, and until the keeper has retired
	}
}

// sharing leads key 1, which nobody holds, through what happens only to a lock that is shared.
func sharing(r *rig, submit func(...func(*Terms)) *caller, done func(*caller)) {
	all := func(callers ...*caller) {
		for _, c := range callers {
			done(c)
		}
	}
	// A writer here gives up, and the reader behind it joins.
	a, b, writer, behind := submit(), submit(), r.submit(key(1)), submit()
	sleep(ms)
	writer.Withdraw(errGaveUp)
	writer.wait()
	sleep(ms)
	all(a, b, behind)
	// A writer elsewhere is heard of when the next reader joins, keeps out the one after it, and gives up.
	a, b = submit(), submit()
	sleep(askReaders)
	r.store.lockOutside(1)
	c := submit()
	sleep(ms)
	d := submit()
	sleep(askAgain)
	r.store.unlockOutside(1)
	sleep(askAgain)
	all(a, b, c, d)
	// The loss of all, on a session of the first one's own.
	a, b, c = submit(dedicated), submit(), submit()
	sleep(ms)
	if a.wait() == nil {
		r.store.loseHolder(1, errBroken)
	}
	sleep(ms)
	all(a, b, c)
	// Some end with their contexts, one after the other.
	a, b, c = submit(), submit(), submit()
	sleep(ms)
	a.cancel()
	b.cancel()
	sleep(ms)
	all(a, b, c)
}

// modes are those in which a key leads its life.
var modes = map[string]func(*Terms){"exclusive": exclusive, "shared": shared}

// allSteps are the steps of a keeper's life: each message that it gets and each effect that it carries out.
func allSteps() (steps []string) {
	for _, m := range []message{acquire{}, release{}, contextEnded{}, withdraw{}, paused{}, due{}, closing{}, heard{}, Answered{},
		Reserved{}, Lost{}, Told{}} {
		steps = append(steps, "message "+m.String())
	}
	for k := fxTry; k <= fxExit; k++ {
		steps = append(steps, k.String())
	}
	return steps
}

func TestW19LifeHasAllSteps(t *testing.T) {
	for name, mode := range modes {
		var s *saboteur
		t.Run(name, func(t *testing.T) {
			sabotaged(t, "none", 0, false, func(_ *testing.T, r *rig, saboteur *saboteur) {
				s = saboteur
				life(r, mode)
				r.acquire(key(1, mode, forWork))
			})
		})
		for _, step := range allSteps() {
			n := s.count[step]
			if once := step == "message closing" || step == "exit" || step == "notify"; n == 0 || n == 1 && !once {
				t.Errorf("%s: %q came %d times", name, step, n)
			}
			delete(s.count, step)
		}
		for step := range s.count {
			t.Errorf("%q is a step that is not in the list", step)
		}
	}
}

// A panic, or a Goexit, at any step of a keeper's life: at the first time, at the second, and at every time. Where several share the lock
// at that time, all of them hear.
func TestFailureAtEveryStep(t *testing.T) {
	for name, mode := range modes {
		together := 0
		for _, step := range allSteps() {
			for n := range 6 {
				nth, exit := n%3, n >= 3
				t.Run(fmt.Sprintf("%s/%s/%d exit=%v", name, step, nth, exit), func(t *testing.T) {
					sabotaged(t, step, nth, exit, func(t *testing.T, r *rig, s *saboteur) {
						failAt(t, r, s, mode)
						together = max(together, s.together)
					})
				})
			}
		}
		if most := map[string]int{"exclusive": 1, "shared": 5}[name]; together != most {
			t.Errorf("%s: at the failures the lock had %d holders at the most, should be %d", name, together, most)
		}
	}
}

func failAt(t *testing.T, r *rig, s *saboteur, mode func(*Terms)) {
	bystander := r.acquire(key(2))
	life(r, mode)
	if n := r.keys(); n != 1 {
		t.Errorf("%d keys are in use, should be the bystander's alone", n)
	}
	last := key(1, mode)
	if s.step == "notify" {
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
	for _, c := range s.holders {
		for _, err := range []error{c.Over(), c.Outcome()} {
			if !errors.Is(err, ErrLost) || !errors.Is(err, ErrKeeperFailed) {
				t.Errorf("a holder of the failed keeper was told %v", err)
			}
		}
		if s.nth > 0 {
			s.servedAnew(t, c)
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
	if s.nth > 0 && failed > max(1, s.unheard) {
		t.Errorf("%d claims were refused because of one panic, %d were being answered; who waits should go on waiting", failed, s.unheard)
	}
}

// servedAnew checks that whoever came after a lost holder has the lock by a later grant of the server's. Those who came before the
// failure may have shared it.
func (s *saboteur) servedAnew(t *testing.T, lost *Claim) {
	t.Helper()
	for _, c := range s.rig.callers {
		after := c.Granted.After(lost.Granted)
		if c.Shared {
			after = !c.Granted.Before(s.at) && !slices.Contains(s.holders, &c.Claim)
		}
		if c.ID == 1 && c.Err == nil && after && c.tenure <= s.tenure {
			t.Errorf("a claim was granted by the grant %d, which the failed keeper had; it came after", c.tenure)
		}
	}
}
