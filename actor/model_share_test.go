package actor

import (
	"time"

	"pgregory.net/rapid"
)

// The part of the model that knows of locks that are shared.

// hears: what was asked after the grant says whether somebody elsewhere waits for the lock.
func (w *model) hears(t Told) {
	if len(w.holders) > 0 && !w.busy && w.shared && t.Asked.After(w.tenure) {
		w.draining = t.Waiters
	}
}

// mayShare reports whether c may share the lock with those who hold it, were nobody before it.
func (w *model) mayShare(c *Claim) bool {
	return c.Shared && w.shared && len(w.holders) > 0 && !w.busy && !w.draining && !w.closed && !w.lapsed && w.now.Before(w.trust) &&
		(!c.Dedicated || w.onOwn)
}

func (w *model) lookAtReaders() {
	w.lapsed = w.lapsed || !w.now.Before(w.trust)
	if c := w.first(); c != nil && w.mayShare(c) {
		w.fail("somebody waits, and might share the lock")
	}
	if c := w.first(); c != nil && w.busy && w.op == opPoll && !w.stopped && !w.inherited && c.Shared != w.shared {
		w.fail("it is polled in a mode that nobody waits for")
	}
	if w.joined && w.now.Sub(w.asked) >= askReaders {
		w.fail("a reader joins, and for %v it was not asked whether somebody elsewhere waits", w.now.Sub(w.asked))
	}
}

// hearsay is the answer to a question of some time ago.
func (w *model) hearsay(t *rapid.T) {
	ago := rapid.SampledFrom([]time.Duration{0, 10 * time.Millisecond, time.Hour}).Draw(t, "asked")
	w.step(Told{Holder: &Holder{PID: 1}, Waiters: rapid.Bool().Draw(t, "waiters"), Asked: w.now.Add(-ago)})
}

// hearsNow answers the question that was asked last.
func (w *model) hearsNow(t *rapid.T) {
	if len(w.holders) == 0 || !w.shared {
		t.Skip("nobody shares the lock")
	}
	w.now = w.now.Add(1)
	w.step(Told{Holder: &Holder{PID: 1}, Waiters: rapid.Bool().Draw(t, "waiters"), Asked: w.now})
}
