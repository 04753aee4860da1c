// Package report is what a run ends with: one object for programs, one screen for people, and an exit status.
package report

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/wire"
)

// Load is the result of a load. Its fields in JSON are a promise to scripts; the rest is for the screen.
type Load struct {
	Server            string  `json:"server"`
	Processes         int     `json:"processes"`
	Workers           int     `json:"workers"` // of each process
	Keys              int     `json:"keys"`
	Seconds           float64 `json:"seconds"`
	Acquired          uint64  `json:"acquired"`
	AcquiredPerSecond float64 `json:"acquired_per_second"`
	Cancelled         uint64  `json:"cancelled"`
	Failed            uint64  `json:"failed"`
	Lost              uint64  `json:"lost"`
	Violations        uint64  `json:"violations"`
	FairnessJain      float64 `json:"fairness_jain"`
	WaitMS            WaitMS  `json:"wait_ms"`
	Sessions          int     `json:"sessions"` // the most for locks at one time, over all processes
	Leaked            Leaked  `json:"leaked"`

	Detail Detail `json:"-"`
}

// WaitMS is how long the acquisitions that were granted had waited.
type WaitMS struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Leaked is what was left after everything had been closed.
type Leaked struct {
	ServerLocks int `json:"server_locks"`
	Connections int `json:"connections"`
	Goroutines  int `json:"goroutines"`
}

// Detail is what only people read.
type Detail struct {
	Throwaway    bool
	Skew         string
	Hold         time.Duration
	Cancel       float64
	NoLocks      bool
	Interrupted  bool
	CutShort     uint64
	Withdrawn    uint64
	AfterLoss    uint64
	SlowestNews  time.Duration
	PerProcess   []uint64
	GrantsLocal  uint64
	GrantsServer uint64
	Verdict      oracle.Verdict
	Reasons      []wire.Reason
	Stacks       string   // of leaked goroutines
	Problems     []string // what kept the run from its end, or the check from being complete
}

// Waits turns a histogram of microseconds into the figures of a report.
func Waits(h *hdrhistogram.Histogram) WaitMS {
	at := func(q float64) float64 { return round(float64(h.ValueAtQuantile(q)) / 1000) }
	if h.TotalCount() == 0 {
		return WaitMS{}
	}
	return WaitMS{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: round(float64(h.Max()) / 1000)}
}

// round keeps three decimals, the microseconds of a millisecond; more would be an invention.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// SetTime fills in the duration and the rate.
func (l *Load) SetTime(d time.Duration) {
	l.Seconds = round(d.Seconds())
	if d > 0 {
		l.AcquiredPerSecond = round(float64(l.Acquired) / d.Seconds())
	}
}

// Sum adds the workers' counts.
func (l *Load) Sum(results []*wire.Result) error {
	all := hdrhistogram.New(1, (24 * time.Hour).Microseconds(), 3)
	var counts wire.Counts
	reasons := make(map[string]int) // kind to its place in Reasons
	for _, r := range results {
		if r == nil {
			l.Detail.PerProcess = append(l.Detail.PerProcess, 0)
			continue
		}
		counts.Add(r.Counts)
		l.Detail.PerProcess = append(l.Detail.PerProcess, r.Acquired)
		l.Detail.SlowestNews = max(l.Detail.SlowestNews, r.SlowestNews)
		l.Detail.GrantsLocal += r.GrantsLocal
		l.Detail.GrantsServer += r.GrantsServer
		l.Leaked.Goroutines += r.Goroutines.Leaked()
		if r.Goroutines.Leaked() > 0 && l.Detail.Stacks == "" {
			l.Detail.Stacks = r.Goroutines.Stacks
		}
		if r.CloseError != "" {
			l.Detail.Problems = append(l.Detail.Problems, "closing the lock manager: "+r.CloseError)
		}
		for _, reason := range r.Reasons {
			if i, ok := reasons[reason.Kind]; ok {
				l.Detail.Reasons[i].Count += reason.Count
				continue
			}
			reasons[reason.Kind] = len(l.Detail.Reasons)
			l.Detail.Reasons = append(l.Detail.Reasons, reason)
		}
		h, err := hdrhistogram.Decode(r.Waits)
		if err != nil {
			return err
		}
		all.Merge(h)
	}
	l.Acquired, l.Cancelled, l.Failed, l.Lost = counts.Acquired, counts.Cancelled, counts.Failed, counts.Lost
	l.Detail.CutShort, l.Detail.Withdrawn, l.Detail.AfterLoss = counts.CutShort, counts.Withdrawn, counts.AfterLoss
	l.WaitMS = Waits(all)
	l.FairnessJain = math.Round(Jain(l.Detail.PerProcess)*1e6) / 1e6
	return nil
}

// SetVerdict fills in what the oracle says.
func (l *Load) SetVerdict(v oracle.Verdict) {
	l.Detail.Verdict = v
	l.Violations = v.Violations
}

// Exit statuses of the program.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130 // as shells have it: 128 + SIGINT
)

// ExitStatus is 1 on any violation or leak, and where the run could not show that there is none.
func (l *Load) ExitStatus() int {
	switch {
	case l.Violations > 0, l.leaks() > 0, len(l.Detail.Problems) > 0:
		return ExitFailed
	case l.Detail.Interrupted:
		return ExitInterrupted
	case l.Acquired == 0:
		return ExitFailed
	default:
		return ExitOK
	}
}

func (l *Load) leaks() int { return l.Leaked.ServerLocks + l.Leaked.Connections + l.Leaked.Goroutines }
