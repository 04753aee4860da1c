package load

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/report"
	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/worker"
)

// Watcher is told how a load goes, in events whose values become JSON. Publish must not wait for anybody.
type Watcher interface{ Publish(event string, value any) }

// The events of a load. A watcher may keep the last of the first three alone, and drop old ones of the others.
const (
	EventPhase  = "phase"  // Phase
	EventRun    = "run"    // Settings, once the worker processes are connected
	EventResult = "result" // Outcome, the last one
	EventSample = "sample" // Sample, at each interval
	EventFault  = "fault"  // Fault, when something went wrong
)

// Phase says what the load is about to do.
type Phase struct {
	Name string `json:"name"` // starting, running or closing
	Text string `json:"text"`
}

// Phases of a load, in order.
var (
	Starting = Phase{"starting", "Starting the server and the worker processes"}
	running  = Phase{"running", "Running"}
	closing  = Phase{"closing", "The time is over: closing everything, and comparing the counters"}
	stopping = Phase{"closing", "Interrupted: closing everything, and comparing the counters"}
)

// Settings are what a load was asked for.
type Settings struct {
	Server   string  `json:"server"`
	Text     string  `json:"text"`
	Duration float64 `json:"duration_seconds"`
	Keys     int     `json:"keys"`
	Workers  int     `json:"workers"` // in all
	Readers  bool    `json:"readers"`
	Cancels  bool    `json:"cancels"`
	NoLocks  bool    `json:"no_locks"`
}

// Sample is the state of the whole load at one moment.
type Sample struct {
	At         float64        `json:"at"` // seconds since the start
	PerSecond  float64        `json:"per_second"`
	Acquired   uint64         `json:"acquired"`
	Cancelled  uint64         `json:"cancelled"`
	Failed     uint64         `json:"failed"`
	Lost       uint64         `json:"lost"`
	Violations uint64         `json:"violations"` // as far as they show at once
	Waiting    int            `json:"waiting"`
	Holding    int            `json:"holding"`
	Wait       SampleWait     `json:"wait_ms"` // of the waits that ended lately
	Keys       *oracle.States `json:"keys,omitempty"`
	Sessions   SampleSessions `json:"sessions"`
}

// SampleWait is in milliseconds.
type SampleWait struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// SampleSessions are the database sessions for locks by what they do.
type SampleSessions struct {
	Total     int `json:"total"`
	Shared    int `json:"shared"`    // each has many locks
	Waiting   int `json:"waiting"`   // each waits for one key, or has it
	Dedicated int `json:"dedicated"` // each has one lock
	Idle      int `json:"idle"`
	Opening   int `json:"opening"` // not in Total
}

// Fault is something that went wrong, or several of a kind since the sample before.
type Fault struct {
	At    float64 `json:"at"`
	Kind  string  `json:"kind"` // loss, failure, violation or problem
	Count uint64  `json:"count"`
	Text  string  `json:"text"`
}

// watching tells a watcher how one load goes. A nil one has no watcher. One goroutine uses it.
type watching struct {
	Watcher
	slots  *oracle.Slots // of all processes; nil where they share none
	before worker.Tally
}

func (w *watching) tell(event string, value any) {
	if w != nil {
		w.Publish(event, value)
	}
}

// open maps the file in which the processes show who is where.
func (w *watching) open(path string, keys int) (err error) {
	if w != nil && oracle.SharedSlots {
		w.slots, err = oracle.OpenSlots(path, keys)
	}
	return err
}

func (w *watching) close() {
	if w != nil && w.slots != nil {
		_ = w.slots.Close() // nothing is lost with it
	}
}

// closingAfter is the phase after the time of the load.
func closingAfter(interrupted bool) Phase {
	if interrupted {
		return stopping
	}
	return closing
}

// settings are told when the load begins.
func (j *job) settings() Settings {
	r := Report{Plan: j.Plan, Processes: j.Processes, Workers: j.Workers, Keys: j.Keys, Wait: j.Wait}
	name := j.server.Name
	if j.server.Throwaway {
		name += ", throwaway"
	}
	return Settings{Server: name, Text: r.settings(), Duration: j.Duration.Seconds(), Keys: j.Keys, Workers: j.Processes * j.Workers,
		Readers: j.Readers > 0, Cancels: j.Cancel > 0, NoLocks: j.NoLocks}
}

// progress tells a sample, and what went wrong since the one before.
func (w *watching) progress(p progress) {
	if w == nil {
		return
	}
	w.tell(EventSample, w.sample(p))
	for _, fault := range faultsBetween(w.before, p.Tally, p.elapsed) {
		w.tell(EventFault, fault)
	}
	w.before = p.Tally
}

func (w *watching) sample(p progress) Sample {
	s := Sample{
		At: seconds(p.elapsed), PerSecond: round(p.perSecond, 1e1), Acquired: p.Acquired, Cancelled: p.Cancelled, Failed: p.Failed, Lost: p.Lost,
		Violations: p.Met, Waiting: p.Waiting, Holding: p.Held,
		Wait: SampleWait{P50: millis(p.p50), P90: millis(p.p90), P99: millis(p.p99)},
		Sessions: SampleSessions{Total: p.Sessions, Shared: p.Pool.Shared, Waiting: p.Pool.Waiting, Dedicated: p.Pool.Dedicated,
			Idle: p.Pool.Idle, Opening: p.Pool.Opening},
	}
	if w.slots != nil {
		states := w.slots.States()
		s.Keys = &states
	}
	return s
}

// ended tells what the samples were too late for: what was counted between the last one and the end, and what kept the run from
// its end.
func (w *watching) ended(r *Report) {
	if w == nil {
		return
	}
	took := time.Duration(r.Seconds * float64(time.Second))
	for _, fault := range faultsBetween(w.before, r.Total, took) {
		w.tell(EventFault, fault)
	}
	for _, problem := range r.Problems {
		w.tell(EventFault, Fault{At: seconds(took), Kind: "problem", Count: 1, Text: problem})
	}
}

// faultsBetween are what went wrong from one tally to the next.
func faultsBetween(before, now worker.Tally, at time.Duration) []Fault {
	var faults []Fault
	add := func(kind string, count uint64, format string, args ...any) {
		faults = append(faults, Fault{At: seconds(at), Kind: kind, Count: count, Text: fmt.Sprintf(format, args...)})
	}
	if n := since(before.Met, now.Met); n > 0 {
		add("violation", n, "%s: two holders of one key at one time, and no lock was lost", report.Of(n, "violation"))
	}
	if n := since(before.Lost, now.Lost); n > 0 {
		add("loss", n, "%s lost while held", report.Of(n, "lock"))
	}
	for _, cause := range slices.Sorted(maps.Keys(now.Losses)) {
		if n := since(before.Losses[cause], now.Losses[cause]); n > 0 && cause != closedByUs {
			add("loss", n, "the lock manager lost %s: %s", report.Of(n, "lock"), cause)
		}
	}
	for _, reason := range now.Reasons {
		known := uint64(0)
		if i := slices.IndexFunc(before.Reasons, func(r worker.Reason) bool { return r.Kind == reason.Kind }); i >= 0 {
			known = before.Reasons[i].Count
		}
		if n := since(known, reason.Count); n > 0 {
			add("failure", n, "%s failed: %s", report.Of(n, "acquisition"), reason.Kind)
		}
	}
	return faults
}

// closedByUs is the cause of losses that the lock manager brings about itself, when it closes.
const closedByUs = "closed"

// since is 0 where a count went back, as it does when a process is gone.
func since(before, now uint64) uint64 { return max(before, now) - before }

func seconds(d time.Duration) float64 { return round(d.Seconds(), 1e2) }
func millis(d time.Duration) float64  { return float64(d.Microseconds()) / 1000 }
