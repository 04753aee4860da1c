package actor

import "sync/atomic"

// Counters count what keepers and the supervisor do. Anybody may read them.
type Counters struct {
	// Written by keepers.
	claims, refusals, ends    atomic.Uint64 // received; refused; holds that are over
	GrantsLocal, GrantsServer atomic.Uint64
	Attempts                  atomic.Uint64
	LateGrants                atomic.Uint64 // by a poll, where a hint was expected and did not come
	Failures                  atomic.Uint64 // holds lost because their keeper failed

	// Written by the supervisor.
	Keys     atomic.Int64
	Restarts atomic.Uint64
	// Written by callers.
	Collisions atomic.Uint64 // claims on a key that has the id of another key in use
}

// Waiting is how many claims have yet to be answered.
func (c *Counters) Waiting() int64 {
	decided := c.refusals.Load() + c.granted() // first: none is decided before it is received
	return int64(c.claims.Load() - decided)
}

// Held is how many locks are held.
func (c *Counters) Held() int64 {
	ends := c.ends.Load()
	return int64(c.granted() - ends)
}

func (c *Counters) granted() uint64 { return c.GrantsLocal.Load() + c.GrantsServer.Load() }

func (c *Counters) grant(local bool) {
	if local {
		c.GrantsLocal.Add(1)
	} else {
		c.GrantsServer.Add(1)
	}
}

// over counts the end of a hold. It does not look at the cause, which may have methods of the user's.
func (c *Counters) over() { c.ends.Add(1) }
