package sim

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ViolationError is a rule that was broken.
type ViolationError struct {
	Check string // which rule, in a word or two
	Text  string
	Steps int      // after how many steps
	Trace []string // what happened, in words
}

func (v *ViolationError) Error() string { return v.Check + ": " + v.Text }

// Plan says what to explore.
type Plan struct {
	// Run runs one history and says which rule it broke, by a [*ViolationError]; nil if none. It is called from several
	// goroutines, once for each history.
	Run func(*Source) error
	// Seed makes the histories, one after the other.
	Seed uint64
	// For is for how long.
	For time.Duration
	// Steps is the most that a history has.
	Steps int
	// Workers is how many histories run at one time.
	Workers int
	// ShrinkFor bounds the time in which a failing history is shortened.
	ShrinkFor time.Duration
}

// Report is what an exploration found.
type Report struct {
	Histories, Steps uint64
	Took             time.Duration
	Failure          *Failure
}

// Failure is a history that broke a rule.
type Failure struct {
	Seed      uint64 // of this one history
	Histories uint64 // how many had been run by then
	Steps     uint64 // in all of them
	First     *ViolationError
	Length    int // of the history before it was made shorter
	Short     History
	Shortest  *ViolationError
	Repeats   bool // it failed again when it was repeated
}

// Text tells the failure in words; repeat is the command that repeats a history by its seed.
func (f *Failure) Text(repeat func(seed uint64, short string) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v\n  found by history %d, step %d of it, %d steps after the start\n", f.First, f.Histories, f.First.Steps, f.Steps)
	fmt.Fprintf(&b, "  repeat it:     %s\n", repeat(f.Seed, ""))
	if !f.Repeats {
		b.WriteString("  it did not fail again at once: repeat it some times\n")
	}
	fmt.Fprintf(&b, "  made short:    %d steps of %d: %v\n", len(f.Short), f.Length, f.Shortest)
	fmt.Fprintf(&b, "  the short one: %s\n", repeat(0, f.Short.String()))
	for _, line := range f.Shortest.Trace {
		b.WriteString("    " + line + "\n")
	}
	return b.String()
}

// historySeed spreads the plan's seed over its histories, so that each has a seed of its own, which repeats it alone.
func historySeed(seed, n uint64) uint64 {
	x := seed + n*0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// Explore runs histories until one breaks a rule or the time is over. There is at least one.
func Explore(p Plan) Report {
	start := time.Now()
	var next, histories, steps atomic.Uint64
	var failure atomic.Pointer[Failure]
	var workers sync.WaitGroup
	for range max(1, p.Workers) {
		workers.Go(func() {
			for failure.Load() == nil {
				n := next.Add(1)
				if n > 1 && time.Since(start) >= p.For {
					return
				}
				f, taken := p.one(historySeed(p.Seed, n))
				done, all := histories.Add(1), steps.Add(uint64(taken))
				if f != nil {
					f.Histories, f.Steps = done, all
					failure.CompareAndSwap(nil, f)
				}
			}
		})
	}
	workers.Wait()
	r := Report{Histories: histories.Load(), Steps: steps.Load(), Took: time.Since(start), Failure: failure.Load()}
	if r.Failure != nil {
		p.shorten(r.Failure)
	}
	return r
}

// Once runs the one history of a seed.
func Once(p Plan, historySeed uint64) Report {
	f, taken := p.one(historySeed)
	r := Report{Histories: 1, Steps: uint64(taken), Failure: f}
	if f != nil {
		f.Histories, f.Steps = 1, uint64(taken)
		p.shorten(f)
	}
	return r
}

func (p *Plan) one(seed uint64) (*Failure, int) {
	source := Random(seed, p.Steps)
	v := violation(p.Run(source))
	if v == nil {
		return nil, len(source.Taken())
	}
	return &Failure{Seed: seed, First: v, Shortest: v, Length: len(source.Taken()), Short: source.Taken()}, len(source.Taken())
}

func violation(err error) *ViolationError {
	var v *ViolationError
	if errors.As(err, &v) {
		return v
	}
	if err != nil {
		return &ViolationError{Check: "error", Text: err.Error()}
	}
	return nil
}

// shorten makes a failing history short.
func (p *Plan) shorten(f *Failure) {
	s := shrinker{best: f.Short, until: time.Now().Add(p.ShrinkFor)}
	s.fails = func(h History) bool {
		v := violation(p.Run(Repeat(h)))
		if v == nil || v.Check != f.First.Check {
			return false
		}
		f.Shortest = v
		return true
	}
	f.Repeats = s.try(f.Short)
	if f.Repeats {
		s.shrink()
	}
	f.Short = s.best
}

// Repeated runs one history that is known.
func Repeated(p Plan, h History) Report {
	v := violation(p.Run(Repeat(h)))
	r := Report{Histories: 1, Steps: uint64(len(h))}
	if v != nil {
		r.Failure = &Failure{First: v, Shortest: v, Length: len(h), Short: h, Repeats: true, Histories: 1, Steps: uint64(len(h))}
	}
	return r
}
