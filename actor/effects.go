package actor

// effect is something that the machine wants done.
type effect struct {
	claim  *Claim
	err    error
	kind   effectKind
	server server // as it is once the effect was carried out
}

type effectKind uint8

const (
	fxTry effectKind = iota
	fxReserve
	fxWithdraw
	fxTryOwn
	fxWait
	fxPoll
	fxStopPolling
	fxUnlock
	fxReturn
	fxAsk
	fxAskPause // the claim's caller is asked how long to pause
	fxGrant    // the claim holds the lock
	fxRefuse   // the claim gets err
	fxNotify   // the claim's owner is told that the hold is to end, for err
	fxOver     // the claim's hold is over, for err
	fxSettle   // err is the outcome of the claim
	fxExit     // the supervisor closes, and nothing is left to do
)

func (k effectKind) String() string {
	return [...]string{"try", "reserve", "withdraw", "try-own", "wait", "poll", "stop-polling", "unlock", "return", "ask",
		"ask-pause", "grant", "refuse", "notify", "over", "settle", "exit"}[k]
}
