// Package worker is one process of the load: it opens a lock manager of its own, as one service among several would.
// Its parent calls it by net/rpc, as JSON over its stdin and stdout, one call after another:
//
//	Open(Job)    opens the manager and the ways to the oracle
//	Start        begins the load
//	Progress     tells how it goes
//	Stop         waiters withdraw, holders finish, everything is closed; the process stays, so that a leak would still show
//
// The connection string travels in the Job and not in an argument, where any user of the machine could read it. A
// worker whose stdin ends exits at once: no worker outlives its parent.
package worker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lockkeeper/lockkeeper/cmd/demo/internal/oracle"
	"github.com/lockkeeper/lockkeeper/manager"
)

// Job is everything that a worker process needs to know.
type Job struct {
	Work
	Process   int // counted from 1
	DSN       string
	Namespace string // keeps two runs on one database apart
	Table     string // the oracle's
	Slots     string // the file of the overlap detector that all workers map
	Limits    Limits
}

// Work is what the user asked of each process.
type Work struct {
	Workers int // goroutines that take locks
	Keys    int
	Skew    string
	Hold    time.Duration
	Cancel  float64 // the fraction of acquisitions that is cancelled
	Readers float64 // the fraction of acquisitions that shares the lock
	Wait    string  // one of WaysToWait
	NoLocks bool
}

// The ways in which a key that another process holds is waited for.
const (
	ByHints = "hints"
	InQueue = "queue"
)

// WaysToWait are the values of --wait.
var WaysToWait = []string{ByHints, InQueue}

// app begins the application_name of the process's connections.
func (j *Job) app() string { return fmt.Sprintf("%s p%d", j.Namespace, j.Process) }

// Limits is how many connections one worker process may open.
type Limits struct {
	Sessions int // for locks
	Oracle   int // for the reads and writes that prove exclusion
}

// Total is the most connections that one worker process has at one time.
func (l Limits) Total() int { return l.Sessions + l.Oracle }

// Counts are totals since the start.
type Counts struct {
	Acquired  uint64 // granted, and the read-modify-write or, in a reader's hold, both reads were done
	Read      uint64 // of those acquired: by readers
	Cancelled uint64 // cancelled on the way, as --cancel asks
	CutShort  uint64 // of those acquired: granted before the time to be cancelled, and released by it
	Withdrawn uint64 // still waiting when the time was over
	Failed    uint64 // refused or broken off with an error
	Lost      uint64 // granted, and lost before it was released
	AfterLoss uint64 // holders that met another one and then heard that their lock was lost
	Met       uint64 // holders that met another one or saw the counter change, and no lock was lost: violations as far as they show at once
}

// Tally is what one worker process has seen, or all of them together.
type Tally struct {
	Counts
	GrantsLocal, GrantsServer uint64
	Waiting, Held, Sessions   int // at this moment
	Waits                     Waits
	Pool                      manager.SessionStats // Sessions by kind
	Losses                    map[string]uint64    // of locks, by the cause that the lock manager names
	Reasons                   []Reason

	// What follows comes with Stop alone.
	ReaderWaits Waits `json:",omitzero"`
	WriterWaits Waits `json:",omitzero"`
	MostReaders int   // that held one key at one time, over all processes
	Keys        []oracle.Seen
	SlowestNews time.Duration // the longest that a holder went on after it had met another one, until it heard of its loss
	Goroutines  int           // that were left after everything had been closed
	Stacks      string
	CloseErrors []string
}

// Add adds what another process has seen, but for Keys, which only the oracle can add up.
func (t *Tally) Add(o *Tally) {
	t.Acquired += o.Acquired
	t.Read += o.Read
	t.Cancelled += o.Cancelled
	t.CutShort += o.CutShort
	t.Withdrawn += o.Withdrawn
	t.Failed += o.Failed
	t.Lost += o.Lost
	t.AfterLoss += o.AfterLoss
	t.Met += o.Met
	t.GrantsLocal += o.GrantsLocal
	t.GrantsServer += o.GrantsServer
	t.Waiting += o.Waiting
	t.Held += o.Held
	t.Sessions += o.Sessions
	t.Pool.Shared += o.Pool.Shared
	t.Pool.Waiting += o.Pool.Waiting
	t.Pool.Dedicated += o.Pool.Dedicated
	t.Pool.Idle += o.Pool.Idle
	t.Pool.Opening += o.Pool.Opening
	t.Pool.Queued += o.Pool.Queued
	for cause, n := range o.Losses {
		if t.Losses == nil {
			t.Losses = map[string]uint64{}
		}
		t.Losses[cause] += n
	}
	t.Waits = merged(t.Waits, o.Waits)
	t.ReaderWaits = merged(t.ReaderWaits, o.ReaderWaits)
	t.WriterWaits = merged(t.WriterWaits, o.WriterWaits)
	t.MostReaders = max(t.MostReaders, o.MostReaders)
	t.SlowestNews = max(t.SlowestNews, o.SlowestNews)
	for _, reason := range o.Reasons {
		t.because(reason)
	}
	t.Goroutines += o.Goroutines
	t.Stacks = cmp.Or(t.Stacks, o.Stacks)
	t.CloseErrors = append(t.CloseErrors, o.CloseErrors...)
}

// Reason is a kind of failure, with an example of it.
type Reason struct {
	Kind  string
	Count uint64
	First string
}

// reasonKinds bounds the kinds of failure that are told apart.
const reasonKinds = 16

func (t *Tally) because(reason Reason) {
	same := func(r Reason) bool { return r.Kind == reason.Kind }
	if len(t.Reasons) >= reasonKinds && !slices.ContainsFunc(t.Reasons, same) {
		reason.Kind = "other"
	}
	if i := slices.IndexFunc(t.Reasons, same); i >= 0 {
		t.Reasons[i].Count += reason.Count
	} else {
		t.Reasons = append(t.Reasons, reason)
	}
}

// Waits is a histogram of microseconds that is text on the wire.
type Waits struct{ *hdrhistogram.Histogram }

// maxWait is beyond any run that makes sense; longer waits count as this.
const maxWait = 24 * time.Hour

// NewWaits is exact to three digits.
func NewWaits() Waits { return Waits{hdrhistogram.New(1, maxWait.Microseconds(), 3)} }

// Record adds a wait. One below the clock's resolution still is one.
func (w Waits) Record(wait time.Duration) {
	// The value is clamped to the histogram's range, which is all that this could complain about.
	_ = w.RecordValue(min(max(wait.Microseconds(), 1), maxWait.Microseconds()))
}

// merged adds o to w, either of which may be missing.
func merged(w, o Waits) Waits {
	if o.Histogram == nil {
		return w
	}
	if w.Histogram == nil {
		w = NewWaits()
	}
	w.Merge(o.Histogram)
	return w
}

// MarshalText is part of JSON.
func (w Waits) MarshalText() ([]byte, error) {
	return w.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText is part of JSON.
func (w *Waits) UnmarshalText(text []byte) (err error) {
	w.Histogram, err = hdrhistogram.Decode(text)
	return err
}
