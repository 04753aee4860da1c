package manager

import (
	"slices"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// store lets keepers use the pool of sessions: packages actor and pg know nothing of each other.
type store struct{ pool *pg.Pool }

func (s store) Attach(id int64, events chan<- actor.Event) actor.Link {
	l := &link{pool: s.pool, events: events}
	l.request.ID, l.request.Client = id, l
	return l
}

// link is one keeper's requests to the pool: one for the lock, used again and again, and one reservation. The keeper's goroutine
// sends them. The goroutines of pool and sessions answer, by Done, Lost, Reserved and Told, which only send an event; where the pool has
// ended, the keeper's own goroutine does, as it sends.
type link struct {
	pool        *pg.Pool
	events      chan<- actor.Event // sent by pool and sessions; received by the keeper; never closed; capacity as actor.Store says
	request     pg.Request
	unsent      <-chan struct{} // closed by the session that the request was given to, if it had ended; received by the keeper; nothing is sent
	reservation *pg.Reservation
	own         *pg.Solo // the key's own session; written by the pool's goroutine before it sends Reserved, and by the keeper's in Return
}

func (l *link) Try(shared bool) {
	l.begin(pg.OpTry)
	l.request.Shared = shared
	l.unsent = l.pool.Try(&l.request)
}

func (l *link) TryOwn(shared bool) { l.onOwn(pg.OpTry, shared) }
func (l *link) Wait(shared bool)   { l.onOwn(pg.OpWait, shared) }

func (l *link) onOwn(op pg.Op, shared bool) {
	l.begin(op)
	l.request.Shared = shared
	l.unsent = l.own.Submit(&l.request)
}

func (l *link) Unlock(offer *actor.Hint) {
	l.begin(pg.OpUnlock)
	if offer != nil {
		l.request.Offer = l.hint(offer)
	}
	l.unsent = l.request.Session.Submit(&l.request)
}

func (l *link) Poll(shared, announce, rarely bool) {
	l.begin(pg.OpTry)
	l.request.Shared, l.request.Announce, l.request.Rarely = shared, announce, rarely
	l.pool.Poll(&l.request)
}

func (l *link) Pace(rarely bool) { l.pool.Pace(&l.request, rarely) }

func (l *link) Tell(n *actor.Hint) {
	l.pool.Tell(l.hint(n))
}

func (l *link) hint(n *actor.Hint) *pg.Hint {
	return &pg.Hint{Kind: hintKinds[n.Kind], ID: l.request.ID, Peers: n.Peers}
}

// hintKinds are those of package pg, by those of package actor.
var hintKinds = [...]pg.HintKind{actor.Wanted: pg.HintWanted, actor.Offered: pg.HintOffered, actor.Held: pg.HintHeld, actor.Shared: pg.HintShared}

// hear gives a hint to the keeper of its key. An offer that comes when there is none any more goes to the next.
func (m *Manager) hear(n *pg.Hint) {
	kind := actor.HintKind(slices.Index(hintKinds[:], n.Kind))
	if !m.supervisor.Hear(n.ID, &actor.Hint{Kind: kind, Peers: n.Peers}) && kind == actor.Offered && n.Peers[0] == actor.Here && len(n.Peers) > 1 {
		m.pool.Tell(&pg.Hint{Kind: n.Kind, ID: n.ID, Peers: n.Peers[1:]})
	}
}

func (l *link) begin(op pg.Op) {
	l.request.Op, l.request.OK, l.request.Again, l.request.Err = op, false, false, nil
	l.request.Offer, l.unsent = nil, nil
}

// Lend lends the key's own session; loan is a [pg.Loan] of it.
func (l *link) Lend(loan any) {
	if loan, ok := loan.(*pg.Loan); ok {
		l.own.Lend(loan)
	}
}

func (l *link) StopPolling() { l.pool.StopPolling(&l.request) }

func (l *link) Reserve(dedicated, now bool) {
	use := pg.UseWaiting
	if dedicated {
		use = pg.UseDedicated
	}
	l.reservation = &pg.Reservation{Client: l, Use: use, Now: now}
	l.pool.Reserve(l.reservation)
}

func (l *link) Withdraw() { l.pool.Withdraw(l.reservation) }

func (l *link) Return() {
	l.pool.Return(l.own)
	l.own = nil
}

func (l *link) Ask() { l.pool.Who(l.request.ID, l) }

func (l *link) Unsent() <-chan struct{} { return l.unsent }

func (l *link) Session() actor.Session { return l.request.Session }

func (l *link) Own() actor.Session {
	if l.own == nil {
		return nil
	}
	return l.own
}

// granted is what most answers are.
var granted = &actor.Answer{OK: true}

// Done implements [pg.Client], as does Lost.
func (l *link) Done(r *pg.Request) {
	switch {
	case r.OK:
		l.events <- actor.Answered{Answer: granted}
	case r.Again:
		l.events <- actor.Answered{Answer: &actor.Answer{Again: true}}
	default:
		l.events <- actor.Answered{Answer: notGranted(r.Err)}
	}
}

func (l *link) Lost(s pg.Session, _ int64) { l.events <- actor.Lost{Session: s} }

// Reserved implements [pg.Reserver].
func (l *link) Reserved(_ *pg.Reservation, s *pg.Solo, err error) {
	if err != nil {
		l.events <- actor.Reserved{Answer: notGranted(err)}
		return
	}
	l.own = s
	l.events <- actor.Reserved{Answer: granted}
}

// Told implements [pg.Asker].
func (l *link) Told(a pg.WhoAnswer) {
	l.events <- actor.Told{Holder: holder(a.Holder), Waiters: a.Waiters, Asked: a.Asked}
}

// notGranted is an answer without a grant. Without err the server said no, a slice of waiting is over, or a poll was stopped.
func notGranted(err error) *actor.Answer {
	return &actor.Answer{Err: err, Transient: err != nil && pg.Transient(err), Ended: pg.Ended(err)}
}
