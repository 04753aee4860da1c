package actor

// A caller who waits for its claim's operation can bring the answer in on its own goroutine, which spares a wake-up of
// whoever would do it otherwise ([Link].Attend). Keeper and caller settle between them whether it does, so that there is
// always somebody: the caller says beforehand that it is about to look, the keeper marks that the operation has begun,
// and who comes second knows what the first has done.
const (
	attendCaller uint32 = iota // the caller will look: how a claim begins
	attendBegun                // the operation has begun, and the caller has yet to look
	attendNobody               // the caller sleeps, or there is none
)

// attend brings the answer in, if the operation for the claim has begun. It reports whether it received the token that
// the claim was answered with.
func (c *Claim) attend() (received bool) {
	if c.attendance.Swap(attendNobody) != attendBegun {
		return false
	}
	return c.keeper.Load().link.Attend(c.result)
}

// attended tells the link of an operation just begun whether somebody will attend to it: c, for whom it is, if anybody.
func (k *keeper) attended(c *Claim) {
	if c == nil || !c.attendance.CompareAndSwap(attendCaller, attendBegun) {
		k.link.Unattended()
	}
}
