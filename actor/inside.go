package actor

import "slices"

// What work inside a hold waits for: by it, callers find out that they would wait for each other in a circle. Each keeper knows it of its
// own key's holder.

// Holding is a hold of a key in this process.
type Holding struct {
	Owner Owner
	// Waits are the ids of the keys that work inside the hold waits for.
	Waits []int64
}

// idList is nearly always nil, and costs a claim no more than that.
type idList struct{ ids []int64 }

// changed is the list with an id more, or with one less.
func (l *idList) changed(id int64, ends bool) *idList {
	switch {
	case !ends && l == nil:
		return &idList{[]int64{id}}
	case !ends:
		l.ids = append(l.ids, id)
	case l != nil:
		if i := slices.Index(l.ids, id); i >= 0 {
			l.ids = slices.Delete(l.ids, i, i+1)
		}
		if len(l.ids) == 0 {
			return nil
		}
	}
	return l
}

// WaitBegins says that work inside the hold of c waits for the key with an id. It waits until the keeper has received that, so that
// who asks later is told.
func (c *Claim) WaitBegins(id int64) { c.send(inside{claim: c, id: id}) }

// WaitEnds says that it waits no longer: once for each WaitBegins.
func (c *Claim) WaitEnds(id int64) { c.send(inside{claim: c, id: id, ends: true}) }

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
		h := Holding{Owner: c.Owner}
		if c.waits != nil {
			h.Waits = slices.Clone(c.waits.ids)
		}
		all = append(all, h)
	}
	return all
}
