package plan

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Step is one fault of the schedule.
type Step struct {
	N    int           `json:"n"`
	At   time.Duration `json:"at"` // since the load's beginning; later where the one before took longer
	Kind Kind          `json:"kind"`
	// Target is the worker process that is hit, from 1, where the kind hits one.
	Target int `json:"target,omitempty"`
	// For is how long the fault lasts, where it lasts.
	For time.Duration `json:"for,omitempty"`
	// Delay and Jitter are of [Latency].
	Delay  time.Duration `json:"delay,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"`
	// Pick chooses what else there is to choose, such as the backend.
	Pick uint64 `json:"pick,omitempty"`
}

// warmUp is the time before the first fault, and coolDown at least that after the last one, in which what it broke is
// whole again.
const (
	warmUp   = time.Second
	coolDown = 2 * time.Second
)

// Schedule is a pure function of the plan: the same plan gives the same faults at the same times. All kinds come equally
// often: they are drawn from a bag that is filled again when it is empty.
func Schedule(p *Plan) []Step {
	if len(p.Faults) == 0 {
		return nil
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], p.Seed)
	random := rand.New(rand.NewChaCha8(seed))
	var steps []Step
	var bag []Kind
	for at := warmUp; ; {
		if len(bag) == 0 {
			bag = append(bag, p.Faults...)
			random.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		}
		step := p.step(random, bag[0])
		step.N, step.At = len(steps)+1, at
		bag = bag[1:]
		takes := step.For + p.recovery(step.Kind)
		if at+takes+coolDown > p.Duration {
			return steps
		}
		steps = append(steps, step)
		at += takes + p.Calm/2 + time.Duration(random.Int64N(int64(p.Calm)+1))
	}
}

func (p *Plan) step(random *rand.Rand, kind Kind) Step {
	s := Step{Kind: kind, Pick: random.Uint64()}
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)+1))
	}
	trust, session := p.Trust(), p.SessionTimeout()
	target := 1 + random.IntN(p.Processes)
	forwarder := p.Processes - random.IntN(max(1, p.Forwarded()))
	switch kind {
	case Terminate, CancelStorm:
		s.Target = target
	case KeeperPanic: // as long as keepers may take to come to the steps: right after a restart they do little
		s.Target, s.For = target, between(trust/2, trust)
	case KillWorker: // the first one lives through the whole run, so that what it uses can be watched
		s.Target = 2 + random.IntN(max(1, p.Processes-1))
	case FreezeWorker: // past the server's patience
		s.Target, s.For = target, between(session+session/8, session+session/2)
	case Partition, PartitionUp, PartitionDown: // one in three ends before the trust does, the others past the server's patience
		s.Target, s.For = target, between(session+session/8, session+session/2)
		if random.IntN(3) == 0 {
			s.For = between(trust/8, trust/2)
		}
	case FreezeForwarder:
		s.Target, s.For = forwarder, between(session+session/8, session+session/2)
	case FreezeServer:
		s.For = between(trust/4, 2*trust)
	case Latency: // well below what the trust forgives
		s.Target, s.For = forwarder, between(trust, 2*trust)
		s.Delay, s.Jitter = between(p.Timeout/50, p.Timeout/10), between(0, p.Timeout/20)
	case FullLockTable, Outsider:
		s.For = between(trust/2, trust)
	case KillBackend, FastRestart, ImmediateRestart, Promote:
	}
	return s
}

// recovery is how long a fault is planned to take until everything works again, besides the time that it lasts.
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
		return 300 * time.Millisecond
	}
	return 0
}
