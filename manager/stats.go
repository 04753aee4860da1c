package manager

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/latency"
	"github.com/lockkeeper/lockkeeper/pg"
)

// Stats is what a manager has and has done since it was opened.
type Stats struct {
	// Keys in use; Held locks; Waiting callers. A lock whose token is waited for, as during a takeover delay, is one that is waited for. With [WithHashes] a key that has two ids counts as two here, and as two grants and
	// two waits below. Waits inside of holds that last are shown to other processes by shared locks (see [ErrDeadlock]), which count here
	// as any others do.
	Keys, Held, Waiting int
	Sessions            SessionStats
	// GrantsLocal were handed from one local holder to the next, GrantsServer given by the server.
	GrantsLocal, GrantsServer uint64
	// Attempts is how many times the server was asked for a lock.
	Attempts uint64
	// Losses counts locks that were lost, by cause.
	Losses map[string]uint64
	// Refused counts acquisitions that met a limit.
	Refused Refusals
	// Timeline of the server's cluster, which each promotion of a standby counts up; 0 where the server does not tell.
	Timeline uint32
	// Restarts of keepers that failed.
	Restarts uint64
	// Collisions counts acquisitions whose key has the id of another key in use: they exclude each other needlessly.
	Collisions uint64
	Batches    BatchStats
	Hints      HintStats
	// Wait is how long Acquire took, successful or not. RoundTrip is of statements that do not wait.
	Wait, RoundTrip Percentiles
	// WaitBuckets is Wait as a histogram; HoldBuckets is how long locks were held, from the grant to the end of the hold. The locks of sets and of
	// slots count one by one in both.
	WaitBuckets, HoldBuckets Buckets
	// SettingsRefused names the session settings that this server does not take, with its reason.
	SettingsRefused map[string]string
	// LogDropped counts log records that the logger was too slow for.
	LogDropped uint64
	// ObserverDropped counts events that the observer was too slow for, or panicked at.
	ObserverDropped uint64
}

// Refusals counts the acquisitions that met a limit, by the error that they got: [ErrTooManyWaiters], [ErrTooManyKeys],
// [ErrTooManyLocks], [ErrTooManySessions]; and those in whose way one of the server's limits was, whether or not
// another attempt succeeded for their neighbours: [ErrLockTableFull], [ErrTooManyConnections].
type Refusals struct {
	Waiters, Keys, Locks, Sessions, LockTable, Connections uint64
}

// refusals are the counters behind it, one for each of limits.
type refusals [6]atomic.Uint64

var limits = [len(refusals{})]error{ErrTooManyWaiters, ErrTooManyKeys, ErrTooManyLocks, ErrTooManySessions, ErrLockTableFull,
	ErrTooManyConnections}

func (r *refusals) count(err error) {
	for i, limit := range limits {
		if errors.Is(err, limit) {
			r[i].Add(1)
		}
	}
}

func (r *refusals) read() Refusals {
	return Refusals{Waiters: r[0].Load(), Keys: r[1].Load(), Locks: r[2].Load(), Sessions: r[3].Load(), LockTable: r[4].Load(),
		Connections: r[5].Load()}
}

// SessionStats counts sessions by what they are used for.
type SessionStats struct {
	Shared, Waiting, Dedicated, Idle, Opening int
	// Queued keys wait for a session of their own.
	Queued int
}

// Total is how many connections are open.
func (s SessionStats) Total() int { return s.Shared + s.Waiting + s.Dedicated + s.Idle }

// BatchStats is about the statements that carry locks: Operations in Count statements, at most Largest in one.
type BatchStats struct {
	Count, Operations uint64
	Largest           int
}

// HintStats is about what managers tell each other of locks that are waited for, by NOTIFY: Sent statements, Heard hints of others, Lost
// ones that could not be sent or passed on. LateGrants counts the grants for which a hint was expected that did not come: a poll found the lock
// free. A process that was killed while it held or was offered the lock leaves such.
type HintStats struct{ Sent, Heard, Lost, LateGrants uint64 }

// Percentiles of a duration. Each is at most 1.6 % above the true value.
type Percentiles struct {
	Count                    uint64
	P50, P90, P99, P999, Max time.Duration
}

// Buckets is a histogram of durations: Counts of those up to each of Bounds, the smaller ones included, Count of all, and their Sum.
// A duration that is at most 1.6 % below a bound may be counted above it.
type Buckets struct {
	Bounds []time.Duration
	Counts []uint64
	Count  uint64
	Sum    time.Duration
}

// bounds are those of all histograms: from a grant within the process to a job of minutes.
var bounds = []time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

func buckets(h *latency.Histogram) Buckets {
	b := Buckets{Bounds: slices.Clone(bounds)}
	b.Counts, b.Count, b.Sum = h.Upto(bounds)
	return b
}

func percentiles(p latency.Percentiles) Percentiles { return Percentiles(p) }

const lossKeeper = "keeper failed"

// Stats may be called at any time, after Close too. It waits for the pool's owner, not for the network.
func (m *Manager) Stats() Stats {
	c, p, untold := &m.supervisor.Counters, m.pool.Stats(), int(m.untold.Load())
	out := Stats{
		Keys: int(c.Keys.Load()), Held: max(int(c.Held())-untold, 0), Waiting: int(c.Waiting()) + untold,
		Sessions: SessionStats{Shared: p.Shared, Waiting: p.Waiting, Dedicated: p.Dedicated, Idle: p.Idle,
			Opening: p.Opening, Queued: p.Queued},
		GrantsLocal: c.GrantsLocal.Load(), GrantsServer: c.GrantsServer.Load(), Attempts: c.Attempts.Load(),
		Losses: losses(p), Restarts: c.Restarts.Load(), Collisions: c.Collisions.Load(),
		Batches: BatchStats{Count: p.Batches, Operations: p.Operations, Largest: p.Largest},
		Wait:    percentiles(m.waits.Percentiles()), RoundTrip: percentiles(p.RoundTrip),
		WaitBuckets: buckets(&m.waits), HoldBuckets: buckets(&m.holds),
		Hints:   HintStats{Sent: p.HintsSent, Heard: p.HintsHeard, Lost: p.HintsLost, LateGrants: c.LateGrants.Load()},
		Refused: m.refused.read(), Timeline: p.Timeline, SettingsRefused: p.Refused, LogDropped: m.log.dropped.Load(),
		ObserverDropped: m.observing.dropped.Load(),
	}
	if n := c.Failures.Load(); n > 0 {
		out.Losses[lossKeeper] = n
	}
	return out
}

// LossCauses are all keys that [Stats].Losses may have: a collector reports each from the beginning, so that the first loss is an increase.
func LossCauses() []string {
	all := []string{lossKeeper}
	for _, cause := range pg.Causes() {
		all = append(all, string(cause))
	}
	return all
}

func losses(p pg.Stats) map[string]uint64 {
	out := make(map[string]uint64, len(p.Losses)+1)
	for cause, n := range p.Losses {
		out[string(cause)] = n
	}
	return out
}
