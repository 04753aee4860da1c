package manager

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
)

// insideWait is a wait for a key by work inside of holds: the context that it came with is that of a hold, or derived from it. The keepers of
// the keys that are held know of it. If it lasts, so do other processes: see watcher. It runs on the caller's goroutine.
type insideWait struct {
	m      *Manager
	holds  []*actor.Claim // that it is inside of, the innermost first; and what a set holds that is taken in order
	told   int            // of holds: those whose keepers know of the wait
	set    *LockSet       // the set that is taken in order, which knows of the wait itself; nil if there is none
	wanted actor.Want
	claim  *actor.Claim // the claim that waits
	timer  *time.Timer  // begins the watch; nil until the claim is submitted
	// Closed by the timer's function when the watcher has received the wait, or has ended; received by end; nothing is sent.
	watched chan struct{}
}

// beginWait registers the wait of l's claim for k, and fails if k's holder in this process waits for a key that the caller holds, directly or
// over other holders. Every caller registers before it looks: the last of the callers that close a circle sees all of it. before are the
// locks that a set holds already which is taken in order.
func (m *Manager) beginWait(l *Lock, k Key, before []*actor.Claim) (*insideWait, error) {
	w := &insideWait{m: m, claim: &l.claim, wanted: actor.Want{ID: k.id, Shared: l.claim.Shared}}
	for outer := l.outer; outer != nil; outer = outer.outer {
		if outer.manager == m {
			w.holds = append(w.holds, outer.claims()...)
		}
	}
	w.told = len(w.holds)
	for _, c := range w.holds {
		c.WaitBegins(w.wanted)
	}
	if len(before) > 0 {
		w.holds = append(w.holds, before...)
		w.set = setOf(before[0])
		w.set.wanted.Store(&w.wanted)
	}
	if err := w.look(); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// look fails if the wait is part of a circle.
func (w *insideWait) look() error {
	if path := w.circle(w.wanted, make(map[*actor.Claim]bool)); path != nil {
		return fmt.Errorf("%w: %s", ErrDeadlock, w.story(path))
	}
	return nil
}

// watch has the watcher take the wait when it has lasted. The claim has been submitted; where it is to share a lock that is shared, somebody may
// have been queued before it since the caller looked.
func (w *insideWait) watch() {
	if w == nil {
		return
	}
	if w.wanted.Shared {
		if err := w.look(); err != nil {
			w.claim.Withdraw(err)
		}
	}
	watcher := w.m.watcher
	w.watched = make(chan struct{})
	w.timer = time.AfterFunc(longWait, func() {
		defer close(w.watched)
		select {
		case watcher.begins <- w:
		case <-watcher.done:
		}
	})
}

// end says that the caller does not wait any more.
func (w *insideWait) end() {
	if w == nil {
		return
	}
	if w.timer != nil && !w.timer.Stop() {
		<-w.watched
		select {
		case w.m.watcher.ends <- w:
		case <-w.m.watcher.done:
		}
	}
	if w.set != nil {
		w.set.wanted.Store(nil)
	}
	for _, c := range w.holds[:w.told] {
		c.WaitEnds(w.wanted)
	}
}

// circle follows who waits for whom from the holders of a key on. It returns the holds on the way back to one of the caller's own; nil if
// there is no way.
func (w *insideWait) circle(wanted actor.Want, seen map[*actor.Claim]bool) (path []*actor.Claim) {
	for _, holding := range w.m.supervisor.HoldersOf(wanted.ID) {
		c := holding.Claim
		if seen[c] || wanted.Shared && c.Shared && !holding.Queued {
			continue
		}
		if slices.Contains(w.holds, c) {
			return []*actor.Claim{c}
		}
		seen[c] = true
		if set := setOf(c); set != nil {
			if next := set.wanted.Load(); next != nil {
				holding.Waits = append(holding.Waits, *next)
			}
		}
		for _, next := range holding.Waits {
			if path := w.circle(next, seen); path != nil {
				return append([]*actor.Claim{c}, path...)
			}
		}
	}
	return nil
}

// setOf is the set that a claim is of; nil if it is of none.
func setOf(c *actor.Claim) *LockSet {
	switch owner := c.Owner.(type) {
	case *lockOwner:
		return owner.set
	case *setOwner:
		return (*LockSet)(owner)
	}
	return nil
}

// claims are those of the hold: one, or a set's.
func (l *Lock) claims() []*actor.Claim {
	all := []*actor.Claim{&l.claim}
	if l.set != nil {
		all = append(all, l.set.others...)
	}
	return all
}

// story names the keys of a circle, in the order in which each is waited for by whoever holds the one before.
func (w *insideWait) story(path []*actor.Claim) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the caller holds %s", quoteKey(path[len(path)-1].Name))
	for i, c := range path {
		if i == len(path)-1 {
			fmt.Fprintf(&b, " and that one waits for %s, the caller's own", quoteKey(c.Name))
			break
		}
		fmt.Fprintf(&b, ", %s is held by another since %s", quoteKey(c.Name), c.Granted.Format("15:04:05.000"))
	}
	return b.String()
}
