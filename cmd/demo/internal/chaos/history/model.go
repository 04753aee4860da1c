package history

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// act is an operation of the lock's model: the taking, or the end of a hold.
type act struct {
	hold uint64
	take bool
}

// lockModel is a lock of one key. Its state is the handle that holds it, 0 where it is free.
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

// checkBound is far more than a window takes. A history that is not decided by then counts as undecided, never as legal.
const checkBound = 30 * time.Second

// linearizable asks Porcupine whether the holds of one key, sorted by their grants, are those of a lock that begins free.
func (r *rules) linearizable(holds []*Hold) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(lockModel, r.operations(holds, true), checkBound)
}

func (r *rules) operations(holds []*Hold, tighten bool) []porcupine.Operation {
	operations := make([]porcupine.Operation, 0, 2*len(holds))
	var earliest int64 // before which no hold that was granted so far may have ended
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

// endFrom is from when on the hold may have ended: earlier than its holder believed where the server ended its session.
func (r *rules) endFrom(h *Hold) int64 {
	from := h.endFrom()
	if f := r.endedByServer(h, from); f != nil {
		from = min(from, max(f.Begin, h.Asked))
	}
	return from
}

// windowSize is how many holds are searched at once, or a few more: the search's memory grows with the square.
const windowSize = 500

// windows cuts holds, sorted by their grants, where one may have ended before the next was granted, into windows of at
// least so many.
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

func sortByGrant(holds []*Hold) {
	slices.SortFunc(holds, func(a, b *Hold) int {
		switch {
		case a.Granted < b.Granted:
			return -1
		case a.Granted > b.Granted:
			return 1
		default:
			return 0
		}
	})
}
