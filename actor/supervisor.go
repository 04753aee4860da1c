package actor

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"
)

// KeeperFailure is a panic in a keeper.
type KeeperFailure struct {
	ID    int64
	Value any
	Stack []byte
	// Until is set where the key has had too many restarts: it is refused until then.
	Until time.Time
}

// supervise is a keeper's own goroutine. There is one only while it is needed: senders deal with their messages themselves,
// and hand the turn to it when there are many, and when an incarnation has failed. A keeper that only holds, or waits,
// has none. Each incarnation has a new machine, and starts from what the ledger says of the server: an operation that is
// under way is waited for, and a lock that the last incarnation held is released before there is another grant.
func (k *keeper) supervise() {
	if gone := k.own(); gone {
		k.end()
	}
}

// end is a keeper's. Nothing comes after.
func (k *keeper) end() {
	k.letGoOfAll()
	k.tellDirectory(evExited)
}

// letGoOfAll lets go of what a keeper has beside its memory.
func (k *keeper) letGoOfAll() {
	if k.clock != nil {
		k.clock.Stop()
	}
	k.link.Detach()
}

// own works with the turn that was handed over, until there is nothing to do or the keeper is gone; then it keeps it.
func (k *keeper) own() (gone bool) {
	for {
		if f := k.failure; f != nil {
			k.failure = nil
			k.restart(*f)
		}
		if !k.gone {
			k.incarnate(math.MaxInt)
		}
		switch {
		case k.failure != nil:
			continue
		case k.gone:
			return true
		}
		k.turn.Give()
		if k.inbox.Empty() || !k.turn.Try() {
			return false
		}
	}
}

// incarnate works and catches a panic. That a user's backoff ends the goroutine counts as one.
func (k *keeper) incarnate(most int) {
	returned := false
	defer func() {
		if returned {
			return
		}
		k.failure = &KeeperFailure{ID: k.id, Value: recover(), Stack: debug.Stack()}
	}()
	k.work(most)
	returned = true
}

// restart clears up after a failed incarnation. Who held the lock hears that it is lost; the claim that was being dealt
// with gets an error, since dealing with it again might fail again; those who wait go on waiting.
func (k *keeper) restart(f KeeperFailure) {
	now := time.Now()
	k.world.counters.Restarts.Add(1)
	if k.restarts == nil {
		k.restarts = &intensity{limit: k.world.intensity}
	}
	until, tooMany := k.restarts.add(now)
	f.Until = until
	err := fmt.Errorf("%w: panic: %v", ErrKeeperFailed, f.Value)

	old := k.machine
	k.machine = machine{limits: old.limits, out: k.effects[:0], line: old.line, failed: old.failed, failures: old.failures}
	for _, fx := range old.out { // more than what was being carried out: the machine may have failed in mid-step
		k.discard(fx.claim, err)
	}
	k.discard(k.current, err)
	k.discard(old.holder, err)
	k.discard(old.leaving, err)
	k.discard(old.asking, err)
	k.current = nil
	k.abandon()
	k.world.failed(f)
	if tooMany {
		k.coolDown(until, fmt.Errorf("%w; %d restarts in %v are too many, the key is refused until %s",
			err, k.restarts.limit.Restarts, k.restarts.limit.Window, until.Format(time.RFC3339)))
	}
	k.resume()
}

// discard ends a claim that the failed incarnation was about to answer, or had answered. It knows by the claim's own
// marks which it is, and does nothing that has been done.
func (k *keeper) discard(c *Claim, err error) {
	if c == nil {
		return
	}
	if c.stage == stageWaiting && (c.prev != nil || c.next != nil || k.machine.line.head == c) {
		k.machine.line.remove(c)
	}
	if !c.answered {
		k.world.counters.refusals.Add(1)
		c.answer(err)
		return
	}
	if c.Err == nil && !c.isSettled() {
		lost := fmt.Errorf("%w: %w", ErrLost, err)
		if c.over.Load() == nil {
			k.world.counters.over(lost)
		}
		c.finishHold(lost)
		c.settle(lost)
	}
}

// abandon ends what would go on for long, or for good: a wait, or a poll, whose outcome is given back.
func (k *keeper) abandon() {
	if k.ledger.busy && (k.ledger.flight == fxWait || k.ledger.flight == fxPoll) {
		k.link.Abandon()
	}
}

// resume puts the new machine where the ledger says that the server is.
func (k *keeper) resume() {
	m := &k.machine
	m.reserved, m.onReserved, m.closing = k.ledger.reserved, k.ledger.on, k.ledger.closing
	switch {
	case k.ledger.busy:
		m.state, m.settling = stSettling, k.ledger.flight != fxUnlock
	case k.ledger.held:
		m.state = stUnlocking
		k.operate(fxUnlock)
	default:
		k.resuming = true // the next incarnation does it, which may fail at it
	}
}

// coolDown is the life of a key whose keeper fails too often. It does without the machine: whatever the fault is, it is
// not repeated here. What is held at the server is released, everybody is refused, until the time is over.
func (k *keeper) coolDown(until time.Time, err error) {
	for k.machine.line.head != nil {
		k.discard(k.machine.line.head, err)
	}
	k.wakeAt(time.Until(until))
	for !k.gone {
		if !k.ledger.busy && k.ledger.held {
			k.operate(fxUnlock)
		}
		switch {
		case k.ledger.busy || k.ledger.held:
		case k.ledger.reserved == resHave:
			k.ledger.reserved = resNone
			k.link.GiveBack()
		case k.ledger.reserved == resAsked:
			k.ledger.reserved = resDropped
			k.link.Withdraw()
		}
		if !k.ledger.busy && !k.ledger.held && k.ledger.reserved == resNone {
			if k.gone = k.ledger.closing && k.door.shut(k.received); k.gone || !time.Now().Before(until) {
				return
			}
		}
		m, ok := k.todo.Next()
		if !ok {
			if k.todo = k.inbox.Take(); k.todo.Empty() {
				<-k.inbox.Wake()
			}
			continue
		}
		e := event{kind: m.kind, claim: m.claim}
		k.note(m, &e)
		if m.kind == evAcquire { // of all else note has taken what concerns the server, and the rest is over
			m.claim.stage = stageOver
			k.world.counters.refusals.Add(1)
			m.claim.answer(err)
		}
	}
}
