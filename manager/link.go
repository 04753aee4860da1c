package manager

import (
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/pg"
)

// store lets keepers use the pool of sessions: the two packages know nothing of each other.
type store struct {
	pool    *pg.Pool
	lastAsk atomic.Int64 // when who holds a lock was last asked, in nanoseconds since start
	askCost atomic.Int64 // how long the last such question took, in nanoseconds
	start   time.Time
}

// A question for a lock's holder makes the server look through its whole lock table. Over all keys there is at most one
// in askGap, and the time spent on them is at most one part in askShare: a server that is slow is asked less often, but
// never less than once in askGapMost.
const (
	askGap     = 20 * time.Millisecond
	askGapMost = time.Second
	askShare   = 50
)

func (s *store) Attach(id int64, o actor.Observer) actor.Link {
	l := &link{store: s, observer: o}
	l.request.ID, l.request.Client = id, l
	return l
}

func (s *store) mayAsk() bool {
	now, last := int64(time.Since(s.start)), s.lastAsk.Load()
	gap := min(max(int64(askGap), askShare*s.askCost.Load()), int64(askGapMost))
	return now-last >= gap && s.lastAsk.CompareAndSwap(last, now)
}

// link is one keeper's requests to the pool: one for the lock, in use again and again, one for the question who holds
// it, and one reservation. The keeper starts them; the pool's goroutines answer.
type link struct {
	request     pg.Request
	observer    actor.Observer
	store       *store
	reservation *pg.Reservation
	own         *pg.Session // the reserved one; set when the reservation is answered
	polls       bool        // of Wait and Poll, the latter came last
	question    *question
	_           [32]byte // so that what is always used, the first 128 bytes, is on two lines of a processor's cache, not three
}

type question struct {
	request pg.Request
	link    *link
	asked   time.Time
	busy    atomic.Bool
}

func (l *link) Try() {
	l.request.Attended = true
	l.store.pool.Try(&l.request)
}

func (l *link) Attend(answered <-chan struct{}) bool { return l.request.Attend(answered) }

func (l *link) Unattended() { l.request.MustRead() }

func (l *link) Reserve(dedicated, now bool) {
	use := pg.UseWaiting
	if dedicated {
		use = pg.UseDedicated
	}
	l.reservation = &pg.Reservation{Client: l, Use: use, Now: now}
	l.store.pool.Reserve(l.reservation)
}

func (l *link) Withdraw() { l.store.pool.Withdraw(l.reservation) }

func (l *link) TryReserved() {
	l.request.Op, l.request.Attended = pg.OpTry, true
	l.own.Submit(&l.request)
}

func (l *link) Wait() {
	l.request.Op, l.request.Attended, l.polls = pg.OpWait, false, false
	l.own.Submit(&l.request)
}

func (l *link) Poll() {
	l.request.Op, l.request.Attended, l.polls = pg.OpTry, false, true
	l.store.pool.Poll(&l.request)
}

func (l *link) Abandon() {
	if l.polls {
		l.store.pool.StopPolling(&l.request)
		return
	}
	l.own.Abandon(&l.request)
}

func (l *link) Unlock() {
	l.request.Op, l.request.Attended = pg.OpUnlock, true
	l.request.Session.Submit(&l.request)
}

func (l *link) GiveBack() {
	l.store.pool.Return(l.own)
	l.own = nil
}

func (l *link) Ask() {
	if l.question == nil {
		l.question = &question{link: l}
		l.question.request.ID, l.question.request.Client = l.request.ID, l.question
	}
	if l.store.mayAsk() && l.question.busy.CompareAndSwap(false, true) {
		l.question.asked = time.Now()
		l.store.pool.Who(&l.question.request)
	}
}

func (l *link) Gone() error { return l.request.Session.Lost() }

func (l *link) Session() actor.Session { return l.request.Session }

func (l *link) Detach() {}

// Done implements [pg.Client], as does Lost.
func (l *link) Done(r *pg.Request) {
	l.observer.Answered(answer(r.OK, r.Err))
}

func (l *link) Lost(*pg.Session, int64, error) { l.observer.Lost() }

// Reserved implements [pg.Reserver].
func (l *link) Reserved(_ *pg.Reservation, s *pg.Session, err error) {
	l.own = s
	l.observer.Reserved(answer(err == nil, err))
}

func answer(ok bool, err error) actor.Answer {
	return actor.Answer{OK: ok, Err: err, Transient: err != nil && pg.Transient(err)}
}

func (q *question) Done(r *pg.Request) {
	var told *actor.Holder
	if h := r.Holder; h != nil {
		told = &actor.Holder{PID: h.PID, ApplicationName: h.ApplicationName, ClientAddr: h.ClientAddr,
			Since: h.SessionSince, Seen: time.Now()}
	}
	q.link.store.askCost.Store(int64(time.Since(q.asked)))
	q.busy.Store(false)
	q.link.observer.Told(told)
}

func (q *question) Lost(*pg.Session, int64, error) {}
