package history

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Operations are counted by outcome.
type Operations struct {
	Acquire map[string]int `json:"acquire"`
	Try     map[string]int `json:"try"`
	Release map[string]int `json:"release"`
	Write   map[string]int `json:"write"`
	Grants  map[string]int `json:"grants"` // by kind of lock
	All     int            `json:"all"`
}

func (o *Operations) acquire(outcome Outcome, flags uint8) {
	o.All++
	if flags&Try != 0 {
		o.Try[outcome.String()]++
	} else {
		o.Acquire[outcome.String()]++
	}
}

// Loss is a hold that ended before its release, as its holder was told.
type Loss struct {
	Key     int           `json:"key"`
	Process int           `json:"process"`
	At      time.Duration `json:"at"`
	Cause   string        `json:"cause"`
	Fault   int           `json:"fault"` // 0: no fault explains it
	Kind    plan.Kind     `json:"kind,omitempty"`
	After   time.Duration `json:"after"`             // since the fault
	Stalled bool          `json:"stalled,omitempty"` // the machine was busy at that time
	Late    bool          `json:"late,omitempty"`    // told later than trust and slack allow

	hold  *Hold
	told  int64
	cause Cause
}

// Overlap is a time in which two holders believed that they hold one key.
type Overlap struct {
	Key       int           `json:"key"`
	At        time.Duration `json:"at"`
	For       time.Duration `json:"for"`
	Processes [2]int        `json:"processes"`
	Fault     int           `json:"fault"` // 0: no fault excuses it
	Kind      plan.Kind     `json:"kind,omitempty"`
}

// Violation is something that must not happen.
type Violation struct {
	Kind string        `json:"kind"`
	Key  int           `json:"key"`
	At   time.Duration `json:"at"`
	Text string        `json:"text"`
}

// Verdict is what the history shows.
type Verdict struct {
	Operations   Operations     `json:"operations"`
	Grants       int            `json:"grants"`
	Checked      int            `json:"holds_checked"`
	Windows      int            `json:"porcupine_windows"`
	Killed       int            `json:"holds_of_killed_processes"`
	Schedule     []*plan.Fault  `json:"schedule"` // the faults that were begun
	Losses       int            `json:"losses"`
	ByCause      map[string]int `json:"losses_by_cause"`
	FalseLosses  []Loss         `json:"false_losses"` // no fault explains them
	LateLosses   []Loss         `json:"late_losses"`
	StallLosses  int            `json:"losses_in_stalls_of_the_machine"` // no fault explains them, but a stall does
	Stalls       int            `json:"stalls_of_the_machine"`
	LongestStall time.Duration  `json:"longest_stall"`
	Overlaps     int            `json:"overlaps"`
	StaleWrites  int            `json:"stale_writes_explained"` // a write after its hold's end explains them
	Runs         int            `json:"periods"`                // in which Once ran
	RunsAgain    int            `json:"runs_again"`             // in such a period, since the first one's session may have ended
	Violations   int            `json:"violations"`
	Found        []Violation    `json:"violations_found"`   // the first of them
	Problems     []string       `json:"problems,omitempty"` // of the check itself

	LossList    []Loss    `json:"-"`
	OverlapList []Overlap `json:"-"`
	Timeline    *Timeline `json:"-"`
}

// keep bounds the lists.
const keep = 200

func newVerdict(p *plan.Plan) Verdict {
	return Verdict{
		Operations: Operations{Acquire: map[string]int{}, Try: map[string]int{}, Release: map[string]int{}, Write: map[string]int{},
			Grants: map[string]int{}},
		ByCause: map[string]int{}, FalseLosses: []Loss{}, LateLosses: []Loss{}, Found: []Violation{}, Timeline: newTimeline(p),
	}
}

func (v *Verdict) violation(kind string, key int, at time.Duration, format string, args ...any) {
	v.Violations++
	if len(v.Found) < keep {
		v.Found = append(v.Found, Violation{Kind: kind, Key: key, At: at, Text: fmt.Sprintf(format, args...)})
	}
}

func (v *Verdict) problem(format string, args ...any) {
	if len(v.Problems) < keep {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Timeline counts the grants of each key over time, by process.
type Timeline struct {
	Width     time.Duration // of one column
	Columns   int
	Processes int        // the outsider is 0
	Grants    [][]uint32 // by key; of column c and process p at c*(Processes+1)+p
}

// shownColumns and shownKeys are what a page has room for.
const shownColumns, shownKeys = 480, 48

func newTimeline(p *plan.Plan) *Timeline {
	t := &Timeline{Columns: shownColumns, Processes: p.Processes, Width: max(p.Duration/shownColumns, time.Millisecond)}
	t.Grants = make([][]uint32, min(p.Keys, shownKeys))
	for key := range t.Grants {
		t.Grants[key] = make([]uint32, t.Columns*(t.Processes+1))
	}
	return t
}

func (t *Timeline) grant(h *Hold, at int64) {
	if h.Key >= len(t.Grants) || h.Period > 0 || at < 0 || h.Process > t.Processes {
		return
	}
	for time.Duration(at) >= t.Width*time.Duration(t.Columns) { // the run takes longer than planned
		t.fold()
	}
	column := int(time.Duration(at) / t.Width)
	t.Grants[h.Key][column*(t.Processes+1)+h.Process]++
}

// fold joins each two columns.
func (t *Timeline) fold() {
	t.Width *= 2
	processes := t.Processes + 1
	for _, grants := range t.Grants {
		for column := range t.Columns / 2 {
			for p := range processes {
				grants[column*processes+p] = grants[2*column*processes+p] + grants[(2*column+1)*processes+p]
			}
		}
		clear(grants[t.Columns/2*processes:])
	}
}
