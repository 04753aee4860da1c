// Package harness runs scenarios against systems, in turns.
//
// Each measurement (one scenario, one system, one round) is a process of its own, so that its CPU time, memory and goroutines
// are the system's. The rounds go A B C A B C, so that changes on the machine meet all alike. Servers are started once.
// Forwarders in the harness's own process add latency; their CPU time is counted for nobody.
//
// A process learns of the harness's end by the end of its standard input, and ends. Servers do the same, each in its way.
package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/forward"
)

// Outcome is all that a run gave.
type Outcome struct {
	Measurements []Measurement
	Versions     []string // of the servers that ran
	Began        time.Time
	Took         time.Duration
	// Cut is how many measurements the limit of a quick run left out.
	Cut int
	// Switch is the cost of a switch between processes at the start and, unless the run is quick, at the end. It is empty where
	// that could not be measured.
	Switch []SwitchCost
}

// Progress is told of each measurement when it begins (with an empty result) and when it has ended.
type Progress interface {
	Begin(number, of int, m Measurement)
	End(number, of int, m Measurement)
	Say(text string)
}

// Run carries out the plan. When ctx ends it returns what it has, with the context's cause. Everything that it started is gone
// when it returns.
func Run(ctx context.Context, c Catalogue, p Plan, progress Progress) (outcome Outcome, err error) {
	turns := p.Turns(c)
	outcome.Began = time.Now()
	defer func() { outcome.Took = time.Since(outcome.Began) }()
	f := &field{catalogue: c, plan: p, progress: progress}
	defer func() { err = errors.Join(err, f.close()) }()
	progress.Say("starting servers")
	if err := f.start(ctx, turns); err != nil {
		return outcome, err
	}
	for _, r := range f.running() {
		outcome.Versions = append(outcome.Versions, r.Version)
	}
	outcome.Switch = f.switchCost(ctx, "start")
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
		outcome.Switch = append(outcome.Switch, f.switchCost(ctx, "end")...)
	}
	return outcome, context.Cause(ctx)
}

const (
	startBound = 90 * time.Second
	// switchBound is how long pgbench may take for what takes it two seconds.
	switchBound = 20 * time.Second
)

// field is the servers and forwarders of a run.
type field struct {
	catalogue Catalogue
	plan      Plan
	progress  Progress
	servers   []*server
}

// server is a running server, or the reason why there is none: then its systems fail, and the others run.
type server struct {
	*Instance
	kind  *Server
	err   error
	wires map[time.Duration]*forward.Forwarder // by their round trip
}

// start starts the servers that the turns need, in the catalogue's order.
func (f *field) start(ctx context.Context, turns []Measurement) error {
	needed := map[*Server]bool{}
	for _, m := range turns {
		if s, ok := f.catalogue.system(m.System); ok {
			needed[s.Server] = true
		}
	}
	for _, s := range f.catalogue.Systems {
		if !needed[s.Server] {
			continue
		}
		needed[s.Server] = false
		starting, cancel := context.WithTimeout(ctx, startBound)
		started, err := s.Server.Start(starting)
		cancel()
		f.servers = append(f.servers, &server{Instance: started, kind: s.Server, err: err, wires: map[time.Duration]*forward.Forwarder{}})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			f.progress.Say(fmt.Sprintf("%s: %v", s.Server.Name, err))
		}
	}
	return nil
}

func (f *field) running() (all []*server) {
	for _, s := range f.servers {
		if s.err == nil {
			all = append(all, s)
		}
	}
	return all
}

// job says where the system finds its server.
func (f *field) job(m Measurement) (job, error) {
	sc, _ := f.catalogue.scenario(m.Scenario)
	system, _ := f.catalogue.system(m.System)
	j := job{Scenario: m.Scenario, System: system.original(), program: f.catalogue.Program,
		Setup: Setup{Warmup: f.plan.Warmup, Duration: f.plan.Duration, Quick: f.plan.Quick}}
	if system.Of != "" {
		j.program = system.Program
	}
	for _, s := range f.servers {
		if s.kind != system.Server {
			continue
		}
		if s.err != nil {
			return j, s.err
		}
		through, address := "", s.Address
		if sc.RTT > 0 {
			if s.wires[sc.RTT] == nil {
				wire, err := forward.Start(context.Background(), "127.0.0.1:0", "tcp", s.TCP)
				if err != nil {
					return j, err
				}
				wire.SetPace(forward.Pace{Delay: sc.RTT / 2})
				s.wires[sc.RTT] = wire
			}
			through = s.wires[sc.RTT].Addr()
			address = through
		}
		j.Setup.Env, j.Setup.AdminDSN, j.Setup.ServerAddress, j.Setup.Meter.Server = s.Env(through), s.AdminDSN, address, s.PID
	}
	return j, nil
}

// others begins to watch what other programs use of the machine, and returns what ends it: their part of the time of all
// processors. Where it cannot be read it is 0.
func (f *field) others() func() float64 {
	ours := []int{os.Getpid()}
	for _, s := range f.running() {
		ours = append(ours, s.PID)
	}
	before, err := others(ours...)
	began := time.Now()
	return func() float64 {
		after, err2 := others(ours...)
		if err != nil || err2 != nil {
			return 0
		}
		return max(0, (after-before).Seconds()/time.Since(began).Seconds()/float64(runtime.NumCPU()))
	}
}

// switchCost measures the cost of a switch between processes, where there is a server that it can be measured on.
func (f *field) switchCost(ctx context.Context, when string) (costs []SwitchCost) {
	for _, s := range f.running() {
		if s.Switch == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, switchBound)
		cost, err := s.Switch(bounded)
		cancel()
		if ctx.Err() != nil {
			return costs
		}
		if err != nil {
			f.progress.Say("the cost of a switch between processes is not known: " + oneLine(err.Error()))
			continue
		}
		cost.When = when
		costs = append(costs, cost)
	}
	return costs
}

// tidy ends what a system that failed may have left at a server: it would disturb the next one.
func (f *field) tidy(ctx context.Context) {
	for _, s := range f.running() {
		if s.Tidy != nil {
			_ = s.Tidy(ctx)
		}
	}
}

func (f *field) close() error {
	var errs []error
	for _, s := range f.running() {
		for _, wire := range s.wires {
			wire.Close()
		}
		if err := s.Close(); err != nil {
			errs = append(errs, fmt.Errorf("removing the throwaway %s: %w", s.kind.Name, err))
		}
	}
	return errors.Join(errs...)
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
func (f *field) measure(ctx context.Context, m Measurement) (result Result) {
	failed := func(format string, args ...any) Result { return Result{Failed: oneLine(fmt.Sprintf(format, args...))} }
	j, err := f.job(m)
	if err != nil {
		return failed("%v", err)
	}
	bound := f.plan.Warmup + f.plan.Duration + f.plan.Slack
	if sc, ok := f.catalogue.scenario(m.Scenario); ok && !f.plan.Quick {
		bound += sc.Slack
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	cmd := j.command(ctx)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	life, err := cmd.StdinPipe() // which ends with this process, and the child with it
	if err != nil {
		return failed("%v", err)
	}
	defer life.Close()
	// In a group of its own, the child gets no Ctrl-C from the terminal, and is killed with the processes that it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("it did not end within %v", bound)
		}
		return failed("%v %s", err, said.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		return failed("its answer cannot be read: %v: %s", err, out.Bytes())
	}
	return result
}
