package pg

import "slices"

// poolRequest is what others send to the pool; see Pool.requests.
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
	pacePoll   struct {
		request *Request
		rarely  bool
	}
	askHolder  struct{ wish wish }
	failedOver struct{}
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
func (m pacePoll) do(p *Pool)   { p.pacePoll(m.request, m.rarely) }
func (m askHolder) do(p *Pool)  { p.askHolder(m.wish) }
func (failedOver) do(p *Pool)   { p.failOver() }
func (m readStats) do(p *Pool)  { m.reply <- p.snapshot() }

func (m needShared) refuse() { m.request.answer(nil, false, ErrClosed) }
func (m startPoll) refuse()  { m.request.answer(nil, false, ErrClosed) }
func (m reserve) refuse()    { m.reservation.refuse(ErrClosed) }
func (withdraw) refuse()     {}
func (returnSolo) refuse()   {}
func (stopPoll) refuse()     {}
func (pacePoll) refuse()     {}
func (askHolder) refuse()    {}
func (failedOver) refuse()   {}
func (readStats) refuse()    {} // Stats looks itself

// Poll asks for the lock until it is granted, the attempt fails, or StopPolling is called. A lock that is granted is like any
// other's.
func (p *Pool) Poll(r *Request) { p.send(startPoll{r}) }

// StopPolling asks that a poll end soon. Its answer has neither OK nor Err, or is still a grant.
func (p *Pool) StopPolling(r *Request) { p.send(stopPoll{r}) }

// Pace has a poll asked rarely, since a hint is expected, or often again.
func (p *Pool) Pace(r *Request, rarely bool) { p.send(pacePoll{r, rarely}) }

func (p *Pool) startPoll(r *Request) {
	r.Op = OpTry
	r.poll = &poll{request: r, id: r.ID, shared: r.Shared, client: r.Client}
	if p.closing {
		r.answer(nil, false, ErrClosed)
		return
	}
	to := &p.poller.often
	if r.Rarely {
		to = &p.poller.rarely
	}
	p.poller.add(r.poll, to)
	if r.Announce && p.hints.hear != nil {
		p.hints.announce(r.poll)
	}
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
		case b := <-p.hinted:
			p.hintBack(b)
		default:
			drained = true
		}
	}
	for _, b := range slices.Clone(p.poller.under) {
		if b.on == s {
			b.request.Err = s.Lost()
			p.batchBack(b)
		}
	}
	for _, b := range slices.Clone(p.hints.under) {
		if b.on == s {
			b.request.Err = s.Lost()
			p.hintBack(b)
		}
	}
	if q := p.asking; q != nil && q.on == s {
		p.asking = nil // those who asked ask again
		p.sendQuestion()
	}
}
