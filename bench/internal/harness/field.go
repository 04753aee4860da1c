package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/lockkeeper/lockkeeper/bench/internal/measure"
	"github.com/lockkeeper/lockkeeper/bench/internal/server"
	"github.com/lockkeeper/lockkeeper/internal/forward"
)

const (
	startBound = 90 * time.Second
	// switchBound is how long pgbench may take for what takes it two seconds.
	switchBound = 20 * time.Second
)

// field is the servers and forwarders of a run.
type field struct {
	catalogue Catalogue
	plan      Plan
	servers   []*running
}

// running is a server, or the reason why there is none: then its systems fail, and the others run.
type running struct {
	kind    server.Kind
	server  *server.Server
	err     error
	distant map[time.Duration]*forward.Forwarder // by the round trip that they add
}

// start starts the servers that the turns need, and PostgreSQL's first: it has to be there.
func (f *field) start(ctx context.Context, turns []Measurement, progress Progress) error {
	needed := map[string]bool{}
	for _, m := range turns {
		if _, kind, ok := f.catalogue.system(m.System); ok {
			needed[kind.Name] = true
		}
	}
	for _, kind := range f.catalogue.Kinds {
		if !needed[kind.Name] {
			continue
		}
		starting, cancel := context.WithTimeout(ctx, startBound)
		s, err := kind.Start(starting)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			progress.Say(fmt.Sprintf("%s: %v", kind.Name, err))
		}
		f.servers = append(f.servers, &running{kind: kind, server: s, err: err, distant: map[time.Duration]*forward.Forwarder{}})
	}
	return nil
}

func (f *field) versions() []string {
	var versions []string
	for _, r := range f.servers {
		if r.err == nil {
			versions = append(versions, r.server.Version)
		}
	}
	return versions
}

// job says where the system finds its server.
func (f *field) job(m Measurement) (job, error) {
	sc, _ := f.catalogue.scenario(m.Scenario)
	system, kind, _ := f.catalogue.system(m.System)
	j := job{Scenario: m.Scenario, System: m.System, Warmup: f.plan.Warmup, Duration: f.plan.Duration, Quick: f.plan.Quick,
		program: f.catalogue.Program}
	if v, ok := system.(Variant); ok {
		j.System, j.program = v.Of, v.Program
	}
	for _, r := range f.servers {
		if r.kind.Name != kind.Name {
			continue
		}
		if r.err != nil {
			return j, r.err
		}
		address, err := r.address(sc.RTT)
		if err != nil {
			return j, err
		}
		j.ServerPID, j.ServerAddress = r.server.PID, address
		if r.server.DSN != nil {
			j.AdminDSN = r.server.Socket
		}
		switch {
		case sc.RTT == 0:
			kind.Env(&j.Env, r.server.Socket)
			if r.server.SocketFile != "" {
				j.ServerAddress = r.server.SocketFile
			}
		case r.server.DSN != nil:
			kind.Env(&j.Env, r.server.DSN(address))
		default:
			kind.Env(&j.Env, address)
		}
	}
	return j, nil
}

// address leads through a forwarder where latency is wanted.
func (r *running) address(rtt time.Duration) (string, error) {
	if rtt == 0 {
		return r.server.Socket, nil
	}
	if r.distant[rtt] == nil {
		p, err := forward.Start(context.Background(), "127.0.0.1:0", "tcp", r.server.TCP)
		if err != nil {
			return "", err
		}
		p.SetPace(forward.Pace{Delay: rtt / 2})
		r.distant[rtt] = p
	}
	return r.distant[rtt].Addr(), nil
}

// others begins to watch what other programs use of the machine, and returns what ends it: their part of the time of all
// processors. Where it cannot be read it is 0.
func (f *field) others() func() float64 {
	ours := []int{os.Getpid()}
	for _, r := range f.servers {
		if r.err == nil {
			ours = append(ours, r.server.PID)
		}
	}
	before, err := measure.Others(ours...)
	began := time.Now()
	return func() float64 {
		after, err2 := measure.Others(ours...)
		if err != nil || err2 != nil {
			return 0
		}
		return max(0, (after-before).Seconds()/time.Since(began).Seconds()/float64(runtime.NumCPU()))
	}
}

// switchCost measures how costly a switch between processes is now, where there is a server that it can be measured on.
func (f *field) switchCost(ctx context.Context, when string, progress Progress) (costs []SwitchCost) {
	for _, r := range f.servers {
		if r.err != nil || r.server.Switch == nil {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, switchBound)
		cost, err := r.server.Switch(bounded)
		cancel()
		if ctx.Err() != nil {
			return costs
		}
		if err != nil {
			progress.Say("the cost of a switch between processes is not known: " + oneLine(err.Error()))
			continue
		}
		costs = append(costs, SwitchCost{When: when, Switch: cost})
	}
	return costs
}

// tidy ends what a system that failed may have left at a server: it would disturb the next one.
func (f *field) tidy(ctx context.Context) {
	for _, r := range f.servers {
		if r.err == nil && r.server.Tidy != nil {
			_ = r.server.Tidy(ctx)
		}
	}
}

func (f *field) close() error {
	var errs []error
	for _, r := range f.servers {
		for _, p := range r.distant {
			p.Close()
		}
		if r.server != nil {
			if err := r.server.Close(); err != nil {
				errs = append(errs, fmt.Errorf("removing the throwaway %s: %w", r.kind.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}
