package actor

// server is what the keeper knows of its lock at the server. The keeper's is the one that counts, from step to step: the machine has a copy
// within a step, and each effect one as it is once the effect was carried out. It outlives an
// incarnation of the keeper, since what it says stays true when the machine has failed.
type server struct {
	op        operation // under way
	held      bool      // the lock is ours
	shared    bool      // the mode of the lock, or of what is asked for: shared, and not exclusive
	own       ownSession
	dedicated bool // own was asked for by a claim that wants a session to itself
	onOwn     bool // the operation, or the lock, is on the key's own session
	stopping  bool // the poll under way was asked to stop
	lent      bool // own was lent to a holder (lend.go)
}

// operation is what a keeper asks of the store about its lock.
type operation uint8

const (
	opNone operation = iota
	opTry
	opWait // in the server's queue, for a slice
	opPoll
	opUnlock
)

func (o operation) String() string { return [...]string{"none", "try", "wait", "poll", "unlock"}[o] }

// ownSession is how far the keeper is with a session of the key's own.
type ownSession uint8

const (
	ownNone ownSession = iota
	ownAsked
	ownWithdrawn // asked for and taken back: the answer has yet to come
	ownHave
)

// receive takes what e says of the server. It comes before anything else: whatever fails afterwards, what the store said is
// known.
func (s *server) receive(e message) {
	switch e := e.(type) {
	case Answered:
		if s.op == opNone {
			return // nobody waits for it: the machine says that it is a bug
		}
		if e.Again {
			s.op = opNone
			return
		}
		s.held = s.op != opUnlock && e.OK
		s.op, s.stopping = opNone, false
	case Reserved:
		if s.own != ownAsked && s.own != ownWithdrawn {
			return // as above
		}
		s.own, s.lent = ownNone, false
		if e.OK {
			s.own = ownHave
		}
	case Lost:
		if s.op == opNone {
			s.held = false
		}
	}
}

// idle reports whether nothing is held, reserved or under way.
func (s *server) idle() bool { return s.op == opNone && !s.held && s.own == ownNone }
