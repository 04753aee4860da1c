package pg

import "time"

// Who holds a lock, and whether somebody waits for it. The answer makes the server read its whole lock table. So one question is under
// way at a time, for all who want to know by then; the next comes askGap later at the soonest, and the time spent on them is at most one
// part in askShare: a slow server is asked less often, but never less than once in askGapMost.
const (
	askGap     = 20 * time.Millisecond
	askGapMost = time.Second
	askShare   = 50
)

// Asker is who asks for a lock's holder. Told is called on the pool's goroutine and must not block.
type Asker interface{ Told(a WhoAnswer) }

// WhoAnswer is what came of the question who holds a lock.
type WhoAnswer struct {
	Holder  *Holder   // one of them, where it is shared; nil if nobody does, or that is not known
	Waiters bool      // somebody is in the server's queue for it
	Asked   time.Time // when the question was sent, at the soonest
}

// wish is that somebody wants to know of a lock.
type wish struct {
	id    int64
	asker Asker
}

// inquiry asks about the locks of some wishes. The session that has it may write answers; then it is the pool's again.
type inquiry struct {
	request Request
	wishes  []wish
	answers map[int64]WhoAnswer
	sent    time.Time
	on      *Shared
	pool    *Pool
}

// Done implements [Client]: the question goes back to the pool, which has room for the one that is under way.
func (q *inquiry) Done(*Request) { q.pool.told <- q }

// Lost implements [Client]. No lock is asked for.
func (q *inquiry) Lost(Session, int64) {}

// copyAnswers copies the answers of a statement.
func (q *inquiry) copyAnswers(f *sending) {
	q.answers, q.sent = f.who, f.sent
}

// Who asks who holds a lock. The answer goes to asker, once for all that it asked about the lock until the question was sent. It does not
// come where the session ends that was asked, or the pool.
func (p *Pool) Who(id int64, asker Asker) { p.send(askHolder{wish{id, asker}}) }

func (p *Pool) askHolder(w wish) {
	if !p.closing {
		p.wishes[w] = true
		p.sendQuestion()
	}
}

// sendQuestion sends the next question, if it is time for it, or has the timer look then.
func (p *Pool) sendQuestion() {
	if p.asking != nil || len(p.wishes) == 0 {
		return
	}
	if wait := p.askGap - time.Since(p.askedAt); wait > 0 {
		p.askTimer.Reset(wait)
		return
	}
	s := p.forQuestions()
	if s == nil {
		clear(p.wishes) // those who asked ask again
		return
	}
	q := &inquiry{pool: p, on: s}
	q.request = Request{Client: q, Op: opWho, inquiry: q}
	for w := range p.wishes {
		if q.wishes = append(q.wishes, w); len(q.wishes) == maxBatch {
			break
		}
	}
	select {
	case s.requests <- &q.request: // one that has ended meanwhile is seen when its end is told
		p.asking, p.askedAt = q, time.Now()
		for _, w := range q.wishes {
			delete(p.wishes, w)
		}
	default: // it has more to do than it can
		p.askTimer.Reset(askGap)
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
	for _, w := range q.wishes {
		a := q.answers[w.id]
		a.Asked = q.sent
		w.asker.Told(a)
	}
	p.sendQuestion()
}
