package sim_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/internal/faultpoint"
	"github.com/lockkeeper/lockkeeper/manager"
)

// What users bring with them, and how it fails: backoffs and contexts. And keepers that fail.

// badBackoff is a user's, and fails in one of the ways that there are.
func (w *stack) badBackoff(k *call) func() backoff.BackOff {
	kind := w.src.Pick(5)
	return func() backoff.BackOff {
		w.mu.Lock()
		k.badBackoff = kind != 4
		w.seen.add(fmt.Sprintf("bad backoff %d", kind))
		w.mu.Unlock()
		switch kind {
		case 0:
			panic("a user's backoff")
		case 1:
			runtime.Goexit()
		case 2:
			return nil
		case 3:
			return &ownSteps{step: -time.Second}
		}
		<-w.unblock
		return w.shortBackoff()
	}
}

// userContext is not the standard library's. It counts who is registered with it.
type userContext struct {
	context.Context

	mu            sync.Mutex
	now, everSeen int
}

// Value hides the standard library's context from package context.
func (c *userContext) Value(any) any { return nil }

// AfterFunc is what package context registers by.
func (c *userContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	c.now++
	c.everSeen++
	c.mu.Unlock()
	left := sync.OnceFunc(func() {
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	})
	inner := context.AfterFunc(c.Context, func() {
		defer left()
		f()
	})
	return func() bool {
		if !inner() {
			return false
		}
		left()
		return true
	}
}

// registeredRightly: one registration for each acquisition, and none after it is over.
func (w *stack) registeredRightly() {
	type uses struct{ all, alive int }
	used := map[*userContext]uses{}
	for _, k := range w.calls {
		c, ok := k.ctx.(*userContext)
		if !ok {
			continue
		}
		u := used[c]
		u.all++
		if !k.returned || k.err == nil && k.work == nil && !k.detach && len(k.outcomes) == 0 {
			u.alive++
		}
		used[c] = u
	}
	for c, u := range used {
		c.mu.Lock()
		if c.now > u.alive || c.everSeen > u.all {
			w.violate("one registration an acquisition", "%d are registered and %d ever were, of %d acquisitions that have not ended and %d in all",
				c.now, c.everSeen, u.alive, u.all)
		}
		c.mu.Unlock()
	}
}

// doom is what a keeper has before it.
type doom struct {
	key   string
	steps int
	exits bool // by runtime.Goexit; else it panics
}

// failure of a key's keeper: who had come by then may be concerned, and who comes in the time after it.
type failure struct {
	calls int
	at    time.Time
}

// failKeeper lets a keeper fail at one of its next steps.
func (w *stack) failKeeper() {
	p := w.programs[w.src.Pick(len(w.programs))]
	key := w.keys[w.src.Pick(len(w.keys))]
	d := &doom{key: key, steps: w.src.Pick(12), exits: w.src.Chance(2)}
	w.say("the keeper of %s in %v will fail in %d steps, by Goexit: %v", key, p, d.steps, d.exits)
	id := p.m.Key(key).ID()
	w.mu.Lock()
	defer w.mu.Unlock()
	p.doomed[id] = d
}

// step is called at each step of a keeper's life, on its goroutine.
func (p *program) step(id int64, step string) {
	p.w.mu.Lock()
	d := p.doomed[id]
	if d == nil {
		p.w.mu.Unlock()
		return
	}
	if d.steps--; d.steps >= 0 {
		p.w.mu.Unlock()
		return
	}
	delete(p.doomed, id)
	p.failed[d.key] = failure{len(p.w.calls), time.Now()}
	p.w.seen.add("keeper failed")
	p.w.say("          the keeper of %s in %v fails at %s", d.key, p, step)
	p.w.mu.Unlock()
	if d.exits {
		runtime.Goexit()
	}
	panic("the history wants it")
}

// keeperFailed reports whether a call may be concerned by a failure of its key's keeper. With mu.
func (k *call) keeperFailed() bool {
	f, ok := k.p.failed[k.key]
	return ok && (k.n <= f.calls || k.began.Before(f.at.Add(stackRestarts)))
}

var installing sync.Mutex

// open makes a program's manager. The hook is the process's, and is read when a manager is made.
func (p *program) open(source manager.Source, opts ...manager.Option) (*manager.Manager, error) {
	installing.Lock()
	defer installing.Unlock()
	faultpoint.Install(p.step)
	defer faultpoint.Install(nil)
	return manager.New(context.Background(), source, opts...)
}
