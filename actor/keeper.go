package actor

import "time"

// keeper owns one key in use, on a goroutine of its own: run. All fields but the channels and the constants are that
// goroutine's; when it ends with a failure they are handed to the next one through the supervisor.
type keeper struct {
	id         int64
	name       string // of the first claim
	supervisor *Supervisor
	link       Link

	// Sent by callers, by functions that they registered with contexts, by timers, by Supervisor.tellClosing, by Pool.passOn of package pg and
	// by the watcher of package manager; received by run; never closed; unbuffered: whoever sends is received, or sees done.
	requests chan message
	// Sent by the store, from goroutines of pool and sessions; received by run; never closed; capacity eventRoom: see there.
	events chan Event
	// Closed by run at its end; received by whoever sends requests; nothing is sent.
	done chan struct{}

	server  server
	machine machine
	current message // being dealt with
	alarm   alarm
	uses    uint32 // claims received; it may wrap
	retire  bool   // nothing is left to do: the supervisor is to remove the keeper
	ended   bool

	restarts intensity // the supervisor's
}

// usualEffects is how many effects most steps have at the most: the end of a hold, its outcome, and a grant.
const usualEffects = 3

func newKeeper(s *Supervisor, id int64, name string) *keeper {
	k := &keeper{
		id: id, name: name, supervisor: s,
		requests: make(chan message), events: make(chan Event, eventRoom), done: make(chan struct{}),
		restarts: intensity{limit: s.config.Intensity},
	}
	k.machine.limits = &s.config.Limits
	k.machine.effects = make([]effect, 0, usualEffects)
	k.link = s.config.Store.Attach(id, k.events)
	return k
}

// run is the keeper's goroutine. It waits here, to hand a request to the store, and while the key is refused in coolDown. It returns when
// the supervisor has received it from retired.
func (k *keeper) run() {
	for !k.ended {
		select {
		case m := <-k.requests:
			k.handle(m)
		case e := <-k.events:
			k.handle(e)
		case <-k.unsent():
			k.notSent()
		case k.retiring() <- k:
			k.ended = true
		}
	}
}

// handle deals with one message: the machine decides, and the effects are carried out. (The steps are functions of their own, one
// after the other, so that a keeper's stack stays within the 2 KiB that a goroutine begins with: one that has grown does not shrink.)
func (k *keeper) handle(m message) {
	if m = k.consider(m); m == nil {
		return
	}
	k.decide(m)
	k.carryOut(k.machine.effects)
	k.server, k.current = k.machine.server, nil
	k.setAlarm()
}

// consider gives the message that the machine is to take, nil if none: some are dealt with here. Who waits for an outcome is kept
// first, so that it is known whatever fails after.
func (k *keeper) consider(m message) message {
	switch e := m.(type) {
	case acquire:
		k.uses++
		k.retire = k.retire && k.machine.closing // one that is closing refuses the claim
		k.supervisor.Counters.claims.Add(1)
	case release:
		e.claim.awaitRelease()
	case releaseLater:
		return release(e)
	case await:
		e.claim.awaitOutcome(e.outcome)
		return nil
	case whoHolds:
		e.holding <- k.holding()
		return nil
	case unused:
		e.claim.unused = true
		return nil
	case lend:
		e.asked <- k.lend(e)
		return nil
	case inside:
		e.claim.waits = e.claim.waits.changed(e.wanted, e.ends)
		return nil
	case Lost:
		if !k.holdsOn(e.Session) {
			return nil // an earlier one, or what is under way is answered by itself
		}
	case Told:
		return k.ofOthers(e)
	case due:
		if k.machine.nextDue().IsZero() {
			k.rung()
			return nil
		}
		k.alarm.at, k.alarm.idle = time.Time{}, false
	}
	return m
}

// decide has the machine take a message. What the message says of the server is kept first, so that it is known whatever fails after.
func (k *keeper) decide(m message) {
	before := k.server
	k.server.receive(m)
	k.current, k.machine.effects = m, k.machine.effects[:0]
	if k.supervisor.config.Hook != nil {
		k.hook("message " + m.String())
	}
	now, trusted := k.clock(m)
	k.machine.step(&before, &k.server, m, now, trusted)
}

func (k *keeper) holdsOn(s Session) bool {
	return k.server.held && k.server.op == opNone && k.link.Session() == s
}

// clock reads the time, where anything depends on it, and until when the session is trusted that a waiter may get the lock on.
func (k *keeper) clock(m message) (now, trusted time.Time) {
	waiters := k.machine.queue.head != nil
	switch e := m.(type) {
	case Answered:
		if !waiters {
			return now, trusted
		}
	case acquire:
		if !e.claim.PollFirst && !e.claim.Shared && !(e.claim.Try && k.server.op == opWait) && !k.machine.listed() {
			return now, trusted
		}
		waiters = waiters || e.claim.Shared
	}
	if waiters && k.server.held && k.server.op == opNone {
		trusted = k.link.Session().TrustedUntil()
	}
	return time.Now(), trusted
}

// unsent is closed when the session that the operation under way was given to, and that had ended, has answered all that it received; nil
// where the session had not ended.
func (k *keeper) unsent() <-chan struct{} {
	if k.server.op == opNone {
		return nil
	}
	return k.link.Unsent()
}

// notSent makes up the answer to an operation that was given to a session which had ended. All that the session answered
// lies in events by now, and comes first: one event at a time, since it may begin another operation.
func (k *keeper) notSent() {
	select {
	case e := <-k.events:
		k.handle(e)
	default:
		k.handle(Answered{&Answer{Err: k.link.Session().Lost(), Transient: true, Ended: true}})
	}
}

func (k *keeper) retiring() chan<- *keeper {
	if k.retire {
		return k.supervisor.retired
	}
	return nil
}
