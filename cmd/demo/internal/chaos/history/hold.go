package history

import (
	"math"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
)

// never is the time of what has not come.
const never = math.MaxInt64

// Hold is one acquisition and what became of it. Times are of the shared clock; 0 is "not yet".
type Hold struct {
	Handle     uint64
	Key        int
	Process    int // 0: the outsider, who is no user of the library
	Generation int
	Flags      uint8

	Asked   int64
	Granted int64
	Looked  int64 // the last call of Err that said that it holds
	Letting int64 // the release was called
	LetBy   int64 // it came back
	Let     event.Outcome
	Told    int64 // the loss was told
	Cause   event.Cause
	Gone    int64 // its process was killed, and by now its sessions are gone

	WroteFrom int64 // the look before the write
	WroteBy   int64
	Wrote     event.Outcome

	torn []event.Record
}

// believedUntil is the last moment at which the holder had reason to believe that it holds.
func (h *Hold) believedUntil() int64 {
	if h.Letting > 0 {
		return h.Letting
	}
	return max(h.Granted, h.Looked)
}

// endFrom and endBy are the interval in which the hold ended, for the lock's model, apart from what the server did.
func (h *Hold) endFrom() int64 { return h.believedUntil() }

func (h *Hold) endBy() int64 {
	switch {
	case h.Let == event.Unknown && h.Letting > 0:
		return never
	case h.LetBy > 0:
		return h.LetBy
	case h.Told > 0:
		return h.Told
	default:
		return never // killed: the server may end the session at any later time
	}
}

// over reports whether nothing more is to come.
func (h *Hold) over() bool { return h.LetBy > 0 || h.Told > 0 || h.Gone > 0 }

// lost reports whether the hold ended in any other way than by a release that was confirmed.
func (h *Hold) lost() bool { return h.Told > 0 || h.Gone > 0 || h.Letting > 0 && h.Let != event.OK }

// clean reports whether its write, if there was one, was answered while the hold was believed in.
func (h *Hold) clean() bool {
	if h.WroteFrom == 0 {
		return true
	}
	return h.WroteBy > 0 && h.Wrote != event.Unknown &&
		(h.Looked >= h.WroteBy || h.Letting >= h.WroteBy && !h.lost())
}
