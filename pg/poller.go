package pg

import (
	"slices"
	"time"
)

// A claim that waits and has no session to wait on is polled for. The pool asks for all of them together, so that ten thousand
// that wait cost some statements and wake nobody: a client hears of a grant, a failure, or the end that it asked for.

const (
	// pollTick is how often some of the polls are sent.
	pollTick = 10 * time.Millisecond
	// maxPollBatches bounds the statements of polls under way: a slow server is asked less often.
	maxPollBatches = 2
)

// poll is one request that is asked again until it is granted, fails, or is stopped. The pool owns it.
type poll struct {
	request *Request
	id      int64
	shared  bool
	client  Client
	asking  bool // in a batch under way
	stopped bool
	in      *round // nil where it has ended
	at      int    // in the round's list
	fresh   bool   // in hints.fresh
}

// pollBatch is the polls of one statement. The session that has it may write ok; then it is the pool's again.
type pollBatch struct {
	request Request
	polls   []*poll
	ok      []bool
	on      *Shared
	pool    *Pool
}

// copyAnswers copies the answers of a statement.
func (b *pollBatch) copyAnswers(f *sending) {
	for i := range f.entries {
		b.ok[i] = f.entries[i].ok
	}
}

// Done implements [Client]: the batch goes back to the pool, which has room for all that are under way.
func (b *pollBatch) Done(*Request) { b.pool.polled <- b }

// Lost implements [Client]. The locks are their clients', who are told themselves.
func (b *pollBatch) Lost(Session, int64) {}

// poller has the polls. The pool's goroutine owns it.
type poller struct {
	often  round // of polls of which nobody has said that a hint will come
	rarely round
	tick   *time.Timer   // runs while there are any
	ticked time.Duration // what the tick was set to
	under  []*pollBatch  // under way
}

func newPoller() poller {
	return poller{often: round{share: pollShare, soonest: pollSoonest}, rarely: round{share: seldomShare, soonest: seldomSoonest},
		tick: newStoppedTimer()}
}

func newStoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// setTick has the tick come as soon as the polls there are need it.
func (l *poller) setTick() {
	if l.ticked = l.often.tick(); l.ticked == 0 {
		l.ticked = l.rarely.tick()
	}
	if l.ticked > 0 {
		l.tick.Reset(l.ticked)
	}
}

func (l *poller) add(p *poll, to *round) {
	to.add(p)
	if l.ticked == 0 || to.tick() < l.ticked {
		l.setTick()
	}
}

// pace moves a poll to the other round.
func (l *poller) pace(p *poll, rarely bool) {
	to := &l.often
	if rarely {
		to = &l.rarely
	}
	if p.in != nil && p.in != to {
		p.in.remove(p)
		l.add(p, to)
	}
}

// sendPolls sends those whose turn it is.
func (p *Pool) sendPolls() {
	l := &p.poller
	for _, r := range [...]*round{&l.often, &l.rarely} {
		for rest := r.portion(l.ticked, (maxPollBatches-len(l.under))*maxBatch); rest > 0; rest -= maxBatch {
			s := p.choose()
			if s == nil {
				if r.waits() && p.mayOpen() && !time.Now().Before(p.noGrowth) {
					p.open(UseShared)
				}
				break // where all sessions are full they wait for room
			}
			room := p.config.MaxLocksPerSession - int(s.locks.Load())
			polls := r.nextPolls(min(rest, maxBatch, max(room, 1)))
			if len(polls) == 0 || !p.sendPoll(s, &pollBatch{polls: polls}) {
				break
			}
		}
	}
	l.setTick()
}

// sendPoll sends a batch, and reports whether the session had room for it.
func (p *Pool) sendPoll(s *Shared, b *pollBatch) bool {
	b.ok, b.pool, b.on = make([]bool, len(b.polls)), p, s
	b.request = Request{Op: opPoll, Client: b, polls: b}
	for _, each := range b.polls {
		each.asking = true
	}
	p.poller.under = append(p.poller.under, b)
	select {
	case s.requests <- &b.request: // one that has ended meanwhile is seen when its end is told
		return true
	default:
		p.batchBack(b) // it is busy: another time
		return false
	}
}

// batchBack takes the answers of a batch.
func (p *Pool) batchBack(b *pollBatch) {
	l := &p.poller
	l.under = slices.DeleteFunc(l.under, func(other *pollBatch) bool { return other == b })
	for i, each := range b.polls {
		each.asking = false
		switch {
		case b.ok[i]:
			p.endPoll(each, b.on, true, nil)
		case b.request.Err != nil:
			p.endPoll(each, b.on, false, b.request.Err)
		case p.closing:
			p.endPoll(each, nil, false, ErrClosed)
		case each.stopped:
			p.endPoll(each, nil, false, nil)
		}
	}
}

func (p *Pool) endPoll(each *poll, s *Shared, ok bool, err error) {
	each.in.remove(each)
	if s == nil {
		each.request.answer(nil, ok, err)
		return
	}
	each.request.answer(s, ok, err)
}

// stopPoll ends a poll; one that is being asked for ends with its answer. One that has ended is left alone.
func (p *Pool) stopPoll(r *Request) {
	each := r.poll
	if each == nil || each.in == nil {
		return
	}
	each.stopped = true
	if !each.asking {
		p.endPoll(each, nil, false, nil)
	}
}

// pacePoll has a poll asked rarely, or often again.
func (p *Pool) pacePoll(r *Request, rarely bool) {
	if r.poll != nil {
		p.poller.pace(r.poll, rarely)
	}
}

// failPolls ends those that are not being asked for: there is no session to ask on.
func (p *Pool) failPolls(err error) {
	for _, each := range slices.Concat(p.poller.often.list, p.poller.rarely.list) {
		if !each.asking {
			p.endPoll(each, nil, false, err)
		}
	}
}
