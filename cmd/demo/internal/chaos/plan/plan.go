package plan

import "time"

// Plan is what the user asked for, checked.
type Plan struct {
	Duration  time.Duration
	Seed      uint64
	Processes int
	Workers   int
	Keys      int
	Faults    []Kind
	// Calm is the mean of the pauses between one fault's end and the next one's beginning.
	Calm time.Duration
	// Interval and Timeout are the health settings of the managers under test; their sum is the trust.
	Interval, Timeout time.Duration
	// Hold is how long most holders hold, besides their read and their write; one in twenty-five holds much longer.
	Hold time.Duration
	// Lie makes workers pretend now and then that they hold a lock which they do not: the run must find it.
	Lie bool
	// Soak judges whether memory, goroutines and descriptors of the workers stay flat.
	Soak bool
}

// Trust is how long a session that has fallen silent is believed in.
func (p *Plan) Trust() time.Duration { return p.Interval + p.Timeout }

// SessionTimeout is after how much silence the server ends a session: the library's default, twice the trust.
func (p *Plan) SessionTimeout() time.Duration { return 2 * p.Trust() }

// Forwarded is how many of the worker processes, the last ones, reach the server through a forwarder: one in four, and
// at least one of several.
func (p *Plan) Forwarded() int {
	if p.Processes < 2 {
		return 0
	}
	return max(1, p.Processes/4)
}
