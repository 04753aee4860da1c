package actor

import "time"

// A message is what a keeper's select receives: a request of a caller's, an [Event] of the store's, or a timer. The machine
// takes them as its events. Each is a struct of its own.
type message interface{ String() string }

// acquire: a claim wants the lock.
type acquire struct{ claim *Claim }

// release: the holder wants to end its hold, and waits for the outcome.
type release struct{ claim *Claim }

// releaseLater: the same, and nobody waits.
type releaseLater struct{ claim *Claim }

// unused: nobody has worked under the lock of a claim, and nobody will. Its release comes next.
type unused struct{ claim *Claim }

// await: somebody wants to know the outcome of a claim, without ending it. Undecided is sent at once where it is not known.
type await struct {
	claim *Claim
	// Sent by the keeper; received by whoever waits; never closed; capacity replyRoom: Undecided, and the outcome.
	outcome chan<- Reply
}

// whoHolds: somebody wants to know who holds the key in this process.
type whoHolds struct {
	// Sent by the keeper; received by whoever asks; never closed; capacity 1: one answer.
	holding chan<- []Holding
}

// lend: the holder wants to work on the session of its lock.
type lend struct {
	claim *Claim
	loan  any // the store's
	// Sent by the keeper; received by the holder; never closed; capacity 1: whether the session has been asked.
	asked chan<- bool
}

// inside: work inside a hold begins to wait for another key, or has ended that.
type inside struct {
	claim  *Claim
	wanted Want
	ends   bool
}

// contextEnded: the context that the claim was made with has ended, for cause.
type contextEnded struct {
	claim *Claim
	cause error
}

// withdraw: whoever waits with the claim gives up, for cause. A claim that holds is not concerned.
type withdraw struct {
	claim *Claim
	cause error
}

// paused: the claim's caller answers [AskPause]: the next attempt is to come after pause.
type paused struct {
	claim *Claim
	pause time.Duration
}

// heard: another process has told something of the key.
type heard struct{ *Hint }

// due: the keeper's timer has fired.
type due struct{}

// closing: the supervisor closes. It is sent once to each keeper.
type closing struct{}

func (acquire) String() string      { return "acquire" }
func (release) String() string      { return "release" }
func (releaseLater) String() string { return "release later" }
func (unused) String() string       { return "unused" }
func (await) String() string        { return "await" }
func (whoHolds) String() string     { return "who holds" }
func (lend) String() string         { return "lend" }
func (inside) String() string       { return "inside" }
func (contextEnded) String() string { return "context ended" }
func (withdraw) String() string     { return "withdraw" }
func (paused) String() string       { return "paused" }
func (heard) String() string        { return "heard" }
func (due) String() string          { return "due" }
func (closing) String() string      { return "closing" }

// Event is what a store tells a keeper: [Answered], [Reserved], [Lost] or [Told].
type Event interface {
	message
	event()
}

// Answered is the answer to the operation under way. It is sent exactly once for each.
type Answered struct{ *Answer }

// Reserved is the answer to [Link.Reserve]. It is sent exactly once for each.
type Reserved struct{ *Answer }

// Lost says that Session has ended, and the lock with it that was held there. It is sent at most once for each grant, and
// never for one whose [Link.Unlock] has been answered.
type Lost struct{ Session Session }

// Told is who holds the lock, nil if that is not known. It is sent at most once for each [Link.Ask].
type Told struct {
	*Holder
	Waiters bool      // somebody is in the server's queue for the lock
	Asked   time.Time // when the server was asked, at the soonest
}

func (Answered) String() string { return "answered" }
func (Reserved) String() string { return "reserved" }
func (Lost) String() string     { return "lost" }
func (Told) String() string     { return "told" }

func (Answered) event() {}
func (Reserved) event() {}
func (Lost) event()     {}
func (Told) event()     {}

// eventRoom is the capacity of a keeper's channel of events, so that a store never waits for a keeper. A keeper has one operation and
// one reservation under way, and one grant that can be lost; of questions, which are asked seconds apart, two can be unread.
const eventRoom = 5
