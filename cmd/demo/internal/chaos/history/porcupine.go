package history

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// act is an operation of the lock's model: a grant, or the end of a hold.
type act struct {
	hold uint64
	take bool
	room int
}

// holders is the state of the lock's model: who holds it, sorted, and for how many it has room meanwhile.
type holders struct {
	room  int
	holds []uint64
}

// lockModel is the lock of one key: exclusive (room for one), shared (for all), or a semaphore (for n). Those who hold at one time
// agree on the room.
var lockModel = porcupine.Model{
	Init: func() any { return holders{} },
	Step: func(state, input, _ any) (bool, any) {
		s, _ := state.(holders)
		a, _ := input.(act)
		i, held := slices.BinarySearch(s.holds, a.hold)
		switch {
		case !a.take && len(s.holds) == 1:
			return held, holders{}
		case !a.take && held:
			return true, holders{s.room, slices.Delete(slices.Clone(s.holds), i, i+1)}
		case !a.take, len(s.holds) > 0 && (s.room != a.room || len(s.holds) >= s.room):
			return false, s
		}
		return true, holders{a.room, slices.Insert(slices.Clone(s.holds), i, a.hold)}
	},
	Equal: func(a, b any) bool {
		s, _ := a.(holders)
		t, _ := b.(holders)
		return s.room == t.room && slices.Equal(s.holds, t.holds)
	},
	Hash: func(state any) (sum uint64) {
		s, _ := state.(holders)
		for _, hold := range s.holds {
			sum = (sum ^ hold) * 0x9e3779b97f4a7c15
		}
		return sum
	},
}

// checkBound is far more than a window takes. A window that is not decided by then is a problem of the check.
const checkBound = 30 * time.Second

// linearizable asks Porcupine whether holds of one key, sorted by their grants, are those of a lock that begins free.
func (r *rules) linearizable(holds []*Hold) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(lockModel, r.operations(holds, true), checkBound)
}

// operations turns holds into the model's operations. If tighten is set it moves calls as the package comment says.
func (r *rules) operations(holds []*Hold, tighten bool) []porcupine.Operation {
	operations := make([]porcupine.Operation, 0, 2*len(holds))
	var earliest int64 // no hold granted so far can have ended before
	for _, h := range holds {
		asked := h.Asked
		if tighten && earliest > asked && earliest <= h.Granted {
			asked = earliest
		}
		client := int(h.Handle)
		operations = append(operations,
			porcupine.Operation{ClientId: client, Input: act{h.Handle, true, h.Room}, Call: asked, Return: h.Granted},
			porcupine.Operation{ClientId: client, Input: act{h.Handle, false, h.Room}, Call: r.endFrom(h), Return: max(h.endBy(), r.endFrom(h))})
		earliest = max(earliest, r.endFrom(h))
	}
	return operations
}

// windowSize is the least number of holds that are searched at once: the search's memory grows with the square.
const windowSize = 500

// windows cuts holds, sorted by their grants, into windows of at least so many. It cuts only where all earlier holds may
// have ended before the next grant.
func (r *rules) windows(holds []*Hold, least int) [][]*Hold {
	var out [][]*Hold
	begin, end := 0, int64(0)
	for i, h := range holds {
		if i-begin >= least && end <= h.Granted {
			out = append(out, holds[begin:i])
			begin = i
		}
		end = max(end, r.endFrom(h))
	}
	if begin < len(holds) {
		out = append(out, holds[begin:])
	}
	return out
}
