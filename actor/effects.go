package actor

// effect is something that the machine wants done.
type effect struct {
	claim  *Claim
	err    error
	hint   *Hint // of fxTell; of an fxPoll that the other processes are told of, an fxUnlock that they are to be
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
	fxPace // the poll under way is to ask often, or rarely
	fxTell // the other processes are told
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
	return [...]string{"try", "reserve", "withdraw", "try-own", "wait", "poll", "stop-polling", "pace", "tell", "unlock", "return", "ask",
		"ask-pause", "grant", "refuse", "notify", "over", "settle", "exit"}[k]
}
