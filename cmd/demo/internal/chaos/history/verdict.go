package history

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/event"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Operations are counted by outcome.
type Operations struct {
	Acquire map[string]int `json:"acquire"`
	Try     map[string]int `json:"try"`
	Release map[string]int `json:"release"`
	Write   map[string]int `json:"write"`
	All     int            `json:"all"`
}

func (o *Operations) acquire(outcome event.Outcome, flags uint8) {
	o.All++
	if flags&event.Try != 0 {
		o.Try[outcome.String()]++
		return
	}
	o.Acquire[outcome.String()]++
}

// Loss is a hold that ended by itself, as its holder was told.
type Loss struct {
	Key     int           `json:"key"`
	Process int           `json:"process"`
	At      time.Duration `json:"at"`
	Cause   string        `json:"cause"`
	Fault   int           `json:"fault"` // 0: no fault explains it
	Kind    plan.Kind     `json:"kind,omitempty"`
	After   time.Duration `json:"after"`             // the fault
	Stalled bool          `json:"stalled,omitempty"` // the machine was busy elsewhere at that time
	Late    bool          `json:"late,omitempty"`    // told later than the trust, and what scheduling may add, allow
}

// Overlap is a time in which two holders believed that they hold one key.
type Overlap struct {
	Key       int           `json:"key"`
	At        time.Duration `json:"at"`
	For       time.Duration `json:"for"`
	Processes [2]int        `json:"processes"`
	Fault     int           `json:"fault"` // 0: none excuses it
	Kind      plan.Kind     `json:"kind,omitempty"`
}

// Violation is what must not happen.
type Violation struct {
	Kind string        `json:"kind"`
	Key  int           `json:"key"`
	At   time.Duration `json:"at"`
	Text string        `json:"text"`
}

// Verdict is what the history shows.
type Verdict struct {
	Operations     Operations
	Grants         int
	Killed         int // holds whose process was killed
	Checked        int // holds that were compared
	Windows        int // that Porcupine has seen
	StaleExplained int // writes over a value that a holder wrote after its hold had ended
	Losses         []Loss
	FalseLosses    []Loss // that no fault explains
	LateLosses     []Loss // told too late
	StallLosses    int    // that no fault explains, but a stall of the machine does
	Stalls         int    // of the machine while no fault was made
	LongestStall   time.Duration
	Overlaps       []Overlap
	Violations     []Violation // the first of them
	Problems       []string    // of the checking itself
	count          int
}

// keep bounds what is listed one by one.
const keep = 200

func newVerdict() Verdict {
	return Verdict{Operations: Operations{Acquire: map[string]int{}, Try: map[string]int{}, Release: map[string]int{},
		Write: map[string]int{}}}
}

// ViolationCount counts those as well that are not listed.
func (v *Verdict) ViolationCount() int { return v.count }

func (v *Verdict) granted(h *Hold) {
	v.Grants++
	v.Operations.acquire(event.OK, h.Flags)
}

func (v *Verdict) refused(h *Hold, r *event.Record) { v.Operations.acquire(r.Outcome, h.Flags) }

func (v *Verdict) wrote(r *event.Record) { v.Operations.Write[r.Outcome.String()]++ }

func (v *Verdict) released(h *Hold) {
	v.Operations.All++
	v.Operations.Release[h.Let.String()]++
}

func (v *Verdict) lost(l Loss) {
	v.Losses = append(v.Losses, l)
	switch {
	case l.Fault == 0 && l.Stalled && l.Cause == event.BySilence.String():
		v.StallLosses++
	case l.Fault == 0:
		v.FalseLosses = append(v.FalseLosses, l)
	}
	if l.Late {
		v.LateLosses = append(v.LateLosses, l)
	}
}

func (v *Verdict) overlapped(o Overlap) { v.Overlaps = append(v.Overlaps, o) }

func (v *Verdict) violation(found Violation) {
	v.count++
	if len(v.Violations) < keep {
		v.Violations = append(v.Violations, found)
	}
}

func (v *Verdict) problem(format string, args ...any) {
	if len(v.Problems) < keep {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

func (v *Verdict) finish() {
	if v.Checked < v.Grants-len(v.Problems) {
		v.problem("%d holds were granted and %d were checked", v.Grants, v.Checked)
	}
}
