package history

import (
	"fmt"
	"math"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// never is the time of an event that has not happened.
const never = math.MaxInt64

// Hold is one acquisition and what became of it. A time of 0 means "not yet".
type Hold struct {
	Handle uint64
	lock
	Process int // 0: the outsider, which does not use the library
	Flags   uint8
	Use     plan.Use
	Room    int

	Asked   int64
	Keep    int64 // the key stays locked until then, unless something ends its session
	Granted int64
	Looked  int64 // the last call of Err that said "held"
	Letting int64 // the release was called
	LetBy   int64 // the release returned
	Let     Outcome
	Told    int64 // the holder was told of the loss
	Gone    int64 // the process was killed, and its sessions had ended by then

	WroteFrom int64 // the look before the write
	WroteBy   int64
	Wrote     Outcome

	torn []Record // writes, and rereads
}

// lock is what is held: a key, or for Once a key and a period.
type lock struct {
	Key    int
	Period uint32
}

func (h *Hold) String() string { return fmt.Sprintf("process %d (%s)", h.Process, h.Use) }

// believedUntil is the last moment at which the holder had reason to believe that it holds.
func (h *Hold) believedUntil() int64 {
	if h.Letting > 0 {
		return h.Letting
	}
	return max(h.Granted, h.Looked)
}

// endBy is the latest moment at which the hold may have ended, in the model of a lock.
func (h *Hold) endBy() int64 {
	switch {
	case h.Let == Unknown && h.Letting > 0:
		return never
	case h.LetBy > 0:
		return h.LetBy
	case h.Told > 0:
		return h.Told
	default:
		return never // killed: the server may end the session at any later time
	}
}

// over reports whether no more records are to come.
func (h *Hold) over() bool { return h.LetBy > 0 || h.Told > 0 || h.Gone > 0 }

// lost reports whether the hold ended in any other way than by a confirmed release.
func (h *Hold) lost() bool { return h.Told > 0 || h.Gone > 0 || h.Letting > 0 && h.Let != OK }

// mayWriteFrom is since when its write may have been on its way.
func (h *Hold) mayWriteFrom() int64 { return max(h.Granted, h.WroteFrom) }

// clean reports whether its write, if any, was answered while the hold was believed in. A process that is killed may have sent a write which
// it did not live to record.
func (h *Hold) clean() bool {
	if h.WroteFrom == 0 {
		return h.Gone == 0 || h.Room > 1
	}
	return h.WroteBy > 0 && h.Wrote != Unknown && (h.Looked >= h.WroteBy || h.Letting >= h.WroteBy && !h.lost())
}
