package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/pgbench"
	"github.com/lockkeeper/lockkeeper/bench/internal/scenario"
)

// Outcome is all that a run gave.
type Outcome struct {
	Measurements []Measurement
	// Versions of the servers that ran.
	Versions []string
	Began    time.Time
	Took     time.Duration
	// Cut is how many measurements the limit of a quick run left out.
	Cut int
	// Switch is how costly a switch between processes was, at the start and, unless the run is quick, at the end. It is empty
	// where that could not be measured.
	Switch []SwitchCost
}

// SwitchCost is the cost of a switch at a time of the run: "start" or "end".
type SwitchCost struct {
	When string `json:"when"`
	pgbench.Switch
}

// Progress hears of each measurement: when it begins (with an empty result) and when it has ended.
type Progress interface {
	Begin(number, of int, m Measurement)
	End(number, of int, m Measurement)
	Say(text string)
}

// Run carries out the plan. When ctx ends it returns what it has, with the context's cause; everything that it started
// is gone when it returns.
func Run(ctx context.Context, c Catalogue, p Plan, progress Progress) (outcome Outcome, err error) {
	turns := p.Turns(c)
	outcome.Began = time.Now()
	defer func() { outcome.Took = time.Since(outcome.Began) }()
	f := &field{catalogue: c, plan: p}
	defer func() { err = errors.Join(err, f.close()) }()
	progress.Say("starting servers")
	if err := f.start(ctx, turns, progress); err != nil {
		return outcome, err
	}
	outcome.Versions = f.versions()
	outcome.Switch = f.switchCost(ctx, "start", progress)
	if err := f.warm(ctx, turns); err != nil {
		return outcome, err
	}
	failed := map[[2]string]bool{}
	for i, m := range turns {
		what := [2]string{m.Scenario, m.System}
		if failed[what] {
			continue // its reason is known, and it may take long to fail
		}
		if over := time.Since(outcome.Began); p.Quick && (over > p.Limit || m.Round > 1 && over > p.Budget) {
			outcome.Cut++
			continue
		}
		progress.Begin(i+1, len(turns), m)
		others := f.others()
		m.Result = f.measure(ctx, m)
		m.Others = others()
		if ctx.Err() != nil {
			return outcome, context.Cause(ctx)
		}
		if m.Result.Failed != "" {
			f.tidy(ctx)
		}
		failed[what] = m.Result.Failed != "" || m.Result.NotApplicable != ""
		outcome.Measurements = append(outcome.Measurements, m)
		progress.End(i+1, len(turns), m)
	}
	if !p.Quick && len(outcome.Switch) > 0 { // what failed at the start is known
		outcome.Switch = append(outcome.Switch, f.switchCost(ctx, "end", progress)...)
	}
	return outcome, context.Cause(ctx)
}

// warm runs one measurement of each system that nobody counts: the first one finds cold caches.
func (f *field) warm(ctx context.Context, turns []Measurement) error {
	if f.plan.Quick || len(turns) == 0 {
		return nil
	}
	for _, m := range turns {
		if m.Round == 1 && m.Scenario == turns[0].Scenario {
			f.measure(ctx, m)
		}
	}
	return context.Cause(ctx)
}

// measure runs one measurement in a process of its own. Whatever goes wrong is the result's.
func (f *field) measure(ctx context.Context, m Measurement) scenario.Result {
	j, err := f.job(m)
	if err != nil {
		return scenario.Result{Failed: oneLine(err.Error())}
	}
	bound := j.Warmup + j.Duration + f.plan.Slack
	if sc, ok := f.catalogue.scenario(m.Scenario); ok && !j.Quick {
		bound += sc.Slack
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	cmd := j.command(ctx)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = 2 * time.Second
	life, err := cmd.StdinPipe() // which ends with this process, and the child with it
	if err != nil {
		return scenario.Result{Failed: oneLine(err.Error())}
	}
	defer life.Close()
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it did not end within %v", bound)
		}
		return scenario.Result{Failed: oneLine(fmt.Sprintf("%v %s", err, said.Bytes()))}
	}
	var result scenario.Result
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return scenario.Result{Failed: oneLine(fmt.Sprintf("its answer cannot be read: %v: %s", err, out.Bytes()))}
	}
	return result
}
