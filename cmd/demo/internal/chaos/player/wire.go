package player

import "time"

// Job is the first line that a process reads.
type Job struct {
	Process    int           `json:"process"`
	Generation int           `json:"generation"`
	DSN        string        `json:"dsn"`
	App        string        `json:"app"`        // application_name of the sessions that hold locks
	OracleApp  string        `json:"oracle_app"` // and of those that write to the table
	Namespace  string        `json:"namespace"`
	Table      string        `json:"table"`
	Workers    int           `json:"workers"`
	Keys       int           `json:"keys"`
	Hold       time.Duration `json:"hold"`
	Interval   time.Duration `json:"interval"`
	Timeout    time.Duration `json:"timeout"`
	Lie        bool          `json:"lie,omitempty"`
}

// Orders, a JSON object a line: {"do": "start"}.
const (
	Start = "start"
	Stop  = "stop"  // stop, close everything, say what is left, and wait
	Exit  = "exit"  // end
	Storm = "storm" // cancel all waits
	Panic = "panic" // let keepers panic
)

// Order is a line that the parent writes.
type Order struct {
	Do string `json:"do"`
	N  int    `json:"n,omitempty"` // of Panic: how many
}

// Event is a line that the process writes.
type Event struct {
	Kind    string   `json:"kind"` // ready, sample, closed, failed
	Error   string   `json:"error,omitempty"`
	Sample  *Sample  `json:"sample,omitempty"`
	Closing *Closing `json:"closing,omitempty"`
}

// The kinds of events.
const (
	Ready   = "ready"
	Sampled = "sample"
	Closed  = "closed"
	Failed  = "failed"
)

// Sample is what a process uses at one moment, as only it can tell.
type Sample struct {
	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"` // bytes of live and dead objects
}

// Closing is a process's last word.
type Closing struct {
	Before     int            `json:"before"` // goroutines before anything was opened
	After      int            `json:"after"`  // and after everything was closed
	Stacks     string         `json:"stacks,omitempty"`
	CloseError string         `json:"close_error,omitempty"`
	Failures   map[string]int `json:"failures,omitempty"` // of acquisitions and releases, by text
	Restarts   uint64         `json:"restarts"`           // of keepers
	Refused    map[string]string
	// LostBySession counts the locks that were lost with their sessions, by the library's own words.
	LostBySession map[string]uint64 `json:"lost_by_session,omitempty"`
}
