package actor

import "sync/atomic"

// All callers share the directory's mailbox and turn, which costs them more than what it does for a claim. So where a key
// has been claimed a moment ago there is a shortcut, and the claim goes to the keeper at once.

// shortcuts lead to the keepers that the directory has forwarded a claim to in this epoch. They end with the epoch: so the
// directory hears once in each of every key in use, and of a keeper that is asked to retire there is none. They say where
// a keeper is, not whether it lets a claim in; and of keys that share a place two have one.
type shortcuts [1 << 13][2]atomic.Pointer[keeper]

func (s *shortcuts) place(id int64) *[2]atomic.Pointer[keeper] { return &s[uint64(id)%uint64(len(s))] }

func (s *shortcuts) find(id int64) *keeper {
	p := s.place(id)
	for i := range p {
		if k := p[i].Load(); k != nil && k.id == id {
			return k
		}
	}
	return nil
}

// add and remove are the directory's.
func (s *shortcuts) add(k *keeper) {
	switch p := s.place(k.id); {
	case p[0].Load() == k || p[1].Load() == k:
	case p[0].Load() == nil:
		p[0].Store(k)
	default:
		p[1].Store(k)
	}
}

func (s *shortcuts) remove(k *keeper) {
	p := s.place(k.id)
	p[0].Store(nil) // whoever else is there ends with the same epoch
	p[1].Store(nil)
}

// shortcut is the keeper of the claim's key, which has let the claim in; nil where that has to go by the directory. It goes
// there too while the directory has anything to do: an earlier claim on the key may be among that, and comes first. The
// mailbox is looked at before the turn, since what has left it is dealt with under the turn.
func (d *Directory) shortcut(c *Claim) *keeper {
	k := d.shortcuts.find(c.ID)
	if k == nil || k.name != c.Name || !d.inbox.Empty() || d.turn.Taken() || !k.door.enter() {
		return nil
	}
	return k
}

// door counts the claims that a keeper was to get, ever. It is shut for good by who knows that it has got as many: then none
// is on its way to it, and none comes any more.
type door struct{ entered atomic.Uint64 }

const shut = 1 << 63

func (d *door) enter() bool { return d.entered.Add(1) < shut }

func (d *door) shut(received uint64) bool { return d.entered.CompareAndSwap(received, shut) }
