package actor

// A holder may work on the session of its lock, where the lock has a session to itself. From then on the session is that holder's: whoever
// holds the lock next, in this process too, holds it on another. So the end of the hold always unlocks, and the session goes back.

// Lend has the store lend the session of a dedicated lock to its holder. It reports false where the hold is over, and waits for nothing
// but the keeper. Any goroutine may call it, once the claim was granted.
func (c *Claim) Lend(loan any) bool {
	asked := make(chan bool, 1)
	return c.send(lend{c, loan, asked}) && <-asked
}

// lend asks the session, if the claim holds the lock on it. What it is asked for later, an unlock among that, comes after.
func (k *keeper) lend(e lend) bool {
	if e.claim.stage != stageHolding || !e.claim.Dedicated || !k.server.onOwn || !k.server.held || k.server.op != opNone {
		return false
	}
	k.server.lent = true
	k.link.Lend(e.loan)
	return true
}
