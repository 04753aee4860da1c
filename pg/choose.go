package pg

// How the shared session for a new lock is chosen, and when another is opened.
//
// A statement on a session costs the server more the more locks the session holds, about as much for locksPerRequest of them as for
// one more request in the statement. So a new lock goes to the session with the least of both. One session is enough until it holds
// manyLocks, or more has queued on it than two statements carry. Where all sessions hold manyLocks there is one beside them, the
// lone one, for locks that come one at a time: on a session with tens of thousands each would take the server milliseconds.
const (
	locksPerRequest = 20
	manyLocks       = 1000
	loneQueue       = 16 // more than that at a time is a crowd, which fills a session: it does not go to the lone one
)

func (s *Shared) load() int { return len(s.requests) + int(s.locks.Load())/locksPerRequest }

// Try gives an OpTry to a shared session. Without one that has room, the request is answered with Again when there is one, or with
// the reason why there is none.
func (p *Pool) Try(r *Request) (unsent <-chan struct{}) {
	r.Op = OpTry
	if s := p.choose(); s != nil {
		return s.Submit(r)
	}
	p.needShared(r)
	return nil
}

// needShared is not inlined: Try would need the room on a keeper's stack.
//
//go:noinline
func (p *Pool) needShared(r *Request) { p.send(needShared{r}) }

// choose is the session for a new lock, nil where none has room. Any goroutine may call it.
func (p *Pool) choose() *Shared {
	var best, lone *Shared
	least, n, heavy, busy := 0, 0, true, false
	for _, s := range *p.shared.Load() {
		switch {
		case s.lost.Load() != nil:
			continue
		case s.lone:
			lone = s
			continue
		}
		n++
		locks := int(s.locks.Load())
		heavy = heavy && locks >= manyLocks
		busy = busy || s.inAir.Load() > 0
		if load := s.load(); locks < p.config.MaxLocksPerSession && (best == nil || load < least) {
			best, least = s, load
		}
	}
	switch {
	case best == nil: // the lone one is not there to go beyond the limit
		return nil
	case n < p.config.SharedSessions && (heavy || len(best.requests) >= 2*maxBatch):
		p.wish()
	case !heavy || busy: // what comes while others are asked for is a crowd
	case lone == nil && n >= p.config.SharedSessions:
		p.wish()
	case lone != nil && lone.locks.Load() < manyLocks && len(lone.requests) < loneQueue:
		return lone
	}
	return best
}

// wish asks for another shared session.
func (p *Pool) wish() {
	select {
	case p.grow <- struct{}{}:
	default:
	}
}

// mayShare reports whether another shared session may be opened, and whether that would be the lone one. Those that are lost, and
// have yet to end, do not count: another takes their place.
func (p *Pool) mayShare() (another, lone bool) {
	n, haveLone, heavy := 0, false, true
	for s := range p.sharedAll {
		switch {
		case s.lost.Load() != nil:
			continue // it takes no lock any more
		case s.lone:
			haveLone = true
			continue
		}
		n++
		heavy = heavy && s.locks.Load() >= manyLocks
	}
	if n < p.config.SharedSessions {
		return true, false
	}
	return heavy && !haveLone, true
}

// mayOpen reports whether a shared session may be opened for a lock that finds no room. The lone one has none for it.
func (p *Pool) mayOpen() bool {
	another, lone := p.mayShare()
	return another && !lone && p.roomFor(UseShared)
}
