package history

import (
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Timeline counts the grants of each key over time, by process.
type Timeline struct {
	Width     time.Duration // of one column
	Columns   int
	Processes int        // the outsider is 0
	Grants    [][]uint32 // by key; of column c and process p at c*(Processes+1)+p
}

// shownColumns and shownKeys are what a page has room for.
const shownColumns, shownKeys = 480, 48

func newTimeline(p *plan.Plan) Timeline {
	t := Timeline{Columns: shownColumns, Processes: p.Processes}
	t.Width = max(p.Duration/shownColumns, time.Millisecond)
	t.Grants = make([][]uint32, min(p.Keys, shownKeys))
	for key := range t.Grants {
		t.Grants[key] = make([]uint32, t.Columns*(t.Processes+1))
	}
	return t
}

func (t *Timeline) grant(h *Hold, at int64) {
	if h.Key >= len(t.Grants) || at < 0 || h.Process > t.Processes {
		return
	}
	for time.Duration(at) >= t.Width*time.Duration(t.Columns) { // it lasts longer than planned
		t.fold()
	}
	column := int(time.Duration(at) / t.Width)
	t.Grants[h.Key][column*(t.Processes+1)+h.Process]++
}

// fold makes one column of each two.
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
