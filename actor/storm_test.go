package actor

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// storm is many goroutines that want few keys, on a store where everything may happen. The store and the rig watch: the
// rules of the store are kept, holds of one key never overlap, everybody is answered, and nothing is left.
type storm struct {
	workers, rounds, keys int
	panics                bool // keepers fail at random steps
	closes                bool // the directory is closed in the middle
	atOnce                bool // most answers come before the question has returned
}

func TestStorm(t *testing.T) {
	for name, s := range map[string]storm{
		"one key":              {workers: 24, rounds: 40, keys: 1},
		"some keys":            {workers: 32, rounds: 40, keys: 7},
		"keys come and go":     {workers: 8, rounds: 100, keys: 200},
		"failing keepers":      {workers: 24, rounds: 40, keys: 5, panics: true},
		"closed in the middle": {workers: 24, rounds: 40, keys: 5, closes: true},
		"quick answers":        {workers: 24, rounds: 40, keys: 5, panics: true, atOnce: true},
		"all of it":            {workers: 24, rounds: 40, keys: 5, panics: true, closes: true},
	} {
		t.Run(name, func(t *testing.T) {
			if stressed() {
				s.rounds *= 50
			}
			s.run(t, rand.Uint64())
		})
	}
}

func (s storm) run(t *testing.T, seed uint64) {
	t.Logf("seed %d", seed)
	var steps atomic.Uint64
	r := newRig(t, func(c *rigConfig) {
		c.free, c.slice, c.IdleTimeout = 2, ms, 2*ms
		c.Limits.MaxWaiters = 16
		c.Intensity.Restarts = 1_000_000
		if s.panics {
			c.Hook = func(_ int64, step string) {
				// A sequence that is spread like a random one, and that all keepers may draw from.
				switch n := steps.Add(1) * (seed | 1) * 0x9E3779B97F4A7C15; {
				case n>>32%301 == 0:
					panic("injected at " + step)
				case n>>32%301 == 1:
					runtime.Goexit()
				}
			}
		}
	})
	r.patience, r.store.atOnce = 20*time.Second, s.atOnce
	r.store.script = mishaps(seed)
	stop := make(chan struct{})
	var others, workers sync.WaitGroup
	others.Go(func() { s.meddle(r, seed, stop) })
	for n := range s.workers {
		workers.Go(func() { s.work(r, rand.New(rand.NewPCG(seed, uint64(n)))) })
	}
	if s.closes {
		for r.s.Counters.GrantsServer.Load() < 50 {
			runtime.Gosched()
		}
		others.Go(func() {
			if err := r.s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	close(stop)
	others.Wait()
	r.close()
	c := &r.s.Counters
	t.Logf("%d grants by the server, %d by hand, %d restarts, %d keepers failed", c.GrantsServer.Load(), c.GrantsLocal.Load(),
		c.Restarts.Load(), len(r.failures))
}

// mishaps makes a script: now and then something fails, or takes a while.
func mishaps(seed uint64) func(call) verdict {
	random := rand.New(rand.NewPCG(seed, 1<<40)) // the store's mu is held
	return func(c call) verdict {
		v := verdict{}
		if random.IntN(8) == 0 {
			v.after = time.Duration(random.IntN(200)) * time.Microsecond
		}
		switch c.kind {
		case fxTry, fxTryOwn, fxWait:
			switch random.IntN(50) {
			case 0:
				v.err, v.permanent = errBroken, random.IntN(8) == 0
			case 1:
				v.err, v.ended = errBroken, true
			case 2:
				v.unsent = errBroken
			case 3:
				v.again = c.kind == fxTry
			}
		case fxReserve:
			if random.IntN(25) == 0 {
				v.err, v.permanent = errBroken, random.IntN(8) == 0
			}
		case fxUnlock:
			switch random.IntN(60) {
			case 0:
				v.err = errBroken
			case 1:
				v.unsent = errBroken
			}
		default:
		}
		return v
	}
}

// meddle loses sessions, and takes locks as other processes do.
func (s storm) meddle(r *rig, seed uint64, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(seed, 1<<41))
	tick := time.NewTicker(300 * time.Microsecond)
	defer tick.Stop()
	taken := int64(-1)
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-tick.C:
		}
		if taken >= 0 {
			r.store.unlockOutside(taken)
			taken = -1
		} else if running && random.IntN(2) == 0 {
			taken = random.Int64N(int64(s.keys))
			r.store.lockOutside(taken)
		}
		if random.IntN(20) == 0 {
			r.store.loseHolder(random.Int64N(int64(s.keys)), errBroken)
		}
	}
}

// work acquires and releases; some claims are cancelled at any moment.
func (s storm) work(r *rig, random *rand.Rand) {
	for range s.rounds {
		terms := key(random.Int64N(int64(s.keys)), func(t *Terms) {
			t.Hold = HoldMode(random.IntN(3))
			t.Shared = random.IntN(2) == 0
			t.Try, t.Dedicated, t.PollFirst = random.IntN(4) == 0, random.IntN(8) == 0, random.IntN(4) == 0
			t.MaxAttempts = 1 + random.IntN(20)
		})
		c := r.prepare(terms)
		c.pause = func(int) time.Duration { return 100 * time.Microsecond }
		c.submit()
		var cancel sync.WaitGroup
		if c.submitted && random.IntN(3) == 0 {
			after := random.IntN(50)
			cancel.Go(func() {
				for range after {
					runtime.Gosched()
				}
				c.cancel()
			})
		}
		err := c.wait()
		if errors.Is(err, errSilence) {
			return
		}
		if err == nil {
			if random.IntN(4) == 0 {
				cancel.Go(func() { c.Await(nil) })
			}
			for range random.IntN(4) {
				runtime.Gosched()
			}
			r.settledRightly(c, c.release())
		} else if !s.mayBe(err, terms) {
			r.t.Errorf("%s: answered with %v", c.Name, err)
		}
		cancel.Wait()
	}
}

// mayBe says which answers a storm has for whom.
func (s storm) mayBe(err error, terms Terms) bool {
	switch {
	case errors.Is(err, errGaveUp), errors.Is(err, ErrAttempts), errors.Is(err, ErrTooManyWaiters):
		return true
	case errors.Is(err, ErrNotAcquired):
		return terms.Try
	case errors.Is(err, ErrKeeperFailed):
		return s.panics
	case errors.Is(err, ErrClosed):
		return s.closes
	default:
		return false
	}
}

// settledRightly checks that the end of a hold and the outcome of its release tell one story.
func (r *rig) settledRightly(c *caller, outcome error) {
	over := c.Over()
	switch {
	case over == nil:
		r.t.Errorf("%s: settled with %v, and the hold is not over", c.Name, outcome)
	case errors.Is(over, ErrLost) && !errors.Is(outcome, ErrLost):
		r.t.Errorf("%s: lost by %v, and settled with %v", c.Name, over, outcome)
	case outcome != nil && !errors.Is(outcome, ErrLost) && !errors.Is(outcome, ErrReleaseUnknown):
		r.t.Errorf("%s: settled with %v", c.Name, outcome)
	}
}
