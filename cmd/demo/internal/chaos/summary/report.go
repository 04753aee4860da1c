// Package summary is what a chaos run reports: in words, as JSON, and as a page.
package summary

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/history"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/chaos/plan"
)

// Sample is what a worker process used at one moment.
type Sample struct {
	At          time.Duration `json:"at"`
	Generation  int           `json:"generation"`
	Resident    uint64        `json:"resident"`
	Heap        uint64        `json:"heap"`
	Goroutines  int           `json:"goroutines"`
	Descriptors int           `json:"descriptors"`
}

// Times are percentiles of a duration, in milliseconds.
type Times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func timesOf(all []time.Duration) Times {
	if len(all) == 0 {
		return Times{}
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	at := func(q float64) float64 { return ms(all[min(len(all)-1, int(q*float64(len(all))))]) }
	return Times{Count: len(all), P50: at(0.5), P99: at(0.99), Max: ms(all[len(all)-1])}
}

// Leaked is what was left after every manager had been closed.
type Leaked struct {
	ServerLocks int `json:"server_locks"`
	Connections int `json:"connections"`
	Goroutines  int `json:"goroutines"`
}

// FaultCount is how often a kind of fault was made, and what came of it.
type FaultCount struct {
	Kind     plan.Kind `json:"kind"`
	Planned  int       `json:"planned"`
	Done     int       `json:"done"`
	Failed   int       `json:"failed"`
	Losses   int       `json:"losses"`
	Told     Times     `json:"told_ms"`
	Overlaps int       `json:"overlaps"`
	Overlap  Times     `json:"overlap_ms"`
}

// FaultDone is one fault as it was carried out; times since the load's beginning.
type FaultDone struct {
	plan.Step
	Began  time.Duration `json:"began"`
	Ended  time.Duration `json:"ended"`
	Note   string        `json:"note,omitempty"`
	Failed string        `json:"failed,omitempty"`
}

// Report is the result of a run.
type Report struct {
	Server      string        `json:"server"`
	Seed        uint64        `json:"seed"`
	Seconds     float64       `json:"seconds"`
	Processes   int           `json:"processes"`
	Workers     int           `json:"workers"`
	Keys        int           `json:"keys"`
	Interval    time.Duration `json:"health_interval"`
	Timeout     time.Duration `json:"health_timeout"`
	Trust       time.Duration `json:"trust"`
	Session     time.Duration `json:"session_timeout"`
	Without     string        `json:"left_out,omitempty"` // faults that could not be made here, and why
	Interrupted bool          `json:"interrupted,omitempty"`
	Lie         bool          `json:"lie,omitempty"`

	Operations history.Operations `json:"operations"`
	Grants     int                `json:"grants"`
	Checked    int                `json:"holds_checked"`
	Windows    int                `json:"porcupine_windows"`
	Killed     int                `json:"holds_of_killed_processes"`

	Faults   []FaultCount `json:"faults"`
	Schedule []FaultDone  `json:"schedule"`

	Losses         int                 `json:"losses"`
	ByCause        map[string]int      `json:"losses_by_cause"`
	ToldServer     Times               `json:"told_after_server_ended_ms"`
	ToldSilence    Times               `json:"told_after_silence_began_ms"`
	ToldWake       Times               `json:"told_after_waking_ms"`
	FalseLosses    []history.Loss      `json:"false_losses"`
	LateLosses     []history.Loss      `json:"late_losses"`
	StallLosses    int                 `json:"losses_in_stalls_of_the_machine"`
	Stalls         int                 `json:"stalls_of_the_machine"`
	LongestStall   time.Duration       `json:"longest_stall"`
	Overlaps       int                 `json:"overlaps"`
	OverlapMS      Times               `json:"overlap_ms"`
	StaleWrites    int                 `json:"stale_writes_explained"`
	Violations     int                 `json:"violations"`
	Found          []history.Violation `json:"violations_found"`
	Leaked         Leaked              `json:"leaked"`
	KeeperRestarts uint64              `json:"keeper_restarts"`
	Failures       map[string]int      `json:"failures,omitempty"`
	Problems       []string            `json:"problems,omitempty"`
	Flat           *Flatness           `json:"flat,omitempty"`
	FlatJudged     bool                `json:"flat_judged,omitempty"`

	LossList    []history.Loss    `json:"-"`
	OverlapList []history.Overlap `json:"-"`
	Timeline    *history.Timeline `json:"-"`
	Samples     [][]Sample        `json:"-"` // by process, from 0
	Stacks      string            `json:"-"`
}

// New makes a report of a plan's run that began at a time of the shared clock.
func New(p *plan.Plan, steps []plan.Step, faults []*history.Fault, v *history.Verdict, start int64) *Report {
	r := &Report{
		Seed: p.Seed, Processes: p.Processes, Workers: p.Workers, Keys: p.Keys, Interval: p.Interval, Timeout: p.Timeout,
		Trust: p.Trust(), Session: p.SessionTimeout(), Lie: p.Lie,
		Operations: v.Operations, Grants: v.Grants, Checked: v.Checked, Windows: v.Windows, Killed: v.Killed,
		Losses: len(v.Losses), ByCause: map[string]int{}, FalseLosses: append([]history.Loss{}, v.FalseLosses...),
		StallLosses: v.StallLosses, Stalls: v.Stalls, LongestStall: v.LongestStall,
		LateLosses: append([]history.Loss{}, v.LateLosses...),
		Overlaps:   len(v.Overlaps), StaleWrites: v.StaleExplained, Violations: v.ViolationCount(),
		Found: append([]history.Violation{}, v.Violations...), Problems: v.Problems,
		LossList: v.Losses, OverlapList: v.Overlaps, Failures: map[string]int{},
	}
	for _, f := range faults {
		r.Schedule = append(r.Schedule, FaultDone{Step: f.Step, Began: since(f.Begin, start),
			Ended: since(max(f.Begin, f.Active, f.End), start), Note: f.Note, Failed: f.Failed})
	}
	r.countFaults(p, steps, faults)
	r.times()
	return r
}

func since(at, start int64) time.Duration { return time.Duration(max(0, at-start)) }

func (r *Report) countFaults(p *plan.Plan, steps []plan.Step, faults []*history.Fault) {
	for _, kind := range p.Faults {
		c := FaultCount{Kind: kind}
		for i := range steps {
			if steps[i].Kind == kind {
				c.Planned++
			}
		}
		for _, f := range faults {
			switch {
			case f.Kind != kind || f.Begin == 0:
			case f.Failed != "":
				c.Failed++
			default:
				c.Done++
			}
		}
		var told, overlap []time.Duration
		for _, l := range r.LossList {
			if l.Kind == kind {
				told = append(told, l.After)
			}
		}
		for _, o := range r.OverlapList {
			if o.Kind == kind {
				overlap = append(overlap, o.For)
			}
		}
		c.Losses, c.Told, c.Overlaps, c.Overlap = len(told), timesOf(told), len(overlap), timesOf(overlap)
		r.Faults = append(r.Faults, c)
	}
}

func (r *Report) times() {
	var server, silence, wake, overlap []time.Duration
	for _, l := range r.LossList {
		r.ByCause[l.Cause]++
		if l.Fault == 0 {
			continue
		}
		switch {
		case l.Kind == plan.FreezeWorker:
			wake = append(wake, l.After)
		case plan.ClassOf(l.Kind) == plan.Silence:
			silence = append(silence, l.After)
		case plan.ClassOf(l.Kind) == plan.ServerEnds:
			server = append(server, l.After)
		}
	}
	for _, o := range r.OverlapList {
		overlap = append(overlap, o.For)
	}
	r.ToldServer, r.ToldSilence, r.ToldWake, r.OverlapMS = timesOf(server), timesOf(silence), timesOf(wake), timesOf(overlap)
}

// Leaks is how much was left behind, in all.
func (r *Report) Leaks() int {
	return r.Leaked.ServerLocks + r.Leaked.Connections + r.Leaked.Goroutines
}

// Good reports whether everything held.
func (r *Report) Good() bool {
	return r.Violations == 0 && len(r.FalseLosses) == 0 && len(r.LateLosses) == 0 && r.Leaks() == 0 && len(r.Problems) == 0 && r.Grants > 0 &&
		(!r.FlatJudged || r.Flat != nil && r.Flat.Flat)
}
