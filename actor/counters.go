package actor

import (
	"errors"
	"sync/atomic"
)

// Counters are written by keepers and the directory, and read by anybody.
type Counters struct {
	Keys, Held, Waiting       atomic.Int64
	GrantsLocal, GrantsServer atomic.Uint64
	Attempts                  atomic.Uint64
	Restarts                  atomic.Uint64
	Collisions                atomic.Uint64
	Failures                  atomic.Uint64 // holds lost because their keeper failed
}

func (c *Counters) granted(claim *Claim) {
	c.Waiting.Add(-1)
	c.Held.Add(1)
	if claim.Local {
		c.GrantsLocal.Add(1)
	} else {
		c.GrantsServer.Add(1)
	}
}

func (c *Counters) refused(*Claim) { c.Waiting.Add(-1) }

func (c *Counters) over(cause error) {
	c.Held.Add(-1)
	if errors.Is(cause, ErrKeeperFailed) {
		c.Failures.Add(1)
	}
}
