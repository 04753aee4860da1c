package sim_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// What "make sim SIM_ARGS=..." can set.
var (
	simSeed    = flag.Uint64("sim.seed", 0, "seed of the first of many histories; 0: a new one each time")
	simOne     = flag.Uint64("sim.one", 0, "seed of one history, as a failure tells it")
	simHistory = flag.String("sim.history", "", "one history in full, as a failure tells it")
	simWorkers = flag.Int("sim.workers", runtime.GOMAXPROCS(0), "how many histories run at one time; 1: they are counted in order")
	simFor     = flag.Duration("sim.for", 0, "for how long each simulation explores; default 8s, under LOCKKEEPER_STRESS 2m")
)

func explore(t *testing.T, name string, steps int, play func(*testing.T, *sim.Source) error) {
	plan := sim.Plan{Seed: *simSeed, For: *simFor, Steps: steps, Workers: *simWorkers, ShrinkFor: 15 * time.Second,
		Run: func(src *sim.Source) error { return inBubble(t, src, play) }}
	if plan.Seed == 0 {
		plan.Seed = rand.Uint64()
	}
	if plan.For == 0 {
		plan.For = 8 * time.Second
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
	if report.Failure != nil {
		t.Error(report.Failure.Text(repeat))
	}
}

func repeatOne(t *testing.T, plan sim.Plan, repeat func(seed uint64, short string) string) {
	h, err := sim.ParseHistory(*simHistory)
	if err != nil {
		t.Fatal(err)
	}
	if report := sim.Repeated(plan, h); report.Failure != nil {
		t.Error(report.Failure.Text(repeat))
	}
}
