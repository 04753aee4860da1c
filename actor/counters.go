package actor

import (
	"errors"
	"sync/atomic"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// Counters are written by keepers and the directory, and read by anybody. Each event counts once, and what callers mostly
// write lies apart from what the readers of answers do: a line of memory that two processors write costs both.
type Counters struct {
	_            mailbox.Apart
	claims, ends atomic.Uint64 // submitted; holds that are over
	Attempts     atomic.Uint64

	_                         mailbox.Apart
	GrantsLocal, GrantsServer atomic.Uint64
	refusals                  atomic.Uint64

	_          mailbox.Apart
	Keys       atomic.Int64
	Restarts   atomic.Uint64
	Collisions atomic.Uint64
	Failures   atomic.Uint64 // holds lost because their keeper failed
}

// Waiting is how many claims have yet to be answered.
func (c *Counters) Waiting() int64 {
	answered := c.refusals.Load() + c.granted() // first: none is answered before it is submitted
	return int64(c.claims.Load() - answered)
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

func (c *Counters) over(cause error) {
	c.ends.Add(1)
	if cause != ErrReleased && errors.Is(cause, ErrKeeperFailed) { //nolint:errorlint // nearly all end with this very value
		c.Failures.Add(1)
	}
}
