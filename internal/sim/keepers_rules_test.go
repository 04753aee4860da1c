package sim_test

import (
	"errors"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// exclusion: one process has one holder of a key, or such as share it; who believes to hold a lock has it at the server, in its
// mode, unless the server itself has ended the session a moment ago. With mu, as the rest of this file.
func (w *world) exclusion() {
	holders := map[keyOf]*claim{}
	backed := map[int64]*claim{}
	for _, c := range w.open {
		if !c.live() {
			continue
		}
		key := keyOf{c.p, c.ID}
		if other := holders[key]; other != nil && !(other.Shared && c.Shared) {
			w.violate("exclusion", "%v and %v hold at one time", other, c)
		}
		holders[key] = c
		s := c.Session.(*session) //nolint:forcetypeassert // it is ours
		if s.killed {
			continue
		}
		if other := w.keptFrom(c); other != nil {
			w.violate("minimum holds", "%v holds since %v, and %v was to keep the lock for %v from %v", c, c.Granted, other,
				other.MinHold, other.Granted)
		}
		if other := backed[c.ID]; other != nil && !(other.Shared && c.Shared) {
			w.violate("exclusion", "%v and %v hold at one time", other, c)
		}
		backed[c.ID] = c
		if lock := w.server.lock(c.ID); lock.of(s) == 0 || lock.shared != c.Shared {
			w.violate("exclusion", "%v holds, and the server has not the lock on its session", c)
		}
		if len(c.ended) > 0 {
			w.violate("every call returns", "%v was ended by %v, and holds on", c, c.ended)
		}
	}
}

// keptFrom is a claim whose minimum hold a later grant has broken into. A keeper that has failed keeps nothing, nor does a session
// that the server has ended. With mu.
func (w *world) keptFrom(c *claim) *claim {
	for _, other := range w.past {
		if other.ID == c.ID && c.Granted.After(other.Granted) && other.keeps(c.Granted) && !other.p.injected[c.ID] &&
			!other.Session.(*session).killed { //nolint:forcetypeassert // it is ours
			return other
		}
	}
	return nil
}

// keeps reports whether the lock stays with a claim at a time although its hold is over.
func (c *claim) keeps(at time.Time) bool {
	if c.Err != nil || c.submitErr != nil || c.p.dead || c.p.closing || !at.Before(c.Granted.Add(c.MinHold)) {
		return false
	}
	over := c.Over()
	return c.Session.Lost() == nil && (errors.Is(over, actor.ErrReleased) || errors.Is(over, errGaveUp))
}

// nothingLeaks: a lock at the server is a holder's, or something is under way for its key; so is a session of a key's own.
func (w *world) nothingLeaks() {
	for _, p := range w.all {
		for id, l := range p.links {
			if l.busy != nil || l.asking != nil || w.wanted(p, id) {
				continue
			}
			if s := l.heldOn; s != nil && s.lost.Load() == nil {
				w.violate("no leak", "%v has the lock %d at the server, and nobody holds it", p, id)
			}
			if l.own != nil {
				w.violate("no leak", "%v keeps a session for %d, and nobody wants it", p, id)
			}
		}
	}
}

// wanted reports whether somebody waits for a key, holds it, has not heard what became of it, or keeps it for a minimum hold.
func (w *world) wanted(p *process, id int64) bool {
	for _, c := range w.open {
		if c.p == p && c.ID == id {
			return true
		}
	}
	for _, c := range w.past {
		if c.p == p && c.ID == id && c.keeps(time.Now()) {
			return true
		}
	}
	return false
}

// waitsRightly: who waits has something to wait for.
func (w *world) waitsRightly(c *claim) {
	if c.answered {
		if len(c.ended) > 0 && c.Over() == nil {
			w.violate("every call returns", "%v was ended, and is not over", c)
		}
		if c.Err == nil && c.Over() == nil && c.p.closing &&
			(c.Hold != actor.HoldForWork || len(c.told) != 1 || !errors.Is(c.told[0], actor.ErrClosed)) {
			w.violate("Close ends every hold", "%v holds on, and was told %v", c, c.told)
		}
		return
	}
	l := c.p.links[c.ID]
	underWay := l != nil && (l.busy != nil || l.asking != nil)
	switch {
	case c.gaveUp:
		w.violate("every call returns", "%v gave up, and waits", c)
	case c.p.isClosed():
		w.violate("every call returns", "%v waits in a process that is closed", c)
	case c.Try && !underWay:
		w.violate("a try does not wait", "%v", c)
	case w.outlived(c):
		w.violate("attempts are bounded", "%v has outlived its %d attempts", c, c.MaxAttempts)
	}
	w.readersShare(c)
}

// outlived reports whether a claim goes on waiting after more failures than it wanted to bear. A keeper that has failed
// does not count what its predecessor began, so a key where that has happened is passed over.
func (w *world) outlived(c *claim) bool {
	key := keyOf{c.p, c.ID}
	return !c.p.injected[c.ID] && w.opFailures[key]-c.opFailures >= max(1, c.MaxAttempts)
}

// leftovers looks at what is left when everything has been closed.
func (w *world) leftovers() {
	if n := len(w.open); n > 0 {
		w.violate("every call returns", "%d claims are not answered or not settled at the end, %v among them", n, w.open[0])
	}
	for _, c := range w.past {
		if c.Err != nil && c.submitErr == nil && len(c.Replies()) > 0 {
			w.violate("one answer each", "%v was answered after it had been refused", c)
		}
		if c.pending > 0 {
			w.violate("every call returns", "%v: %d wait for its outcome at the end", c, c.pending)
		}
	}
	for id, l := range w.server.locks {
		for _, o := range l.owners {
			if o.s.p != nil && o.s.lost.Load() == nil {
				w.violate("no leak", "lock %d is left with %v", id, o.s)
			}
		}
	}
	if len(w.ops) > 0 || len(w.asking) > 0 {
		w.violate("no leak", "%d operations and %d reservations are under way after the end", len(w.ops), len(w.asking))
	}
	for _, p := range w.all {
		for id, l := range p.links {
			if l.busy != nil || l.own != nil || l.asking != nil || l.heldOn != nil {
				w.violate("no leak", "%v: the keeper of %d ended with busy=%v session=%v asking=%v held=%v", p, id, l.busy != nil,
					l.own != nil, l.asking != nil, l.heldOn != nil)
			}
		}
		countersAtRest(w, p)
	}
}

func countersAtRest(w *world, p *process) {
	c := &p.sup.Counters
	if held, waiting, keys := c.Held(), c.Waiting(), c.Keys.Load(); held != 0 || waiting != 0 || keys != 0 {
		w.violate("no leak", "%v counts %d held, %d waiting and %d keys after the end", p, held, waiting, keys)
	}
}
