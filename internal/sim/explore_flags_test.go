package sim_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/internal/sim"
	"github.com/lockkeeper/lockkeeper/manager"
)

// What "make sim SIM_ARGS=..." can set.
var (
	simSeed    = flag.Uint64("sim.seed", 0, "seed of the first of many histories; 0: a new one each time")
	simOne     = flag.Uint64("sim.one", 0, "seed of one history, as a failure tells it")
	simHistory = flag.String("sim.history", "", "one history in full, as a failure tells it")
	simWorkers = flag.Int("sim.workers", runtime.GOMAXPROCS(0), "how many histories run at one time; 1: they are counted in order")
	simFor     = flag.Duration("sim.for", 0, "for how long each simulation explores; default 1s, under LOCKKEEPER_STRESS 2m")
)

// tally counts what happened in all histories: an exploration in which something never happens explores less than it says.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func newTally(kinds ...string) *tally {
	y := &tally{n: map[string]int{}}
	for _, kind := range kinds {
		y.n[kind] = 0
	}
	return y
}

func (y *tally) add(kind string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.n[kind]++
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(y.n)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, y.n[kind]))
	}
	return strings.Join(parts, ", ")
}

// outcome puts a reason into one of a few words.
func outcome(err error) string {
	for _, known := range []struct {
		is   error
		word string
	}{
		{actor.ErrKeeperFailed, "keeper failed"}, {actor.ErrLost, "lost"}, {actor.ErrReleaseUnknown, "unknown"},
		{actor.ErrNotAcquired, "not acquired"}, {actor.ErrAttempts, "attempts"}, {actor.ErrClosed, "closed"},
		{actor.ErrTooManyWaiters, "too many waiters"}, {actor.ErrTooManyKeys, "too many keys"}, {actor.ErrReleased, "released"},
		{manager.ErrWaitTimeout, "wait timeout"}, {context.Canceled, "cancelled"}, {errGaveUp, "cancelled"},
	} {
		if errors.Is(err, known.is) {
			return known.word
		}
	}
	if err == nil {
		return "confirmed"
	}
	return "other"
}

func explore(t *testing.T, name string, steps int, seen *tally, play func(*testing.T, *sim.Source) error) {
	plan := sim.Plan{Seed: *simSeed, For: *simFor, Steps: steps, Workers: *simWorkers, ShrinkFor: 15 * time.Second,
		Run: func(src *sim.Source) error {
			defer watch(src).Stop()
			return inBubble(t, src, play)
		}}
	if plan.Seed == 0 {
		plan.Seed = rand.Uint64()
	}
	if plan.For == 0 {
		plan.For = time.Second
		if os.Getenv("LOCKKEEPER_STRESS") != "" {
			plan.For = 2 * time.Minute
		}
	}
	repeat := func(seed uint64, short string) string {
		what := fmt.Sprintf("-sim.one=%d", seed)
		if short != "" {
			what = "-sim.history=" + short
		}
		return fmt.Sprintf("make sim RUN=%s SIM_ARGS='%s'", name, what)
	}
	if *simHistory != "" {
		repeatOne(t, plan, repeat)
		return
	}
	var report sim.Report
	if *simOne != 0 {
		report = sim.Once(plan, *simOne)
	} else {
		report = sim.Explore(plan)
	}
	t.Logf("%d histories, %d steps in %v, seed %d", report.Histories, report.Steps, report.Took.Round(time.Millisecond), plan.Seed)
	t.Logf("happened: %v", seen)
	if report.Failure != nil {
		t.Error(report.Failure.Text(repeat))
	} else if report.Histories >= 1000 { // in fewer, what is rare need not happen
		for kind, n := range seen.n {
			if n == 0 {
				t.Errorf("in all these histories this never happened: %s", kind)
			}
		}
	}
}

// watch ends the process when a history takes longer than any should: somebody is busy for ever, in one instant of virtual time.
func watch(src *sim.Source) *time.Timer {
	return time.AfterFunc(historyLimit, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("a history does not end: -sim.history=%v", src.Taken()))
	})
}

// historyLimit is for one history. Nearly all take milliseconds; one of elections, in which minutes go by, took 12 s of a busy machine.
const historyLimit = 2 * time.Minute

func repeatOne(t *testing.T, plan sim.Plan, repeat func(seed uint64, short string) string) {
	h, err := sim.ParseHistory(*simHistory)
	if err != nil {
		t.Fatal(err)
	}
	if report := sim.Repeated(plan, h); report.Failure != nil {
		t.Error(report.Failure.Text(repeat))
	}
}
