package actor

import (
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/lockkeeper/lockkeeper/internal/mailbox"
)

// Terms are what a claim asks for. They do not change after the claim is submitted.
type Terms struct {
	Name string
	ID   int64
	// Try: answer at once instead of waiting.
	Try bool
	// Dedicated: on a session that holds nothing else.
	Dedicated bool
	// PollFirst: ask MaxAttempts-1 times without waiting, with a pause between, before waiting in the server's queue.
	// Otherwise a lock that somebody holds is waited for at once.
	PollFirst bool
	// MaxAttempts bounds the attempts that fail, and with PollFirst those that find the lock held. At least 1.
	MaxAttempts int
	// NewBackoff makes the pauses between attempts. A BackOff is not safe for concurrent use, so each claim that has to
	// pause makes one of its own.
	NewBackoff func() backoff.BackOff
	// Deadline is when the caller will give up, zero if never: shortly before, the keeper finds out who is in the way.
	Deadline time.Time
}

// Registration is a claim's with its caller's context.
type Registration interface {
	// Unregister takes it back, and reports whether that was done before End was called. It may be called more than once,
	// from any goroutine, and does not block.
	Unregister() bool
}

// Claim is one caller's claim on a key: first a waiter, then perhaps the holder.
//
// It is answered once (Wait) and, where it was granted, settled once (Await, Settled). Between the two it is the holder.
//
// Its fields stand in the order in which they are used: each group is one line of a processor's cache, and most of a claim's
// cost is that its lines come from memory. The first is looked at by all who deal with the claim, at every step.
type Claim struct {
	keeper     atomic.Pointer[keeper] // that has it, or is about to get it
	ending     atomic.Pointer[endCause]
	over       atomic.Pointer[endCause] // why the hold is over, before the server has confirmed it
	watch      atomic.Pointer[watch]
	result     chan struct{}                 // capacity 1: a token when answered, and one whenever Await has something to see
	others     atomic.Pointer[chan struct{}] // past when settled; made where anybody waits for that elsewhere than in Await
	attendance atomic.Uint32                 // whether the caller attends to the operation for the claim: see attend.go
	joined     int32                         // the machine's, as are the next three: how many attempts of the key had failed when the claim came
	stage      stage
	answered   bool
	final      bool // no more polling: wait in the server's queue

	// From here on the keeper's until the claim is answered, then anybody's to read.
	Local    bool    // granted by hand-off
	Session  Session // where the lock is held
	Err      error   // nil: granted
	Granted  time.Time
	Attempts int // asked of the server while this claim was first in line, or that failed while it waited

	end        mailbox.Node[message]
	next, prev *Claim // the machine's
	directory  *Directory

	ask mailbox.Node[message]
	Terms
	settled  error           // written before others is past
	Failures []error         // as Err: of those attempts that failed
	Holder   *Holder         // as Err: who is in the way
	backoff  backoff.BackOff // the machine's, made at the first pause
	// Registration calls End when the caller's context does; nil if there is none. It is set before the claim is submitted.
	Registration Registration
}

type stage uint8

const (
	stageNew stage = iota
	stageWaiting
	stageHolding
	stageReleasing
	stageOver
)

type endCause struct{ err error }

var (
	released = endCause{ErrReleased}
	byHolder = endCause{ErrReleased} // of Release, which leaves the registration to its caller
)

// newEndCause makes none for the cause that nearly all holds end with.
func newEndCause(err error) *endCause {
	if err == ErrReleased { //nolint:errorlint // this very value, which can stand for itself
		return &released
	}
	return &endCause{err}
}

type watch struct{ fire func(error) }

// Init readies a claim for [Directory.Submit], once its terms are set.
func (c *Claim) Init(d *Directory) {
	c.directory = d
	c.result = make(chan struct{}, 1)
	c.ask.Value = message{kind: evAcquire, claim: c}
	c.end.Value = message{kind: evEnd, claim: c}
}

// Wait blocks until the claim is answered, which its keeper always does: at the latest some milliseconds after
// [Claim.End]. It is called once, by the goroutine that submitted the claim.
func (c *Claim) Wait() error {
	if !c.attend() {
		<-c.result
	}
	return c.Err
}

// End asks that the claim end: a waiter is answered with the cause, a holder's lock is released. The first cause counts.
// It never blocks, and may be called from any goroutine, before the claim is submitted too.
func (c *Claim) End(cause error) {
	if !c.ending.CompareAndSwap(nil, newEndCause(cause)) {
		return
	}
	c.sendEnd()
}

func (c *Claim) sendEnd() {
	if k := c.keeper.Load(); k != nil {
		k.post(&c.end)
		return
	}
	c.directory.post(&c.end)
}

// Release is [Claim.End] with [ErrReleased], by a holder who goes on to wait in [Claim.Await] and can be late by some
// milliseconds. It reports whether it came first: to who gets false, [Claim.Settled] tells when the claim is settled.
func (c *Claim) Release() (first bool) {
	if !c.ending.CompareAndSwap(nil, &byHolder) {
		return false
	}
	c.attendance.Store(attendCaller)
	c.sendEnd()
	return true
}

// Await blocks until the claim is settled, or done is closed, and reports which. It is called once, by whom Release told
// that it came first. Where told is set the end of done is not looked at until [Claim.Interrupt] says so, which costs less:
// the registration that calls it then has to last until Await has returned.
func (c *Claim) Await(done <-chan struct{}, told bool) (settled bool) {
	if over := c.over.Load(); over != nil && over != &released {
		told = false // the keeper may have taken the registration back, since it did not know of the release
	}
	for woken := c.attend(); ; woken = true {
		switch {
		case c.isSettled():
			return true
		case woken && isClosed(done):
			return false
		case told:
			<-c.result
		default:
			c.awaitEither(done)
		}
	}
}

// awaitEither is apart, since a selection needs much of the stack.
//
//go:noinline
func (c *Claim) awaitEither(done <-chan struct{}) {
	select {
	case <-c.result:
	case <-done:
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Interrupt has [Claim.Await] look whether its context has ended. It never blocks.
func (c *Claim) Interrupt() {
	if c.ending.Load() == &byHolder { // and so the claim's one token has been received
		c.wake()
	}
}

// wake lets Await look again.
func (c *Claim) wake() {
	select {
	case c.result <- struct{}{}:
	default: // it has yet to look
	}
}

// Answered has a token when the claim is answered. It is for who does not call [Claim.Wait].
func (c *Claim) Answered() <-chan struct{} { return c.result }

// Settled is closed when a granted claim is over and it is known what became of the lock. [Claim.Outcome] says what.
func (c *Claim) Settled() <-chan struct{} {
	if others := c.others.Load(); others != nil {
		return *others
	}
	made := make(chan struct{})
	c.others.CompareAndSwap(nil, &made)
	return *c.others.Load()
}

// Outcome is nil where the server confirmed the release or the lock was handed on. Only valid after Settled.
func (c *Claim) Outcome() error { return c.settled }

// Over is why the hold is over, nil while it is not.
func (c *Claim) Over() error {
	if over := c.over.Load(); over != nil {
		return over.err
	}
	return nil
}

// Watch calls fire with the cause when the hold is over, at once if it is already. The keeper calls it, so it must not
// block. One watch only.
func (c *Claim) Watch(fire func(error)) {
	c.watch.Store(&watch{fire})
	if over := c.over.Load(); over != nil {
		c.fire(over.err)
	}
}

func (c *Claim) fire(cause error) {
	if c.watch.Load() == nil { // mostly; and to look costs less than to swap
		return
	}
	if w := c.watch.Swap(nil); w != nil {
		w.fire(cause)
	}
}

// answer tells the caller; the keeper calls it once.
func (c *Claim) answer(err error) {
	c.Err, c.answered = err, true
	if err != nil {
		c.stage = stageOver
	}
	c.result <- struct{}{}
}

// finishHold says that the hold is over, which the holder must hear before the lock is anybody else's.
func (c *Claim) finishHold(cause error) {
	if !c.over.CompareAndSwap(nil, newEndCause(cause)) {
		return
	}
	if c.Registration != nil && c.ending.Load() != &byHolder { // who waits for the outcome takes it back himself
		c.Registration.Unregister()
	}
	c.fire(cause)
}

func (c *Claim) settle(outcome error) {
	c.stage = stageOver
	if outcome != nil {
		c.settled = outcome
	}
	if others := c.others.Swap(&past); others != nil {
		close(*others)
	}
	c.wake()
}

func (c *Claim) isSettled() bool { return c.others.Load() == &past }

// past is the Settled of a claim that is settled.
var past = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
