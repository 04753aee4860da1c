// Package plan describes a chaos run before it begins: its options, the kinds of faults, and the schedule of faults, which
// is a pure function of the options and the seed.
package plan

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Plan holds the options of a run, checked.
type Plan struct {
	Seed      uint64        `json:"seed"`
	Duration  time.Duration `json:"duration"`
	Processes int           `json:"processes"`
	Workers   int           `json:"workers"`
	Keys      int           `json:"keys"`
	Faults    []Kind        `json:"-"`
	Uses      []Use         `json:"kinds"` // of locks; half of all turns are for Exclusive where it is among them
	Calm      time.Duration `json:"calm"`  // mean pause between two faults
	Wait      string        `json:"wait"`  // one of Waits
	// Interval and Timeout are the health settings of the managers under test.
	Interval time.Duration `json:"health_interval"`
	Timeout  time.Duration `json:"health_timeout"`
	// Hold is how long most holders hold a lock, besides their read and write; one in 25 holds much longer.
	Hold time.Duration `json:"hold"`
	// Pooler is the mode of a PgBouncer before each server, through which the managers reach it: transaction, or none where it is empty.
	Pooler string `json:"pooler,omitempty"`
	// Lie makes workers sometimes act as holders without a lock. The check must find it.
	Lie bool `json:"lie,omitempty"`
	// Soak makes the run fail if the workers' memory, goroutines or descriptors grow.
	Soak bool `json:"flat_judged,omitempty"`
}

// The values of Wait: how keys that another process holds are waited for.
const (
	ByHints = "hints"
	InQueue = "queue"
	Mixed   = "mixed"
)

// Waits lists them.
var Waits = []string{ByHints, InQueue, Mixed}

// Hints reports whether a process, counted from 1, has hints sent and waits for them.
func (p *Plan) Hints(process int) bool {
	return p.Wait == ByHints || p.Wait == Mixed && process%2 == 1
}

// Trust is how long a manager trusts a session that has gone silent.
func (p *Plan) Trust() time.Duration { return p.Interval + p.Timeout }

// SessionTimeout is the silence after which the server ends a session: the library's default, twice the trust.
func (p *Plan) SessionTimeout() time.Duration { return 2 * p.Trust() }

// Forwarded is how many worker processes, the last ones, reach the server through a forwarder: a quarter, and at least
// one of several.
func (p *Plan) Forwarded() int {
	if p.Processes < 2 {
		return 0
	}
	return max(1, p.Processes/4)
}

// Fault is one fault of the schedule. The run fills in the second half when it makes the fault.
type Fault struct {
	N      int           `json:"n"`
	At     time.Duration `json:"at"` // after the load's start; later if the fault before takes longer
	Kind   Kind          `json:"kind"`
	Target int           `json:"target,omitempty"` // the worker process it hits, from 1; 0: all of them
	For    time.Duration `json:"for,omitempty"`
	Delay  time.Duration `json:"delay,omitempty"` // Delay and Jitter belong to Latency.
	Jitter time.Duration `json:"jitter,omitempty"`
	Pick   uint64        `json:"pick,omitempty"` // decides the remaining choices, such as the backend

	Begin  int64 `json:"-"` // before anything was done, on the shared clock; 0: not yet
	Active int64 `json:"-"` // when it was in place
	End    int64 `json:"-"` // before it was undone
	Healed int64 `json:"-"` // when everything worked again

	Began  time.Duration `json:"began"` // Begin and the end since the load's start, for the report
	Ended  time.Duration `json:"ended"`
	Hit    int           `json:"holders_hit"`
	Note   string        `json:"note,omitempty"`
	Failed string        `json:"failed,omitempty"` // why it could not be made
}

// warmUp is the time before the first fault. coolDown is the least time after the last one.
const (
	warmUp   = time.Second
	coolDown = 2 * time.Second
)

// Schedule returns the faults of a plan. All kinds come equally often: they are drawn from a bag that is refilled when it
// is empty.
func Schedule(p *Plan) []*Fault {
	if len(p.Faults) == 0 {
		return nil
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], p.Seed)
	random := rand.New(rand.NewChaCha8(seed))
	var faults []*Fault
	var bag []Kind
	for at := warmUp; ; {
		if len(bag) == 0 {
			bag = append(bag, p.Faults...)
			random.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		}
		f := p.fault(random, bag[0])
		f.N, f.At = len(faults)+1, at
		bag = bag[1:]
		takes := f.For + p.recovery(f.Kind)
		if at+takes+coolDown > p.Duration {
			return faults
		}
		faults = append(faults, f)
		at += takes + p.Calm/2 + time.Duration(random.Int64N(int64(p.Calm)+1))
	}
}

func (p *Plan) fault(random *rand.Rand, kind Kind) *Fault {
	f := &Fault{Kind: kind, Pick: random.Uint64()}
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)+1))
	}
	trust, session := p.Trust(), p.SessionTimeout()
	target := 1 + random.IntN(p.Processes)
	forwarder := p.Processes - random.IntN(max(1, p.Forwarded()))
	switch kind {
	case Terminate, CancelStorm:
		f.Target = target
	case KeeperPanic: // long enough for keepers to take steps: right after a restart they take few
		f.Target, f.For = target, between(trust/2, trust)
	case KillWorker: // never the first one, so that one process can be watched during the whole run
		f.Target = 2 + random.IntN(max(1, p.Processes-1))
	case FreezeWorker: // longer than the session timeout
		f.Target, f.For = target, between(session+session/8, session+session/2)
	case Partition, PartitionUp, PartitionDown: // one in three ends before the trust does, the others outlast the session timeout
		f.Target, f.For = target, between(session+session/8, session+session/2)
		if random.IntN(3) == 0 {
			f.For = between(trust/8, trust/2)
		}
	case FreezeForwarder:
		f.Target, f.For = forwarder, between(session+session/8, session+session/2)
	case FreezeServer:
		f.For = between(trust/4, 2*trust)
	case Latency: // far below the health timeout
		f.Target, f.For = forwarder, between(trust, 2*trust)
		f.Delay, f.Jitter = between(p.Timeout/50, p.Timeout/10), between(0, p.Timeout/20)
	case FullLockTable, Outsider:
		f.For = between(trust/2, trust)
	case KillBackend, FastRestart, ImmediateRestart, Promote:
	}
	return f
}

// recovery is the time planned for everything to work again after a fault has ended.
func (p *Plan) recovery(k Kind) time.Duration {
	switch k {
	case Promote:
		return 3 * time.Second
	case KillBackend, FastRestart, ImmediateRestart:
		return time.Second + p.Trust()/2
	case Partition, PartitionUp, PartitionDown, FreezeForwarder, FreezeWorker, FreezeServer:
		return p.Trust()
	case KillWorker, KeeperPanic:
		return 500 * time.Millisecond
	case Terminate, CancelStorm, FullLockTable, Outsider, Latency:
	}
	return 300 * time.Millisecond
}
