package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rig is a supervisor on a fake store, and an oracle for exclusion: two live holds of one key are a fault.
type rig struct {
	t        testing.TB
	store    *fakeStore
	s        *Supervisor
	free     int // sessions for one key alone that the store had at first
	closed   bool
	patience time.Duration // after which an answer is missed

	mu       sync.Mutex
	live     map[int64][]*caller // who was granted a key, and may hold it
	callers  []*caller
	failures []KeeperFailure
	wrong    []string
}

// caller is a claim and the goroutine that receives its replies.
type caller struct {
	Claim
	rig       *rig
	pause     func(n int) time.Duration // the n-th pause, from 0; nil: AskPause has no answer
	answered  chan struct{}             // closed when Err may be read
	submitted bool                      // the keeper has received it; read after answered
	asked     atomic.Int32              // how many pauses were asked for; written by the caller's goroutine
	releasing atomic.Bool               // written by whoever releases first
	tenure    int                       // the server's grant that this hold rests on
	told      []error                   // by HoldEnds; with the rig's mu
	ends      chan struct{}             // closed by the first HoldEnds
}

var (
	errGaveUp  = errors.New("the caller gave up")
	errBroken  = errors.New("connection reset")
	errSilence = errors.New("no answer")
)

// rigConfig is what a test wants to be different.
type rigConfig struct {
	Config
	free  int
	slice time.Duration
}

func newRig(t testing.TB, change func(*rigConfig)) *rig {
	t.Helper()
	c := rigConfig{free: 4, slice: 2 * time.Second, Config: Config{
		Limits:    Limits{MaxWaiters: 5000, HandOffTime: 20 * time.Millisecond, HandOffGrants: 100},
		Intensity: IntensityLimit{Restarts: 5, Window: 10 * time.Second},
		MaxKeys:   1_000_000, IdleTimeout: 2 * time.Second,
	}}
	if change != nil {
		change(&c)
	}
	r := &rig{t: t, store: newFakeStore(), free: c.free, live: map[int64][]*caller{}, patience: time.Minute}
	r.store.free, r.store.slice = c.free, c.slice
	c.Store = r.store
	c.Failed = func(f KeeperFailure) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failures = append(r.failures, f)
	}
	r.s = NewSupervisor(c.Config)
	t.Cleanup(r.close)
	return r
}

// close closes the supervisor and looks at what is left. Once is enough.
func (r *rig) close() {
	if r.closed {
		return
	}
	r.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- r.s.Close(ctx) }()
	for _, c := range r.callers { // Close tells the owner of a hold for work, and waits for the release
		if c.Hold == HoldForWork && c.wait() == nil {
			<-c.ends
			_ = c.release()
		}
	}
	if err := <-closed; err != nil {
		r.t.Error(err)
		return
	}
	for _, c := range r.callers {
		if err := c.wait(); errors.Is(err, errSilence) {
			return
		} else if err != nil {
			continue
		}
		r.endedOnce(c)
	}
	for _, wrong := range append(r.wrong, r.store.leftovers(r.free)...) {
		r.t.Error(wrong)
	}
	for _, n := range []struct {
		what string
		got  int64
	}{
		{"held", r.s.Counters.Held()}, {"waiting", r.s.Counters.Waiting()}, {"keys", r.s.Counters.Keys.Load()},
	} {
		if n.got != 0 {
			r.t.Errorf("after Close the counter %q is at %d", n.what, n.got)
		}
	}
}

// endedOnce: a hold is over and its owner was told so, once, or a second time for the close before the end.
func (r *rig) endedOnce(c *caller) {
	over := c.Over()
	switch {
	case !c.Await(nil):
		r.t.Errorf("%s: granted and never settled", c.Name)
	case over == nil:
		r.t.Errorf("%s: settled, and its hold is not over", c.Name)
	case len(c.told) == 0 || !errors.Is(c.told[len(c.told)-1], over):
		r.t.Errorf("%s: over for %v, and its owner was told %v", c.Name, over, c.told)
	case len(c.told) > 2 || len(c.told) == 2 && (c.Hold != HoldForWork || !errors.Is(c.told[0], ErrClosed)):
		r.t.Errorf("%s: its owner was told %v", c.Name, c.told)
	}
}

// HoldEnds implements [Owner].
func (c *caller) HoldEnds(cause error, at time.Time) {
	c.rig.mu.Lock()
	defer c.rig.mu.Unlock()
	if now := time.Now(); at.Before(c.Granted) || at.After(now) {
		c.rig.wrong = append(c.rig.wrong, fmt.Sprintf("%s: granted at %v, told at %v that it ended at %v", c.Name, c.Granted, now, at))
	}
	if c.told = append(c.told, cause); len(c.told) == 1 {
		close(c.ends)
	}
}

func (c *caller) toldOf() []error {
	c.rig.mu.Lock()
	defer c.rig.mu.Unlock()
	return append([]error(nil), c.told...)
}

// key makes the terms of a claim that waits, and gives up at the tenth failure.
func key(id int64, change ...func(*Terms)) Terms {
	t := Terms{Name: fmt.Sprintf("key %d", id), ID: id, MaxAttempts: 10}
	for _, f := range change {
		f(&t)
	}
	return t
}

func try(t *Terms)       { t.Try = true }
func dedicated(t *Terms) { t.Dedicated = true }
func shared(t *Terms)    { t.Shared = true }
func exclusive(t *Terms) { t.Shared = false }
func forWork(t *Terms)   { t.Hold = HoldForWork }
func pollFirst(n int) func(*Terms) {
	return func(t *Terms) { t.PollFirst, t.MaxAttempts = true, n }
}
func attempts(n int) func(*Terms) { return func(t *Terms) { t.MaxAttempts = n } }

// linear pauses for 100 ms, 200 ms, 300 ms and so on.
func linear(n int) time.Duration { return time.Duration(n+1) * 100 * time.Millisecond }

// prepare makes a claim that is not on its way yet.
func (r *rig) prepare(t Terms) *caller {
	c := &caller{rig: r, pause: linear, answered: make(chan struct{}), ends: make(chan struct{})}
	c.Terms, c.Owner = t, c
	r.mu.Lock()
	r.callers = append(r.callers, c)
	r.mu.Unlock()
	return c
}

func (r *rig) submit(t Terms) *caller {
	c := r.prepare(t)
	c.submit()
	return c
}

// submit returns when the keeper has received the claim, so that claims come in the order of their submits.
func (c *caller) submit() {
	if err := c.rig.s.Submit(&c.Claim); err != nil {
		c.Err = err
		close(c.answered)
		return
	}
	c.submitted = true
	go func() {
		defer close(c.answered)
		for n := 0; <-c.Replies() == AskPause; n++ {
			c.asked.Add(1)
			if c.pause != nil {
				c.Pause(c.pause(n))
			}
		}
		if c.Err == nil {
			c.rig.granted(c)
		}
	}()
}

// granted checks that the hold before this one was over before this one began, and that the server knows of it.
func (r *rig) granted(c *caller) {
	tenure := r.store.tenures(c.ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	c.tenure = tenure
	if c.Over() != nil {
		return // so the next one may have been here before
	}
	live := r.holding(c.ID)
	if slices.ContainsFunc(live, func(old *caller) bool { return !(old.Shared && c.Shared) }) {
		r.wrong = append(r.wrong, fmt.Sprintf("two live holds of %s", c.Name))
	}
	r.live[c.ID] = append(live, c)
}

// holding are those who hold a key. With mu.
func (r *rig) holding(id int64) []*caller {
	r.live[id] = slices.DeleteFunc(r.live[id], func(c *caller) bool { return c.Over() != nil })
	return r.live[id]
}

// wait waits for the answer.
func (c *caller) wait() error {
	select {
	case <-c.answered:
		return c.Err
	case <-time.After(c.rig.patience):
		c.rig.t.Errorf("%s: a claim was not answered", c.Name)
		return errSilence
	}
}

// acquire waits for a grant.
func (r *rig) acquire(t Terms) *caller {
	r.t.Helper()
	c := r.submit(t)
	if err := c.wait(); err != nil {
		r.t.Fatalf("%s: %v", t.Name, err)
	}
	return c
}

// cancel is the end of the claim's context.
func (c *caller) cancel() { c.ContextEnded(errGaveUp) }

// drop ends the hold and does not wait for the outcome.
func (c *caller) drop() {
	if !c.releasing.Swap(true) {
		c.ReleaseLater()
	}
}

// release ends a hold, and waits for what became of the lock. Any goroutine may call it, any number of times.
func (c *caller) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.rig.patience)
	defer cancel()
	var known bool
	if !c.releasing.Swap(true) {
		known = c.Release(ctx.Done())
	} else {
		known = c.Await(ctx.Done())
	}
	if !known {
		c.rig.t.Errorf("%s: a hold was not settled", c.Name)
		return errSilence
	}
	return c.Outcome()
}

func (r *rig) mustRelease(c *caller) {
	r.t.Helper()
	if err := c.release(); err != nil {
		r.t.Fatalf("release of %s: %v", c.Name, err)
	}
}

// expect checks that a claim was refused for a reason.
func (c *caller) expect(reason error) {
	c.rig.t.Helper()
	if err := c.wait(); !errors.Is(err, reason) {
		c.rig.t.Errorf("%s: answered %v, should be %v", c.Name, err, reason)
	}
}
