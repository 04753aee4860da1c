package history

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// act is an operation of the lock's model: a grant, or the end of a hold.
type act struct {
	hold uint64
	take bool
}

// lockModel is the lock of one key. Its state is the handle that holds it, 0 when it is free.
var lockModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		holder, _ := state.(uint64)
		a, _ := input.(act)
		if a.take {
			return holder == 0, a.hold
		}
		return holder == a.hold, uint64(0)
	},
	Equal: func(a, b any) bool { return a == b },
	Hash: func(state any) uint64 {
		holder, _ := state.(uint64)
		return holder * 0x9e3779b97f4a7c15
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
			porcupine.Operation{ClientId: client, Input: act{h.Handle, true}, Call: asked, Return: h.Granted},
			porcupine.Operation{ClientId: client, Input: act{h.Handle, false}, Call: r.endFrom(h), Return: h.endBy()})
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
