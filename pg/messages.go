package pg

import "time"

// poolRequest is what keepers, and Stats, send to the pool.
type poolRequest interface {
	do(p *Pool) // runs on the pool's goroutine
	refuse()    // runs on the sender's, where the pool has ended
}

// send gives the pool a request. Its owner always receives, until it ends.
func (p *Pool) send(r poolRequest) {
	select {
	case p.requests <- r:
	case <-p.done:
		r.refuse()
	}
}

type (
	needShared struct{ request *Request }
	reserve    struct{ reservation *Reservation }
	withdraw   struct{ reservation *Reservation }
	returnSolo struct{ session *Solo }
	startPoll  struct{ request *Request }
	stopPoll   struct{ request *Request }
	askHolder  struct{ inquiry *inquiry }
	readStats  struct {
		reply chan Stats // sent by the pool; received by Stats; never closed; capacity 1: one answer
	}
)

func (m needShared) do(p *Pool) { p.await(m.request) }
func (m reserve) do(p *Pool)    { p.reserve(m.reservation) }
func (m withdraw) do(p *Pool)   { p.withdraw(m.reservation) }
func (m returnSolo) do(p *Pool) { p.returned(m.session) }
func (m startPoll) do(p *Pool)  { p.startPoll(m.request) }
func (m stopPoll) do(p *Pool)   { p.stopPoll(m.request) }
func (m askHolder) do(p *Pool)  { p.askHolder(m.inquiry) }
func (m readStats) do(p *Pool)  { m.reply <- p.snapshot() }

func (m needShared) refuse() { m.request.answer(nil, false, ErrClosed) }
func (m startPoll) refuse()  { m.request.answer(nil, false, ErrClosed) }
func (m reserve) refuse()    { m.reservation.refuse(ErrClosed) }
func (withdraw) refuse()     {}
func (returnSolo) refuse()   {}
func (stopPoll) refuse()     {}
func (askHolder) refuse()    {}
func (readStats) refuse()    {} // Stats looks itself

// Poll asks for the lock until it is granted, the attempt fails, or StopPolling is called. A lock that is granted is like any
// other's.
func (p *Pool) Poll(r *Request) { p.send(startPoll{r}) }

// StopPolling asks that a poll end soon. Its answer has neither OK nor Err, or is still a grant.
func (p *Pool) StopPolling(r *Request) { p.send(stopPoll{r}) }

func (p *Pool) startPoll(r *Request) {
	r.Op = OpTry
	r.poll = &poll{request: r, id: r.ID, shared: r.Shared, client: r.Client, at: -1}
	if p.closing {
		r.answer(nil, false, ErrClosed)
		return
	}
	p.poller.add(r.poll)
}

// Asker is who asks for a lock's holder. Told is called on the pool's goroutine and must not block.
type Asker interface{ Told(a WhoAnswer) }

// WhoAnswer is what came of the question who holds a lock.
type WhoAnswer struct {
	Holder  *Holder   // one of them, where it is shared; nil if nobody does, or that is not known
	Waiters bool      // somebody is in the server's queue for it
	Asked   time.Time // when the question was sent, at the soonest
}

// inquiry asks who holds a lock.
type inquiry struct {
	request Request
	asker   Asker
	pool    *Pool
	on      *Shared
	answer  WhoAnswer
}

// Done implements [Client]: the question goes back to the pool, which has room for the one that is under way.
func (q *inquiry) Done(*Request) { q.pool.told <- q }

// Lost implements [Client]. No lock is asked for.
func (q *inquiry) Lost(Session, int64) {}

// A question for a lock's holder makes the server read its whole lock table. So one is under way at a time, the next comes askGap
// later at the soonest, and the time spent on them is at most one part in askShare: a slow server is asked less often, but never
// less than once in askGapMost.
const (
	askGap     = 20 * time.Millisecond
	askGapMost = time.Second
	askShare   = 50
)

// Who asks who holds a lock. The answer goes to asker; it does not come where the server is asked too often, or not at all.
func (p *Pool) Who(id int64, asker Asker) {
	q := &inquiry{asker: asker, pool: p}
	q.request = Request{Client: q, ID: id, Op: opWho, inquiry: q}
	p.send(askHolder{q})
}

func (p *Pool) askHolder(q *inquiry) {
	s := p.forQuestions()
	if s == nil || p.asking != nil || time.Since(p.askedAt) < p.askGap {
		return
	}
	select {
	case s.requests <- &q.request: // one that has ended meanwhile is seen when its end is told
		q.on, p.asking, p.askedAt = s, q, time.Now()
	default: // it has more to do than it can
	}
}

// forQuestions is a shared session for what takes no lock: one without room for another lock is as good.
func (p *Pool) forQuestions() *Shared {
	if s := p.choose(); s != nil {
		return s
	}
	for _, s := range *p.shared.Load() {
		if s.lost.Load() == nil {
			return s
		}
	}
	return nil
}

func (p *Pool) toldNow(q *inquiry) {
	p.asking = nil
	p.askGap = min(max(askGap, askShare*time.Since(p.askedAt)), askGapMost)
	q.asker.Told(q.answer)
}

// unsentTo deals with what the pool gave to a session that has ended, and which was not answered: all that was answered lies in
// the pool's channels by now.
func (p *Pool) unsentTo(s *Shared) {
	for drained := false; !drained; {
		select {
		case b := <-p.polled:
			p.batchBack(b)
		case q := <-p.told:
			p.toldNow(q)
		default:
			drained = true
		}
	}
	for _, b := range append([]*pollBatch(nil), p.poller.under...) {
		if b.on == s {
			b.request.Err = s.Lost()
			p.batchBack(b)
		}
	}
	if q := p.asking; q != nil && q.on == s {
		p.asking = nil
	}
}
