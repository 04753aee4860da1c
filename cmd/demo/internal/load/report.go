package load

import (
	"fmt"
	"math"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/server"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// Report is the result of a load. Its fields in JSON are a promise to scripts; the rest is for the screen.
type Report struct {
	Server            string        `json:"server"`
	Processes         int           `json:"processes"`
	Workers           int           `json:"workers"` // of each process
	Keys              int           `json:"keys"`
	Wait              string        `json:"wait"` // how keys that another process holds were waited for
	Seconds           float64       `json:"seconds"`
	Acquired          uint64        `json:"acquired"`
	AcquiredPerSecond float64       `json:"acquired_per_second"`
	Cancelled         uint64        `json:"cancelled"`
	Failed            uint64        `json:"failed"`
	Lost              uint64        `json:"lost"`
	Violations        uint64        `json:"violations"`
	FairnessJain      float64       `json:"fairness_jain"`
	WaitMS            WaitMS        `json:"wait_ms"`
	Readers           *Readers      `json:"readers,omitempty"` // with --readers alone
	Writers           *Side         `json:"writers,omitempty"`
	Sessions          int           `json:"sessions"` // the most for locks at one time, over all processes
	Leaked            server.Leaked `json:"leaked"`

	Plan        Plan           `json:"-"`
	Total       worker.Tally   `json:"-"`
	PerProcess  []uint64       `json:"-"` // what each acquired
	Verdict     oracle.Verdict `json:"-"`
	Throwaway   bool           `json:"-"`
	Interrupted bool           `json:"-"`
	Problems    []string       `json:"-"` // what kept the run from its end, or the check from being complete
}

// Side is the readers or the writers.
type Side struct {
	Acquired uint64 `json:"acquired"`
	WaitMS   WaitMS `json:"wait_ms"`
}

// Readers shared their locks.
type Readers struct {
	Side
	MostAtOnce int `json:"most_at_once"` // that held one key, over all processes
}

// WaitMS is how long the acquisitions that were granted had waited.
type WaitMS struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// newReport adds up what the processes saw. A process that failed saw nothing.
func newReport(plan Plan, results []*worker.Tally, took time.Duration) *Report {
	all := sum(results)
	r := &Report{
		Plan: plan, Processes: plan.Processes, Workers: plan.Workers, Keys: plan.Keys, Wait: plan.Wait, Seconds: round(took.Seconds(), 1e3),
		Total: all, Acquired: all.Acquired, Cancelled: all.Cancelled, Failed: all.Failed, Lost: all.Lost, WaitMS: waitMS(all.Waits),
		Leaked: server.Leaked{Goroutines: all.Goroutines},
	}
	if plan.Readers > 0 {
		r.Readers = &Readers{Side: Side{Acquired: all.Read, WaitMS: waitMS(all.ReaderWaits)}, MostAtOnce: all.MostReaders}
		r.Writers = &Side{Acquired: all.Acquired - all.Read, WaitMS: waitMS(all.WriterWaits)}
	}
	if took > 0 {
		r.AcquiredPerSecond = round(float64(all.Acquired)/took.Seconds(), 1e3)
	}
	for _, result := range results {
		acquired := uint64(0)
		if result != nil {
			acquired = result.Acquired
		}
		r.PerProcess = append(r.PerProcess, acquired)
	}
	r.FairnessJain = round(jain(r.PerProcess), 1e6)
	for _, closing := range all.CloseErrors {
		r.Problems = append(r.Problems, "closing the lock manager: "+closing)
	}
	return r
}

// round keeps three decimals for 1e3, and so on; more would be an invention.
func round(x, digits float64) float64 { return math.Round(x*digits) / digits }

func waitMS(w worker.Waits) WaitMS {
	if w.Histogram == nil {
		return WaitMS{}
	}
	at := func(q float64) float64 { return float64(w.ValueAtQuantile(q)) / 1000 }
	return WaitMS{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(w.Max()) / 1000}
}

// jain is Jain's index of fairness: 1 where all have the same, 1/n where one has everything. Nothing at all to share
// out is 0: no fairness was seen.
func jain(shares []uint64) float64 {
	var sum, squares float64
	for _, s := range shares {
		x := float64(s)
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(shares)) * squares)
}

func (r *Report) setVerdict(v oracle.Verdict) { r.Verdict, r.Violations = v, v.Violations }

// untested reports whether no writer was granted a lock. Readers alone exclude nobody.
func (r *Report) untested() bool { return r.Acquired == r.Total.Read }

// ExitStatus is 1 on any violation or leak, and where the run could not show that there is none.
func (r *Report) ExitStatus() int {
	switch {
	case r.Violations > 0, r.Leaked != server.Leaked{}, len(r.Problems) > 0:
		return report.ExitFailed
	case r.Interrupted:
		return report.ExitInterrupted
	case r.untested():
		return report.ExitFailed
	default:
		return report.ExitOK
	}
}

// plain is the progress as a line.
func (p progress) plain(duration time.Duration) string {
	line := fmt.Sprintf("%5.1f s of %v  %9s/s  acquired %s  waiting %s  wait p50 %s p99 %s  sessions %d", p.elapsed.Seconds(), duration,
		report.Count(uint64(p.perSecond)), report.Count(p.Acquired), report.Count(p.Waiting), report.Span(p.p50), report.Span(p.p99), p.Sessions)
	return line + unless0("  cancelled ", p.Cancelled) + unless0("  failed ", p.Failed) + unless0("  lost ", p.Lost)
}

// live is the progress for a terminal.
func (p progress) live(view *report.Screen, duration time.Duration, width int) []string {
	return []string{
		view.Bar(width, p.elapsed, duration),
		view.Row(width, "per second", "%s", report.Count(uint64(p.perSecond))),
		view.Row(width, "acquired", "%s%s%s%s", report.Count(p.Acquired), unless0("   cancelled ", p.Cancelled),
			unless0("   FAILED ", p.Failed), unless0("   LOST ", p.Lost)),
		view.Row(width, "waiting", "%s   holding %s", report.Count(p.Waiting), report.Count(p.Held)),
		view.Row(width, "wait", "p50 %s   p99 %s", report.Span(p.p50), report.Span(p.p99)),
		view.Row(width, "sessions", "%d in use", p.Sessions),
	}
}

func unless0(name string, count uint64) string {
	if count == 0 {
		return ""
	}
	return name + report.Count(count)
}
