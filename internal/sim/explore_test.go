package sim_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is a system with a bug: the third reset after a 7 breaks it.
func counter(src *sim.Source) error {
	sevens, resets := 0, 0
	src.Next()
	for steps := 1; src.Next(); steps++ {
		switch n := src.Pick(20); {
		case n == 7 && src.Pick(5) == 2:
			sevens++
		case n == 9 && sevens > 0:
			if resets++; resets == 3 {
				return &sim.ViolationError{Check: "no third reset", Text: "it came", Steps: steps}
			}
		}
	}
	return nil
}

func TestAFailingHistoryIsMadeShort(t *testing.T) {
	plan := sim.Plan{Run: counter, Seed: 3, For: time.Minute, Steps: 200, Workers: 2, ShrinkFor: time.Minute}
	report := sim.Explore(plan)
	f := report.Failure
	if f == nil {
		t.Fatal("nothing was found")
	}
	want := sim.History{nil, {7, 2}, {9}, {9}, {9}}
	if !f.Repeats || !slices.EqualFunc(f.Short, want, slices.Equal) {
		t.Errorf("%v, should be %v; repeats: %v", f.Short, want, f.Repeats)
	}
	// Its own seed finds it again, and so does what is printed of it.
	again := sim.Once(plan, f.Seed)
	if again.Failure == nil || again.Failure.Length != f.Length || again.Failure.Short.String() != f.Short.String() {
		t.Errorf("by its seed: %+v", again.Failure)
	}
	h, err := sim.ParseHistory(f.Short.String())
	if err != nil || sim.Repeated(plan, h).Failure == nil {
		t.Errorf("in full: %v, %v", h, err)
	}
}

func TestWithoutABugThereIsNoFailure(t *testing.T) {
	ran := 0
	report := sim.Explore(sim.Plan{Steps: 5, Workers: 1, Run: func(src *sim.Source) error {
		ran++
		for src.Next() {
			src.Pick(3)
		}
		return nil
	}})
	if ran != 1 || report.Failure != nil || report.Histories != 1 || report.Steps != 5 {
		t.Errorf("%d runs, %+v", ran, report)
	}
}

func TestHistoriesAreWrittenAndRead(t *testing.T) {
	for _, h := range []sim.History{nil, {nil}, {{1}, nil, {255, 0}}} {
		got, err := sim.ParseHistory(h.String())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(h) {
			t.Errorf("%v became %v, %v", h, got, err)
		}
	}
	for _, bad := range []string{"x", "0", "02", "0201"} {
		if _, err := sim.ParseHistory(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
