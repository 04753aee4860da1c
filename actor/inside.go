package actor

import "slices"

// What work inside a hold waits for: by it, callers find out that they would wait for each other in a circle. Each keeper knows it of its
// own key's holder.

// Holding is a hold of a key in this process.
type Holding struct {
	Claim *Claim
	// Waits are what work inside the hold waits for.
	Waits []Want
	// Queued: somebody here waits for the key. Then those who would share it wait too, even if it is shared.
	Queued bool
}

// Want is a lock that somebody waits for.
type Want struct {
	ID int64
	// Shared: whoever shares the lock is not in the way, as long as nobody is queued.
	Shared bool
}

// wantList is nearly always nil, and costs a claim no more than that.
type wantList struct{ all []Want }

// changed is the list with one more, or with one less.
func (l *wantList) changed(w Want, ends bool) *wantList {
	switch {
	case !ends && l == nil:
		return &wantList{[]Want{w}}
	case !ends:
		l.all = append(l.all, w)
	case l != nil:
		if i := slices.Index(l.all, w); i >= 0 {
			l.all = slices.Delete(l.all, i, i+1)
		}
		if len(l.all) == 0 {
			return nil
		}
	}
	return l
}

// WaitBegins says that work inside the hold of c waits for a lock. It waits until the keeper has received that, so that
// who asks later is told.
func (c *Claim) WaitBegins(w Want) { c.send(inside{claim: c, wanted: w}) }

// WaitEnds says that it waits no longer: once for each WaitBegins.
func (c *Claim) WaitEnds(w Want) { c.send(inside{claim: c, wanted: w, ends: true}) }

// HoldersOf is who holds a key in this process, and for what work inside those holds waits. It asks the key's keeper, which always receives.
func (s *Supervisor) HoldersOf(id int64) []Holding {
	k, ok := s.find(id)
	if !ok {
		return nil
	}
	answer := make(chan []Holding, 1)
	select {
	case k.requests <- whoHolds{answer}:
		return <-answer
	case <-k.done:
		return nil
	}
}

func (k *keeper) holding() (all []Holding) {
	for c := k.machine.holders.head; c != nil; c = c.next {
		h := Holding{Claim: c, Queued: k.machine.queue.n > 0}
		if c.waits != nil {
			h.Waits = slices.Clone(c.waits.all)
		}
		all = append(all, h)
	}
	return all
}
