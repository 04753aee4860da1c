package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// rig is a directory on a fake store, and an oracle for exclusion: two live holds of one key are a fault.
type rig struct {
	t        testing.TB
	store    *fakeStore
	d        *Directory
	free     int // sessions for one key alone that the store had at first
	closed   bool
	patience time.Duration // after which an answer is missed

	mu       sync.Mutex
	live     map[int64]*caller // who was granted a key last
	callers  []*caller
	failures []KeeperFailure
	wrong    []string
}

// caller is a claim and the goroutine that waits for its answer.
type caller struct {
	Claim
	rig      *rig
	answered chan struct{} // closed when Err may be read
	tenure   int           // the server's grant that this hold rests on
}

var (
	errGaveUp = errors.New("the caller gave up")
	errBroken = errors.New("connection reset")

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
		Limits:    Limits{MaxWaiters: 5000, QuantumTime: 20 * time.Millisecond, QuantumGrants: 100},
		Intensity: IntensityLimit{Restarts: 5, Window: 10 * time.Second},
		MaxKeys:   1_000_000, Linger: 2 * time.Second,
	}}
	if change != nil {
		change(&c)
	}
	r := &rig{t: t, store: newFakeStore(), free: c.free, live: map[int64]*caller{}, patience: time.Minute}
	r.store.free, r.store.slice = c.free, c.slice
	c.Store = r.store
	c.Failed = func(f KeeperFailure) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failures = append(r.failures, f)
	}
	r.d = NewDirectory(c.Config)
	t.Cleanup(r.close)
	return r
}

// close ends the directory and looks at what is left. Once is enough.
func (r *rig) close() {
	if r.closed {
		return
	}
	r.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	if err := r.d.Close(ctx); err != nil {
		r.t.Error(err)
		return
	}
	for _, c := range r.callers {
		if err := c.wait(); errors.Is(err, errSilence) {
			return
		} else if err != nil {
			continue
		}
		if !c.isOver() {
			r.t.Errorf("%s: granted and never settled", c.Name)
		}
		if c.Over() == nil {
			r.t.Errorf("%s: settled, and its hold is not over", c.Name)
		}
	}
	for _, wrong := range append(r.wrong, r.store.leftovers(r.free)...) {
		r.t.Error(wrong)
	}
	for _, n := range []struct {
		what string
		got  int64
	}{
		{"held", r.d.Counters.Held()}, {"waiting", r.d.Counters.Waiting()}, {"keys", r.d.Counters.Keys.Load()},
	} {
		if n.got != 0 {
			r.t.Errorf("after Close the counter %q is at %d", n.what, n.got)
		}
	}
}

func (c *caller) isOver() bool {
	select {
	case <-c.Settled():
		return true
	default:
		return false
	}
}

// key makes the terms of a claim that waits, by the linear backoff, and gives up at the tenth failure.
func key(id int64, change ...func(*Terms)) Terms {
	t := Terms{Name: fmt.Sprintf("key %d", id), ID: id, MaxAttempts: 10, NewBackoff: linear}
	for _, f := range change {
		f(&t)
	}
	return t
}

func try(t *Terms)       { t.Try = true }
func dedicated(t *Terms) { t.Dedicated = true }
func pollFirst(n int) func(*Terms) {
	return func(t *Terms) { t.PollFirst, t.MaxAttempts = true, n }
}
func attempts(n int) func(*Terms) { return func(t *Terms) { t.MaxAttempts = n } }

func linear() backoff.BackOff { return &steps{} }

// steps pauses for 100 ms, 200 ms, 300 ms and so on.
type steps struct{ n time.Duration }

func (s *steps) NextBackOff() time.Duration { s.n++; return s.n * 100 * time.Millisecond }
func (s *steps) Reset()                     { s.n = 0 }

// prepare makes a claim that is not on its way yet.
func (r *rig) prepare(t Terms) *caller {
	c := &caller{rig: r, answered: make(chan struct{})}
	c.Terms = t
	c.Init(r.d)
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

func (c *caller) submit() {
	c.rig.d.Submit(&c.Claim)
	go func() {
		defer close(c.answered)
		if c.Wait() == nil {
			c.rig.granted(c)
		}
	}()
}

// granted checks that the hold before this one was over before this one began, and that the server knows of it.
func (r *rig) granted(c *caller) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.tenure = r.store.tenures(c.ID)
	if c.Over() != nil {
		return // so the next one may have been here before
	}
	if old := r.live[c.ID]; old != nil && old.Over() == nil {
		r.wrong = append(r.wrong, fmt.Sprintf("two live holds of %s", c.Name))
	}
	r.live[c.ID] = c
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

// release ends a hold and waits for what became of the lock.
func (c *caller) release() error {
	c.End(ErrReleased)
	select {
	case <-c.Settled():
		return c.Outcome()
	case <-time.After(c.rig.patience):
		c.rig.t.Errorf("%s: a hold was not settled", c.Name)
		return errSilence
	}
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
