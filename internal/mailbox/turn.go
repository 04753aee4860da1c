package mailbox

import (
	"runtime"
	"sync/atomic"
)

// Turn is the right to act as an owner for a moment. One holds it at a time, and nobody ever waits for it: who does not
// get it leaves the message in the mailbox, and the holder looks there once more after giving the turn back.
//
// That is how a message to an owner who sleeps is dealt with at once, on the sender's goroutine, instead of waking the
// owner's: a wake-up costs more than most messages take, and on a small machine it takes a processor from the database.
type Turn struct{ taken atomic.Bool }

// Try takes the turn if nobody has it.
func (t *Turn) Try() bool { return !t.taken.Load() && t.taken.CompareAndSwap(false, true) }

// Taken reports whether somebody has it. Anybody may ask.
func (t *Turn) Taken() bool { return t.taken.Load() }

// Take takes the turn, waiting for whoever has it to be done, which is soon: a holder never waits for anything.
func (t *Turn) Take() {
	for !t.Try() {
		runtime.Gosched()
	}
}

// Give gives it back. Whatever its holder did is seen by the next.
func (t *Turn) Give() { t.taken.Store(false) }
