package sim_test

import (
	"slices"
	"testing/synctest"
	"time"
)

// heal does what is due: everything arrives, everybody is answered, and nobody disturbs.
func (w *stack) heal() {
	w.connectionsAgain()
	for range w.keys {
		w.outsidersLeave()
	}
	w.serve(func(c *wire) bool {
		c.slow, c.cutSoon = false, false
		return c.canExecute() || c.canDeliver() || c.canHear()
	})
}

// serve does what is due, on one connection after the other, until none is due or it has been long enough.
func (w *stack) serve(isDue func(c *wire) bool) {
	for range 200 {
		w.mu.Lock()
		i := slices.IndexFunc(w.wires, isDue)
		if i >= 0 {
			switch c := w.wires[i]; {
			case c.canExecute():
				c.execute()
			case c.canDeliver():
				c.deliverNext()
			default:
				c.hear()
			}
		}
		w.mu.Unlock()
		if i < 0 || !w.fine() {
			return
		}
		w.settle()
	}
}

func (w *stack) unfinished() *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.calls {
		if !k.returned || k.work == nil && k.err == nil && (k.released == 0 || len(k.outcomes) == 0) {
			return k
		}
	}
	return nil
}

// goesWell lets all go well from here on, until everybody has been served and nothing is left at the server.
func (w *stack) goesWell() {
	close(w.unblock)
	w.mu.Lock()
	for _, p := range w.all {
		clear(p.doomed)
	}
	w.mu.Unlock()
	for range 200 {
		w.finishAll()
		w.heal()
		if !w.fine() || w.unfinished() == nil {
			break
		}
		for _, k := range w.calls {
			if k.returned && k.work == nil && k.err == nil && len(k.outcomes) == 0 && k.underWay == 0 {
				k.release(false)
				w.settle()
			}
		}
		w.pass(30 * time.Millisecond)
	}
	if k := w.unfinished(); k != nil && w.fine() {
		w.violate("every call returns", "all has gone well for seconds, and %v has no end", k)
	}
	if !w.fine() {
		return
	}
	// A question who holds a lock may be put off for a second, also where nobody waits for the answer any more. The session that it is
	// asked on is closed when it has been idle for its limit after that.
	for range 60 {
		w.heal()
		w.pass(40 * time.Millisecond)
	}
	w.atRest()
	w.asNew()
}

// asNew: whatever has happened, each lock can be had again, in each program, without a restart.
func (w *stack) asNew() {
	w.pass(stackRestarts) // a key that was given up for a while is not, any more
	for _, p := range w.all {
		for _, key := range w.keys {
			if p.closing || !w.fine() {
				continue
			}
			k := w.newCall(p, key)
			k.shared = (len(key)+int(key[0])+p.n)%2 == 0
			k.start()
			for range 20 {
				w.settle()
				w.heal()
				if k.returned || !w.fine() {
					break
				}
				w.pass(30 * time.Millisecond)
			}
			if !k.returned || k.err != nil {
				w.violate("recovery", "all is well again, and %v was answered with %v", k, k.err)
				return
			}
			k.release(false)
			w.settle()
			w.heal()
		}
	}
}

// atRest looks at what is left when nobody holds or waits.
func (w *stack) atRest() {
	w.mu.Lock()
	for _, id := range w.lockIDs() {
		for _, owner := range w.lock(id).owners {
			if owner.c != nil {
				w.violate("no leak", "%v has the lock %d at the server, and nobody holds it", owner.c.p, id)
			}
		}
	}
	w.mu.Unlock()
	w.mu.Lock()
	for _, c := range w.wires {
		if !c.closed {
			w.violate("no leak", "%v of %v has been unused for long, and is open", c, c.p)
		}
	}
	w.mu.Unlock()
	for _, p := range w.all {
		if s := p.m.Stats(); s.Held != 0 || s.Waiting != 0 || s.Sessions.Waiting+s.Sessions.Dedicated+s.Sessions.Queued > 0 {
			w.violate("no leak", "%v at rest: %d held, %d waiting, sessions %+v", p, s.Held, s.Waiting, s.Sessions)
		}
	}
}

// closeAll closes every program, also after a rule was broken: the goroutines must go.
func (w *stack) closeAll() {
	w.finishAll()
	for _, k := range w.calls {
		k.cancelled = time.Now()
		k.cancel()
	}
	for _, p := range w.all {
		if !p.closing {
			p.close()
		}
	}
	synctest.Wait()
	for range 100 {
		w.heal()
		if !slices.ContainsFunc(w.all, func(p *program) bool { return !p.isClosed() }) {
			break
		}
		time.Sleep(40 * time.Millisecond) //nolint:forbidigo // the bubble's clock
		w.settle()
	}
	for _, p := range w.all {
		if !p.isClosed() {
			w.violate("every call returns", "Close of %v does not return", p)
		}
	}
	w.heal()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.wires {
		if !c.closed {
			w.violate("no leak", "%v of %v is open after the end", c, c.p)
		}
		c.backend.end(false)
	}
}
