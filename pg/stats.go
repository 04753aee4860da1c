package pg

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/latency"
)

// Stats is what a pool has done and has.
type Stats struct {
	// Sessions by what they are used for. Idle ones are open and wait for a use.
	Shared, Waiting, Dedicated, Idle, Opening int
	// Queued reservations wait for a session of their own.
	Queued int
	// Batches is the number of statements that carried locks; Operations the locks in them; Largest the most in one.
	Batches, Operations uint64
	Largest             int
	// Losses counts locks that were lost with their session, by cause.
	Losses map[Cause]uint64
	// RoundTrip is of statements that do not wait.
	RoundTrip latency.Percentiles
	// Timeline of the server's cluster, as far as it was seen; 0 where it does not tell. Each promotion counts it up.
	Timeline uint32
	// HintsSent counts statements of hints; HintsHeard hints of other managers'; HintsLost those that could not be sent, or passed on.
	HintsSent, HintsHeard, HintsLost uint64
	// Refused names the settings that the server did not take, with its reason.
	Refused map[string]string
}

var causes = [...]Cause{CauseServer, CauseConnection, CauseSilence, CauseBackend, CauseRecovery, CauseFailedOver, CauseCluster, CauseDoubt, CauseWork, CauseClosed}

// Causes are all causes of losses.
func Causes() []Cause { return slices.Clone(causes[:]) }

// stats are counters that anybody reads.
type stats struct {
	// Written by the owners and readers of sessions.
	batches, operations atomic.Uint64
	largest             atomic.Int64
	losses              [len(causes)]atomic.Uint64
	trips               latency.Histogram

	// Written by the pool, and by sessions.
	hintsSent, hintsLost atomic.Uint64
	// Written by listening goroutines.
	hintsHeard atomic.Uint64
}

func (s *stats) batch(n int) {
	s.batches.Add(1)
	s.operations.Add(uint64(n))
	for {
		old := s.largest.Load()
		if int64(n) <= old || s.largest.CompareAndSwap(old, int64(n)) { //arch:publishes the largest of all sessions' statements
			return
		}
	}
}

// lost counts a lock that was lost.
func (s *stats) lost(cause Cause) {
	for i := range causes {
		if causes[i] == cause {
			s.losses[i].Add(1)
		}
	}
}

func (s *stats) roundTrip(d time.Duration, f *sending) {
	if f.kind == kindLocks && f.entries[0].op == OpWait {
		return
	}
	s.trips.Record(d)
}

// Stats reads the counters. It blocks for as long as the pool's owner takes to come round to it, not on the network.
func (p *Pool) Stats() Stats {
	reply := make(chan Stats, 1)
	select {
	case p.requests <- readStats{reply}:
		return <-reply
	case <-p.done:
		return p.counters()
	}
}

// snapshot is for the pool's owner, as inUse and the rest are its.
func (p *Pool) snapshot() Stats {
	out := p.counters()
	out.Shared, out.Waiting, out.Dedicated = len(p.sharedAll), p.inUse[UseWaiting], p.inUse[UseDedicated]
	for _, n := range p.opening {
		out.Opening += n
	}
	out.Idle = p.idle()
	out.Queued = p.queues[UseWaiting].n + p.queues[UseDedicated].n
	return out
}

func (p *Pool) counters() Stats {
	out := Stats{Batches: p.stats.batches.Load(), Operations: p.stats.operations.Load(),
		Largest: int(p.stats.largest.Load()), Losses: make(map[Cause]uint64), RoundTrip: p.stats.trips.Percentiles(),
		HintsSent: p.stats.hintsSent.Load(), HintsHeard: p.stats.hintsHeard.Load(), HintsLost: p.stats.hintsLost.Load(),
		Refused: make(map[string]string)}
	for i := range causes {
		if n := p.stats.losses[i].Load(); n > 0 {
			out.Losses[causes[i]] = n
		}
	}
	out.Timeline = p.connector.latest().number
	if refused := p.connector.refused.Load(); refused != nil {
		maps.Copy(out.Refused, *refused)
	}
	return out
}
