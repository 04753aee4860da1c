// Package wire is what the demo's parent process and its worker processes say to each other: JSON lines, orders down
// a worker's stdin and events up its stdout.
//
//	parent                          worker
//	  | -- Job ------------------------> |   opens its manager
//	  | <------------------ ready ------ |
//	  | -- start ----------------------> |   the load begins in all workers at once
//	  | <--------------- progress ------ |   several times a second
//	  | -- stop -----------------------> |   waiters withdraw, holders finish, everything is closed
//	  | <----------------- closed ------ |   the result; the process stays, so that a leak would still show
//	  | -- exit (or end of file) ------> |
//
// The connection string travels in the Job and not in an argument, where any user of the machine could read it. A
// worker whose stdin ends exits at once: no worker outlives its parent.
package wire

import "time"

// Job is everything that a worker process needs to know. It is the first line that it reads.
type Job struct {
	Process   int           `json:"process"` // counted from 1
	DSN       string        `json:"dsn"`
	App       string        `json:"app"`       // application_name of its connections
	Namespace string        `json:"namespace"` // keeps two runs on one database apart
	Table     string        `json:"table"`     // the oracle's table, quoted and qualified
	Slots     string        `json:"slots"`     // the file of the overlap detector that all workers map
	Workers   int           `json:"workers"`
	Keys      int           `json:"keys"`
	Skew      string        `json:"skew"`
	Hold      time.Duration `json:"hold"`
	Cancel    float64       `json:"cancel"`
	NoLocks   bool          `json:"no_locks"`
	Limits    Limits        `json:"limits"`
}

// Limits is how many connections one worker process may open.
type Limits struct {
	Sessions int `json:"sessions"` // for locks
	Oracle   int `json:"oracle"`   // for the reads and writes that prove exclusion
}

// Total is the most connections that one worker process has at one time.
func (l Limits) Total() int { return l.Sessions + l.Oracle }

// Order is a line that the parent sends after the Job.
type Order struct {
	Do string `json:"do"`
}

// The orders, in the order in which they come.
const (
	Start = "start"
	Stop  = "stop"
	Exit  = "exit"
)

// Event is a line that a worker sends.
type Event struct {
	Kind     string    `json:"kind"`
	Error    string    `json:"error,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Result   *Result   `json:"result,omitempty"`
}

// The kinds of event.
const (
	Ready   = "ready"
	Working = "progress"
	Closed  = "closed"
	Failed  = "failed" // the worker could not begin; Error says why
)

// Counts are the totals of one worker process since its start.
type Counts struct {
	Acquired  uint64 `json:"acquired"`   // granted, and the read-modify-write was done
	Cancelled uint64 `json:"cancelled"`  // cancelled on the way, as --cancel asks
	CutShort  uint64 `json:"cut_short"`  // of those acquired: granted before the time to be cancelled, and released by it
	Withdrawn uint64 `json:"withdrawn"`  // still waiting when the time was over
	Failed    uint64 `json:"failed"`     // refused or broken off with an error
	Lost      uint64 `json:"lost"`       // granted, and lost before it was released
	AfterLoss uint64 `json:"after_loss"` // holders that met another one and then heard that their lock was lost
}

// Add sums two workers' counts.
func (c *Counts) Add(o Counts) {
	c.Acquired += o.Acquired
	c.Cancelled += o.Cancelled
	c.CutShort += o.CutShort
	c.Withdrawn += o.Withdrawn
	c.Failed += o.Failed
	c.Lost += o.Lost
	c.AfterLoss += o.AfterLoss
}

// Progress is a worker's state at one moment.
type Progress struct {
	Counts
	Waiting  int    `json:"waiting"`
	Held     int    `json:"held"`
	Sessions int    `json:"sessions"`
	Waits    []byte `json:"waits,omitempty"` // encoded histogram of the waits since the last Progress
}

// Result is a worker's last word, sent after everything in it has been closed.
type Result struct {
	Counts
	Keys         []KeyCount    `json:"keys"`
	Waits        []byte        `json:"waits"`                  // encoded histogram of all waits, in microseconds
	SlowestNews  time.Duration `json:"slowest_news,omitempty"` // until a holder that had met another one heard of its loss
	GrantsLocal  uint64        `json:"grants_local"`
	GrantsServer uint64        `json:"grants_server"`
	Reasons      []Reason      `json:"reasons,omitempty"`
	Goroutines   Goroutines    `json:"goroutines"`
	CloseError   string        `json:"close_error,omitempty"`
}

// KeyCount is what one worker process knows about one key.
type KeyCount struct {
	Grants    uint64 `json:"g"`           // read-modify-writes whose write the server confirmed
	Uncertain uint64 `json:"u,omitempty"` // writes that were sent and whose answer never came
	Overlaps  uint64 `json:"o,omitempty"` // holders that met another one, and whose lock was not lost
	Exposed   uint64 `json:"x,omitempty"` // holders that wrote, and then heard that their lock was or may have been lost
}

// Goroutines compares a worker before Open with the same worker after Close.
type Goroutines struct {
	Before int    `json:"before"`
	After  int    `json:"after"`
	Stacks string `json:"stacks,omitempty"` // of those that were left, if any were
}

// Leaked is how many more goroutines there are after Close than before Open.
func (g Goroutines) Leaked() int { return max(0, g.After-g.Before) }

// Reason is a kind of failure, with an example of it.
type Reason struct {
	Kind  string `json:"kind"`
	Count uint64 `json:"count"`
	First string `json:"first"`
}
