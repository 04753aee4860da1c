// Package proof finds out by trying whether locks exclude: worker processes contend for a few keys, and whoever is granted one
// looks whether somebody else is inside.
//
// It looks in two ways that have nothing to do with the locks or the database. Each key has a file on this machine. Inside, a holder takes
// the operating system's own lock of that file, without waiting: it is refused if another holder is inside. And it reads a counter from
// the file, holds on, and writes what it read plus one: two at a time would lose a count.
package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Plan is what each worker process is to do.
type Plan struct {
	Folder    string        `json:"folder"` // of the keys' files
	Namespace string        `json:"namespace"`
	Hash      string        `json:"hash"`
	Pooled    bool          `json:"pooled"` // by a pooler in transaction mode
	Keys      int           `json:"keys"`
	Workers   int           `json:"workers"`
	Hold      time.Duration `json:"hold"`
	Duration  time.Duration `json:"duration"`
	NoLocks   bool          `json:"no_locks"`
}

// Key is the name of one of the keys.
func Key(i int) string { return fmt.Sprintf("key %d", i) }

// Tally is what workers have seen.
type Tally struct {
	// Grants are holds that were begun.
	Grants uint64 `json:"grants"`
	// Overlaps are holds in which somebody else was inside.
	Overlaps uint64 `json:"overlaps"`
	// Losses are holds whose lock was lost before they ended.
	Losses uint64 `json:"losses"`
	// Failures are acquisitions that failed, and Failure is the text of the first.
	Failures uint64 `json:"failures"`
	Failure  string `json:"failure,omitempty"`
	// LongestWait is for a grant.
	LongestWait time.Duration `json:"longest_wait"`
}

// Add adds what another has seen.
func (t *Tally) Add(o Tally) {
	t.Grants += o.Grants
	t.Overlaps += o.Overlaps
	t.Losses += o.Losses
	t.Failures += o.Failures
	if t.Failure == "" {
		t.Failure = o.Failure
	}
	t.LongestWait = max(t.LongestWait, o.LongestWait)
}

// Result is what a proof has come to.
type Result struct {
	Tally
	// Counted is the sum of the keys' counters: that of the grants, if no two were inside at a time.
	Counted uint64 `json:"counted"`
	// Left are locks that are held at the server after everything was closed.
	Left int `json:"left"`
	// Took is how long the processes contended.
	Took        time.Duration `json:"took"`
	Interrupted bool          `json:"interrupted"`
}

// ErrUnsupported is returned where files have no locks of the operating system's.
var ErrUnsupported = errors.New("lockkeeper prove needs flock(2), which this system does not have")

// Problem says in what it failed, nil if it did not.
func (r *Result) Problem() error {
	var errs []error
	if r.Overlaps > 0 || r.Counted != r.Grants {
		why := "the locks do not exclude"
		if r.Losses > 0 {
			why = "sessions were lost under their holders, which leaves milliseconds for two: run it again where no session is lost"
		}
		errs = append(errs, fmt.Errorf("two holders were inside at one time (%d met another, %d of %d grants were counted): %s",
			r.Overlaps, r.Counted, r.Grants, why))
	}
	if r.Grants == 0 {
		errs = append(errs, errors.New("nothing was granted, so nothing is proved"))
	}
	if r.Left > 0 {
		errs = append(errs, fmt.Errorf("%d locks are left at the server", r.Left))
	}
	if r.Failures > 0 {
		errs = append(errs, fmt.Errorf("%d acquisitions failed, the first with: %s", r.Failures, r.Failure))
	}
	return errors.Join(errs...)
}

// MarshalJSON gives durations as seconds.
func (r *Result) MarshalJSON() ([]byte, error) {
	problem := ""
	if err := r.Problem(); err != nil {
		problem = err.Error()
	}
	return json.Marshal(map[string]any{
		"exclusive": r.Overlaps == 0 && r.Counted == r.Grants && r.Grants > 0, "grants": r.Grants, "overlaps": r.Overlaps, "counted": r.Counted,
		"losses": r.Losses, "failures": r.Failures, "left": r.Left, "seconds": r.Took.Seconds(), "longest_wait_seconds": r.LongestWait.Seconds(),
		"interrupted": r.Interrupted, "problem": problem,
	})
}
