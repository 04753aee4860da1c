package actor

import "time"

// message is what lies in a keeper's mailbox, or in the directory's.
type message struct {
	kind  eventKind
	claim *Claim
	from  *keeper
}

type eventKind uint8

const (
	evAcquire   eventKind = iota // a claim wants the lock
	evEnd                        // a claim wants to end: withdraw, or release
	evAnswered                   // the operation under way has its answer
	evReserved                   // so has the reservation
	evLost                       // the session that holds the lock may be gone
	evTold                       // who holds the lock
	evTimer                      // something is due
	evStop                       // the manager closes
	evRetire                     // the directory asks: still in use?
	evDismiss                    // the directory has forgotten this keeper: nothing comes after this
	evRetirable                  // to the directory: this keeper is idle
	evExited                     // to the directory: this keeper has ended
)

func (k eventKind) String() string {
	return [...]string{"acquire", "end", "answered", "reserved", "lost", "told", "timer", "stop", "retire", "dismiss",
		"retirable", "exited"}[k]
}

// event is a message with all that the machine needs to know about it, the clock included.
type event struct {
	kind   eventKind
	now    time.Time
	claim  *Claim
	answer Answer
	gone   error     // of evLost
	holder *Holder   // of evTold
	trust  time.Time // until when the session that holds the lock is trusted
}

type effectKind uint8

const (
	fxTry effectKind = iota
	fxReserve
	fxReserveDedicated
	fxWithdraw
	fxTryReserved
	fxWait
	fxPoll
	fxAbandon
	fxUnlock
	fxGiveBack
	fxAsk
	fxTimer  // wake me when the machine has something due
	fxGrant  // the claim holds the lock
	fxRefuse // the claim gets err
	fxOver   // the claim's hold is over, for err
	fxSettle // and this is what became of its lock
	fxExit   // nothing is left to do
)

func (k effectKind) String() string {
	return [...]string{"try", "reserve", "reserve-dedicated", "withdraw", "try-reserved", "wait", "poll", "abandon", "unlock",
		"give-back", "ask", "timer", "grant", "refuse", "over", "settle", "exit"}[k]
}

// effect is what the machine wants done.
type effect struct {
	kind  effectKind
	claim *Claim
	err   error
}
