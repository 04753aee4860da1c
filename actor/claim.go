package actor

import (
	"sync/atomic"
	"time"
)

// Terms are what a claim asks for. They do not change after the claim is submitted.
type Terms struct {
	Name string
	ID   int64
	// Try: answer at once instead of waiting.
	Try bool
	// Shared: others may share the lock, in this process and elsewhere. Otherwise it is exclusive.
	Shared bool
	// Dedicated: on a session that holds nothing else.
	Dedicated bool
	// PollFirst: ask MaxAttempts-1 times without waiting, with a pause between, before waiting in the server's queue.
	// Otherwise a lock that somebody holds is waited for at once.
	PollFirst bool
	// PollOnly: do not wait in the server's queue, which takes a session, and cannot be left at once.
	PollOnly bool
	// Hold says what ends the hold beside its release.
	Hold HoldMode
	// MinHold: for so long after the grant the lock stays at the server, although the hold may be over. The loss of its session
	// and Close release it all the same.
	MinHold time.Duration
	// MaxAttempts bounds the attempts that fail, and with PollFirst those that find the lock held. At least 1.
	MaxAttempts int
	// Deadline is when the caller will give up, zero if never. The keeper asks who holds the lock after 100 ms of waiting (askAfter), or after
	// half of the time that is left, if that is sooner; then every 2 s (askAgain).
	Deadline time.Time
	// Owner is told when the hold is over.
	Owner Owner
}

// HoldMode says what ends a hold beside its release. The loss of its session ends every hold.
type HoldMode uint8

// The modes.
const (
	// HoldWithContext: the end of the claim's context, and Close.
	HoldWithContext HoldMode = iota
	// HoldDetached: Close.
	HoldDetached
	// HoldForWork: nothing. Close tells the owner and waits for the release.
	HoldForWork
)

// Owner is who holds a lock, as its keeper sees it. HoldEnds is called on the keeper's goroutine, when the hold is over or,
// for [HoldForWork], when it is to end; at is that time. It must not block, and must be ready to be called twice.
type Owner interface {
	HoldEnds(cause error, at time.Time)
}

// Reply is a keeper's answer on a claim's channel.
type Reply uint8

// The replies.
const (
	// Decided: the claim is granted, or refused; its fields say which. After Release: its outcome is known.
	Decided Reply = iota
	// Undecided: the outcome is not known yet. It is the first reply to [Claim.Await] then.
	Undecided
	// AskPause: the caller is to say, by [Claim.Pause], how long the pause before the next attempt is. It need not: without
	// an answer the pause lasts a second.
	AskPause
)

// replyRoom is the capacity of a claim's channel, so that its keeper never waits for the caller: one question for a pause
// that has not been read, and the decision. The outcome comes after the decision was read.
const replyRoom = 2

// Claim is one caller's claim on a key: first a waiter, then perhaps the holder.
//
// It is decided exactly once, and where it was granted it has exactly one outcome. Between the two it is the holder.
type Claim struct {
	Terms
	keeper *keeper // set by Submit, before the keeper receives the claim
	// Sent by the keeper; received by the submitter, and later by the one who releases; never closed; capacity replyRoom: see there.
	reply chan Reply

	over atomic.Pointer[overCause] // written by the keeper: why the hold is over

	// Written by the keeper before it decides, then anybody's to read.
	Err      error // nil: granted
	Session  Session
	Granted  time.Time
	Attempts int     // asked of the server while the claim was first in the queue, or that failed while it waited
	Failures []error // the errors of those attempts that failed
	Holder   *Holder // who held the lock, where that is known
	Local    bool    // granted by a local hand-off

	// The keeper's.
	stage         stage
	endedEarly    bool // the context ended while the claim held, or was being released
	final         bool // no more polling first: wait in the server's queue
	askedPause    bool // AskPause was sent and has not been answered
	unused        bool // nobody has worked under the lock, and nobody will
	lost          bool // the hold ended by a loss; read by others once it is over
	retried       bool // an attempt whose session had ended was repeated at once
	releaserWaits bool // for the outcome, or for Undecided, on reply
	joined        int32

	received bool // the submitter's: it has received the decision

	// The keeper's.
	waits      *wantList // what work inside this hold waits for; nil if nothing
	next, prev *Claim    // in the queue of waiters, or the list of holders
	// Sent by the keeper; received by others who wait for the outcome; never closed; capacity replyRoom: Undecided, and the outcome.
	awaiting []chan<- Reply
	outcome  error // read by others only after Decided came for it, or after the keeper has ended
}

type stage uint8

const (
	stageNew stage = iota
	stageWaiting
	stageHolding
	stageReleasing
	stageOver
)

type overCause struct{ err error }

var released = &overCause{ErrReleased}

// Replies is where the keeper's answers come: any number of AskPause, then one Decided. Only the submitter receives.
func (c *Claim) Replies() <-chan Reply { return c.reply }

// Received says that Decided was received. Whoever was granted the lock gets the outcome of its release on the same channel.
func (c *Claim) Received() {
	c.received = true
	if c.Err != nil {
		c.returnReply()
	}
}

// returnReply gives the channel back: no reply comes any more.
func (c *Claim) returnReply() {
	c.keeper.supervisor.replies.Put(c.reply)
	c.reply = nil
}

// Abandon withdraws the claim with cause and receives the decision, unless that was received before, and releases what was granted. Only the
// submitter calls it.
func (c *Claim) Abandon(cause error) {
	if !c.received {
		c.Withdraw(cause)
		for <-c.reply == AskPause {
			continue
		}
		c.Received()
	}
	if c.Err == nil {
		c.ReleaseUnused()
	}
}

// Pause answers AskPause. It waits until the keeper has received it.
func (c *Claim) Pause(d time.Duration) { c.send(paused{c, d}) }

// ContextEnded says that the claim's context has ended: a waiter is refused with cause, and a hold ends unless its mode says
// otherwise. It waits until the keeper has received it. Any goroutine may call it, once the claim was submitted.
func (c *Claim) ContextEnded(cause error) { c.send(contextEnded{c, cause}) }

// Withdraw gives up waiting: a waiter is refused with cause; a hold goes on. Otherwise it is like ContextEnded.
func (c *Claim) Withdraw(cause error) { c.send(withdraw{c, cause}) }

// Release ends the hold, and waits until its outcome is known or done is closed. It reports whether the outcome is known.
// One goroutine calls it, once.
func (c *Claim) Release(done <-chan struct{}) (known bool) {
	if isClosed(done) { // an outcome that is known already counts even so: see Await
		c.ReleaseLater()
		return c.Await(done)
	}
	if !c.send(release{c}) {
		return true
	}
	select {
	case r := <-c.reply:
		c.returnReply()
		return r == Decided || c.Await(done) // the claim's context has ended, which need not be the caller's
	case <-done:
		return false // the reply has yet to come: the channel cannot be used again
	}
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// ReleaseByContext is Release for a caller whose context is the claim's, and is still registered to call ContextEnded: instead of
// the context, the keeper tells the caller that it has ended. (Thousands of callers that wait on one context's channel contend
// for its lock. Measured: a fifth of the client's CPU.)
func (c *Claim) ReleaseByContext() (known bool) {
	if !c.send(release{c}) {
		return true
	}
	known = <-c.reply == Decided
	c.returnReply()
	return known
}

// ReleaseLater releases a granted claim without waiting for the outcome, instead of Release.
func (c *Claim) ReleaseLater() { c.send(releaseLater{c}) }

// ReleaseUnused is ReleaseLater for a lock under which nobody has worked: its minimum hold does not count, not even where the hold is over.
func (c *Claim) ReleaseUnused() {
	if c.MinHold > 0 {
		c.send(unused{c})
	}
	c.ReleaseLater()
}

// Await waits until the outcome is known, or done is closed. It reports whether the outcome is known. Any goroutine may call
// it, any number of times.
func (c *Claim) Await(done <-chan struct{}) (known bool) { return c.AwaitEither(done, nil) }

// AwaitEither is Await that ends when one of two channels is closed. Either may be nil.
func (c *Claim) AwaitEither(done, over <-chan struct{}) (known bool) {
	reply := make(chan Reply, replyRoom)
	if !c.send(await{c, reply}) || <-reply == Decided { // what is known counts, even if done is closed
		return true
	}
	select {
	case <-reply:
		return true
	case <-done:
		return false
	case <-over:
		return false
	}
}

// Outcome is nil where the server confirmed the release, or the lock was handed on, or others share it, or it is kept. Valid once the
// outcome is known.
func (c *Claim) Outcome() error { return c.outcome }

// Over is why the hold is over, nil while it is not. Any goroutine may call it.
func (c *Claim) Over() error {
	if over := c.over.Load(); over != nil {
		return over.err
	}
	return nil
}

// Lost reports whether the hold is over since its session ended, or its keeper failed. The cause of a hold that its context ended may be the loss of
// another. Any goroutine may call it.
func (c *Claim) Lost() bool { return c.over.Load() != nil && c.lost }

// send gives the keeper a message, and reports false where the keeper has ended: then the claim is over. A keeper always
// receives, so it does not wait for long.
func (c *Claim) send(m message) bool {
	select {
	case c.keeper.requests <- m: // mostly it waits for a message; and to try costs less than to select
		return true
	default:
	}
	select {
	case c.keeper.requests <- m:
		return true
	case <-c.keeper.done:
		return false
	}
}

// decide answers the caller. The keeper calls it once.
func (c *Claim) decide(err error) {
	c.Err = err
	if err != nil {
		c.stage = stageOver
	}
	c.reply <- Decided
}

// end publishes that the hold is over, which the holder must be able to see before the lock is anybody else's.
func (c *Claim) end(cause error, at time.Time) {
	if cause == ErrReleased { //nolint:errorlint // nearly all holds end with this very value, which need not be allocated
		c.over.Store(released)
	} else {
		c.over.Store(&overCause{cause})
	}
	c.Owner.HoldEnds(cause, at)
}

// settle makes the outcome known.
func (c *Claim) settle(outcome error) {
	c.stage, c.outcome = stageOver, outcome
	if c.releaserWaits {
		c.releaserWaits = false
		c.reply <- Decided
	}
	for _, reply := range c.awaiting {
		reply <- Decided
	}
	c.awaiting = nil
}

// awaitOutcome has settle send Decided to reply, or sends it at once where the claim is settled.
func (c *Claim) awaitOutcome(reply chan<- Reply) {
	if c.stage == stageOver {
		reply <- Decided
		return
	}
	reply <- Undecided
	c.awaiting = append(c.awaiting, reply)
}

// awaitRelease is awaitOutcome for the one who releases.
func (c *Claim) awaitRelease() {
	switch {
	case c.stage == stageOver:
		c.reply <- Decided
	case c.endedEarly:
		c.reply <- Undecided
	default:
		c.releaserWaits = true
	}
}

// releaserLeaves tells the one who releases that the context has ended.
func (c *Claim) releaserLeaves() {
	c.endedEarly = true
	if c.releaserWaits {
		c.releaserWaits = false
		c.reply <- Undecided
	}
}
