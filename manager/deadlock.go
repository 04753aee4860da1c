package manager

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/actor"
)

// insideWait is a wait for a key by work inside of holds: the context that it came with is that of a hold, or derived from it. The keepers of
// the keys that are held know of it. All of it runs on the caller's goroutine.
type insideWait struct {
	m     *Manager
	holds []*actor.Claim // that it is inside of, the innermost first
	id    int64
}

// beginWait registers the caller's wait for k, and fails if k's holder in this process waits for a key that the caller holds, directly or
// over other holders. Every caller registers before it looks: the last of the callers that close a circle sees all of it.
func (m *Manager) beginWait(outer *Lock, k Key) (*insideWait, error) {
	w := &insideWait{m: m, id: k.id}
	for l := outer; l != nil; l = l.outer {
		if l.manager == m {
			w.holds = append(w.holds, l.claims()...)
		}
	}
	for _, c := range w.holds {
		c.WaitBegins(k.id)
	}
	if path := w.circle(k.id, make(map[*actor.Claim]bool)); path != nil {
		w.end()
		return nil, fmt.Errorf("%w: %s", ErrDeadlock, w.story(path))
	}
	return w, nil
}

// end says that the caller does not wait any more.
func (w *insideWait) end() {
	if w == nil {
		return
	}
	for _, c := range w.holds {
		c.WaitEnds(w.id)
	}
}

// circle follows who waits for whom from the holder of a key on. It returns the holds on the way back to one of the caller's own; nil if
// there is no way.
func (w *insideWait) circle(id int64, seen map[*actor.Claim]bool) (path []*actor.Claim) {
	for _, holding := range w.m.supervisor.HoldersOf(id) {
		c := claimOf(holding.Owner, id)
		if c == nil || seen[c] {
			continue
		}
		if slices.Contains(w.holds, c) {
			return []*actor.Claim{c}
		}
		seen[c] = true
		for _, next := range holding.Waits {
			if path := w.circle(next, seen); path != nil {
				return append([]*actor.Claim{c}, path...)
			}
		}
	}
	return nil
}

// claimOf is an owner's claim of a key.
func claimOf(o actor.Owner, id int64) *actor.Claim {
	var claims []*actor.Claim
	switch o := o.(type) {
	case *Lock:
		return &o.claim
	case *LockSet:
		if lead := o.lead.Load(); lead != nil {
			claims = o.others
		}
	}
	if i := slices.IndexFunc(claims, func(c *actor.Claim) bool { return c.ID == id }); i >= 0 {
		return claims[i]
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
