package actor

import (
	"context"
	"fmt"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// KeeperFailure is the end of a keeper's goroutine by a panic, or by runtime.Goexit.
type KeeperFailure struct {
	ID    int64
	Value any // of the panic, or that there was a Goexit
	Stack []byte
	// Until is set where the key has had too many restarts: it is refused until then.
	Until time.Time
}

// failure is how an incarnation ended, on its way to the supervisor and to the next incarnation.
type failure struct {
	KeeperFailure
	keeper *keeper
	err    error // what those get who were concerned
}

// labels marks the goroutines of keepers, so that profiles and tests can tell them.
var labels = pprof.WithLabels(context.Background(), pprof.Labels("lockkeeper", "keeper")) //nolint:forbidigo // it carries labels alone

// incarnate runs the keeper, after clearing up what an earlier incarnation left. Where it ends by a panic or a Goexit, the
// supervisor is told and starts the next incarnation: nothing of the keeper is touched here after that.
func (k *keeper) incarnate(f *failure) {
	pprof.SetGoroutineLabels(labels)
	returned := false
	defer k.supervisor.goroutines.Done()
	defer func() {
		if !returned { // by a Goexit, recover gives nil
			k.report(recover())
		}
	}()
	if f != nil {
		k.clearUp(f)
	}
	k.run()
	returned = true
	k.alarm.stop()
	close(k.done)
}

func (k *keeper) report(value any) {
	err := fmt.Errorf("%w: panic: %v", ErrKeeperFailed, value)
	if value == nil {
		value = "runtime.Goexit was called"
		err = fmt.Errorf("%w: %v", ErrKeeperFailed, value)
	}
	k.supervisor.failed <- &failure{keeper: k, KeeperFailure: KeeperFailure{ID: k.id, Value: value, Stack: debug.Stack()}, err: err}
}

// clearUp begins a new incarnation. The holder hears that the lock is lost. The claim that was being dealt with gets an error,
// since dealing with it again might fail again. Those who wait go on waiting. What is held at the server is released before
// there is another grant.
func (k *keeper) clearUp(f *failure) {
	old := k.machine
	k.machine = machine{limits: old.limits, queue: old.queue, failed: old.failed, failures: old.failures, closing: old.closing,
		peers: old.peers, owes: old.owes}
	k.alarm.at, k.alarm.idle = time.Time{}, false
	for c := old.holders.head; c != nil; c = old.holders.head {
		old.holders.remove(c)
		k.discard(c, f.err)
	}
	for _, fx := range old.effects { // of the step that failed, in the machine or in carrying them out
		if fx.kind == fxGrant || fx.kind == fxRefuse || fx.kind == fxOver || fx.kind == fxSettle {
			k.discard(fx.claim, f.err)
		}
	}
	for _, c := range [...]*Claim{claimOf(k.current), old.leaving} {
		k.discard(c, f.err)
	}
	_, told := k.current.(closing)
	k.machine.closing = k.machine.closing || told
	k.current = nil
	if !f.Until.IsZero() && k.coolDown(f) {
		k.machine.closing, k.retire = true, true
		return
	}
	k.resume()
	if told {
		k.handle(closing{}) // it is sent once
	}
}

func claimOf(m message) *Claim {
	switch m := m.(type) {
	case acquire:
		return m.claim
	case release:
		return m.claim
	case contextEnded:
		return m.claim
	case withdraw:
		return m.claim
	case paused:
		return m.claim
	default: // who only awaits an outcome is told it
		return nil
	}
}

// discard ends a claim that the failed incarnation dealt with. The claim's own marks say how far it had come; what has been
// done is not done again.
func (k *keeper) discard(c *Claim, err error) {
	switch {
	case c == nil:
	case c.Session == nil && c.Err == nil: // not decided
		if c.prev != nil || c.next != nil || k.machine.queue.head == c {
			k.machine.queue.remove(c)
		}
		k.supervisor.Counters.refusals.Add(1)
		c.decide(err)
	case c.Err == nil && c.stage != stageOver:
		lost := fmt.Errorf("%w: %w", ErrLost, err)
		if c.Over() == nil {
			k.supervisor.Counters.over()
			k.supervisor.Counters.Failures.Add(1)
			c.lost = true
			c.end(lost, time.Now())
		}
		c.settle(lost)
	}
}

// resume starts from what is known of the server: an operation under way is waited for, a lock that is held is released.
func (k *keeper) resume() {
	m := &k.machine
	m.inherited = k.server.op != opNone
	if m.inherited || k.server.held {
		k.towardsIdle()
		return
	}
	m.effects, m.server, m.now = m.effects[:0], k.server, time.Now()
	m.drive()
	k.carryOut(m.effects)
	k.setAlarm()
}

// coolDown is the life of a key whose keeper fails too often, until the window is over. It does without the machine: whatever
// the fault is, it is not repeated here. What is held at the server is released, and everybody is refused. It reports whether
// the supervisor closes: then nothing is left at the server.
func (k *keeper) coolDown(f *failure) (closes bool) {
	err := fmt.Errorf("%w; %d restarts in %v are too many, the key is refused until %s",
		f.err, k.restarts.limit.Restarts, k.restarts.limit.Window, f.Until.Format(time.RFC3339))
	for k.machine.queue.head != nil {
		k.discard(k.machine.queue.head, err)
	}
	over := time.NewTimer(time.Until(f.Until))
	defer over.Stop()
	closes = k.machine.closing
	for elapsed := false; ; {
		k.towardsIdle()
		switch {
		case closes && k.server.idle():
			return true
		case !closes && elapsed: // what is under way goes on, as after any failure
			return false
		}
		select {
		case m := <-k.requests:
			_, closing := m.(closing)
			closes = closes || closing
			k.refuseMessage(m, err)
		case e := <-k.events:
			k.apply(e)
		case <-k.unsent():
			select {
			case e := <-k.events: // what was answered comes first
				k.apply(e)
			default:
				k.apply(Answered{&Answer{}})
			}
		case <-over.C:
			elapsed = true
		}
	}
}

// apply takes what an event says of the server.
func (k *keeper) apply(e Event) {
	if lost, ok := e.(Lost); !ok || k.holdsOn(lost.Session) {
		k.server.receive(e)
	}
}

// towardsIdle starts whatever brings the server nearer to idle.
func (k *keeper) towardsIdle() {
	s := &k.server
	switch {
	case s.op == opPoll && !s.stopping:
		s.stopping = true
		k.link.StopPolling()
	case s.op == opNone && s.held:
		s.op = opUnlock
		k.link.Unlock(nil)
	case s.op != opNone:
	case s.own == ownHave:
		s.own, s.lent = ownNone, false
		k.link.Return()
	case s.own == ownAsked:
		s.own = ownWithdrawn
		k.link.Withdraw()
	}
}

// refuseMessage answers a request during the cool-down. Nobody holds, so that all but a new claim is about an old one.
func (k *keeper) refuseMessage(m message, err error) {
	switch m := m.(type) {
	case acquire:
		k.supervisor.Counters.claims.Add(1)
		k.supervisor.Counters.refusals.Add(1)
		m.claim.stage = stageOver
		m.claim.decide(err)
	case release:
		m.claim.awaitRelease()
	case await:
		m.claim.awaitOutcome(m.outcome)
	case whoHolds:
		m.holding <- nil
	case lend:
		m.asked <- false
	}
}
