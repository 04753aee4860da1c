// Package summary is the report of a chaos run: as text, as JSON, and as a page.
package summary

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
)

// Sample is what a worker process used at one moment.
type Sample struct {
	At          time.Duration
	Generation  int    // the incarnation of the process
	Resident    uint64 // bytes
	Goroutines  int
	Descriptors int
}

// Times are percentiles of durations, in milliseconds.
type Times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// timesOf returns the percentiles of what select returns of some elements.
func timesOf[T any](all []T, pick func(T) (time.Duration, bool)) Times {
	var ms []float64
	for _, one := range all {
		if d, ok := pick(one); ok {
			ms = append(ms, float64(d.Microseconds())/1000)
		}
	}
	n := len(ms)
	if n == 0 {
		return Times{}
	}
	slices.Sort(ms)
	return Times{Count: n, P50: ms[n/2], P99: ms[min(n-1, int(0.99*float64(n)))], Max: ms[n-1]}
}

// FaultCount says how often a kind of fault was made, and what came of it.
type FaultCount struct {
	Kind     plan.Kind `json:"kind"`
	Planned  int       `json:"planned"`
	Done     int       `json:"done"`
	Failed   int       `json:"failed"`
	Hit      int       `json:"holders_hit"`
	Losses   int       `json:"losses"`
	Told     Times     `json:"told_ms"`
	Overlaps int       `json:"overlaps"`
	Overlap  Times     `json:"overlap_ms"`
}

// Report is the result of a run.
type Report struct {
	Server  string  `json:"server"`
	Seconds float64 `json:"seconds"`
	plan.Plan
	Trust       time.Duration `json:"trust"`
	Session     time.Duration `json:"session_timeout"`
	Without     string        `json:"left_out,omitempty"` // why the faults of the network were left out
	Interrupted bool          `json:"interrupted,omitempty"`

	*history.Verdict
	Faults      []FaultCount `json:"faults"`
	ToldServer  Times        `json:"told_after_server_ended_ms"`
	ToldSilence Times        `json:"told_after_silence_began_ms"`
	ToldWake    Times        `json:"told_after_waking_ms"`
	OverlapMS   Times        `json:"overlap_ms"`

	Leaked         server.Leaked  `json:"leaked"`
	KeeperRestarts uint64         `json:"keeper_restarts"`
	Failures       map[string]int `json:"failures,omitempty"`
	Flat           *Flatness      `json:"flat,omitempty"`

	Samples [][]Sample `json:"-"` // by process, from 0
	Stacks  string     `json:"-"`
}

// New makes a report of a plan's run. Faults is the whole schedule.
func New(p *plan.Plan, faults []*plan.Fault, v *history.Verdict) *Report {
	r := &Report{Plan: *p, Trust: p.Trust(), Session: p.SessionTimeout(), Verdict: v, Failures: map[string]int{}}
	for _, kind := range p.Faults {
		c := FaultCount{Kind: kind}
		for _, f := range faults {
			switch {
			case f.Kind != kind:
				continue
			case f.Failed != "" && f.Begin > 0:
				c.Failed++
			case f.Begin > 0:
				c.Done++
				c.Hit += f.Hit
			}
			c.Planned++
		}
		c.Told = r.told(func(l history.Loss) bool { return l.Kind == kind })
		c.Overlap = timesOf(v.OverlapList, func(o history.Overlap) (time.Duration, bool) { return o.For, o.Kind == kind })
		c.Losses, c.Overlaps = c.Told.Count, c.Overlap.Count
		r.Faults = append(r.Faults, c)
	}
	of := func(class plan.Class) func(history.Loss) bool {
		return func(l history.Loss) bool {
			return l.Fault > 0 && l.Kind != plan.FreezeWorker && l.Kind.Class() == class
		}
	}
	r.ToldServer, r.ToldSilence = r.told(of(plan.ServerEnds)), r.told(of(plan.Silence))
	r.ToldWake = r.told(func(l history.Loss) bool { return l.Kind == plan.FreezeWorker })
	r.OverlapMS = timesOf(v.OverlapList, func(o history.Overlap) (time.Duration, bool) { return o.For, true })
	return r
}

// told returns how long some losses took to be told.
func (r *Report) told(which func(history.Loss) bool) Times {
	return timesOf(r.LossList, func(l history.Loss) (time.Duration, bool) { return l.After, which(l) })
}

// Leaks is how much was left behind, in all.
func (r *Report) Leaks() int {
	return r.Leaked.ServerLocks + r.Leaked.Connections + r.Leaked.Goroutines
}

// Good reports whether everything held.
func (r *Report) Good() bool {
	return r.Violations == 0 && len(r.FalseLosses) == 0 && len(r.LateLosses) == 0 && r.Leaks() == 0 && len(r.Problems) == 0 && r.Grants > 0 &&
		(!r.Soak || r.Flat != nil && r.Flat.Flat)
}

// ExitStatus is the program's. An interrupt before the first grant is no failure.
func (r *Report) ExitStatus() int {
	switch {
	case !r.Good() && !(r.Interrupted && r.Grants == 0):
		return report.ExitFailed
	case r.Interrupted:
		return report.ExitInterrupted
	default:
		return report.ExitOK
	}
}
