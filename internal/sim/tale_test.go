package sim_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// tale is what both simulated systems have: where their history comes from, what has happened in it, and the first rule
// that was broken. The history's goroutine is the only one that chooses anything.
type tale struct {
	seen  *tally
	src   *sim.Source
	start time.Time
	steps int
	loud  bool // tell what happens

	mu      sync.Mutex // for what others than the history's goroutine touch, in the systems too
	trace   []string
	ordered int // lines of the trace that have their order
	broken  *sim.ViolationError
}

// begin is called once, inside the bubble.
func (t *tale) begin(src *sim.Source) {
	t.src, t.seen, t.start, t.loud = src, newTally(), time.Now(), src.Repeating()
}

// violate notes the first rule that was broken. With or without mu.
func (t *tale) violate(check, format string, args ...any) {
	if t.broken == nil {
		t.broken = &sim.ViolationError{Check: check, Text: fmt.Sprintf(format, args...), Steps: t.steps}
	}
}

func (t *tale) say(format string, args ...any) {
	if t.loud {
		t.trace = append(t.trace, fmt.Sprintf("%8v  ", time.Since(t.start).Round(time.Microsecond))+fmt.Sprintf(format, args...))
	}
}

// asideMark is in each line of a trace that is not the history's own doing.
const asideMark = "s            "

// order gives the lines since the last step an order: what goroutines did at one time has none. What the step itself did came
// before.
func (t *tale) order() {
	for t.ordered < len(t.trace) && !strings.Contains(t.trace[t.ordered], asideMark) {
		t.ordered++
	}
	slices.Sort(t.trace[t.ordered:])
}

func (t *tale) fine() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken == nil
}

// system is one of the two that are simulated.
type system interface {
	history() *tale
	step()
	settle()
	goesWell()
	closeAll()
}

func (t *tale) history() *tale { return t }

// action is something that can happen in a system. One that makes no sense now does nothing, or the next best.
type action[W any] struct {
	weight int
	do     func(w W)
}

// choose lets one of the actions happen, each as often as its weight says.
func choose[W any](src *sim.Source, w W, actions []action[W]) {
	all := 0
	for _, a := range actions {
		all += a.weight
	}
	at := src.Pick(all)
	for _, a := range actions {
		if at -= a.weight; at < 0 {
			a.do(w)
			return
		}
	}
}

// play plays the history of a system, and then lets all go well and closes everything: nobody may be left waiting, and
// nothing left.
func play(s system) error {
	t := s.history()
	s.settle()
	for t.fine() && t.src.Next() {
		t.steps++
		s.step()
		s.settle()
	}
	s.goesWell()
	s.closeAll()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken == nil {
		return nil
	}
	t.broken.Trace = t.trace
	return t.broken
}
