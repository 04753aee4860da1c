package actor

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// fakeStore is a database that answers as a script says and watches how keepers use it: one operation of a key at a time, no
// lock taken twice, none released that is not held, no session given back with a lock on it, not a word from an old keeper
// after a new one has come, and room for every event. It never waits for a keeper.
//
// It has one session that many keys share, some for one key alone, and other processes that take locks too ("outside").
type fakeStore struct {
	trust  time.Duration              // that a session has from its start
	slice  time.Duration              // of a wait
	script func(call) verdict         // asked once for each call, with mu held; nil: nothing is out of the ordinary
	hints  func(l *fakeLink, n *Hint) // is given what keepers tell, with mu held; may be nil
	attach func(id int64)             // called when a keeper is tied to the store; may be nil
	atOnce bool                       // answers come before the call has returned, where they take no time

	mu      sync.Mutex
	owners  map[int64]*fakeLink   // who of ours holds an id
	outside map[int64]bool        // ids that others hold, exclusively
	readers map[int64]bool        // ids that others share
	queues  map[int64][]*fakeLink // who waits at the server; nil is somebody outside, for the exclusive lock
	latest  map[int64]*fakeLink   // the newest link of an id
	tenure  map[int64]int         // how often the server has granted an id to us
	hung    map[int64]func(error) // operations that the script left without an answer
	shared  *fakeSession
	free    int            // sessions for one key alone that nobody has
	asking  []*reservation // the queue for one
	pids    uint32
	calls   []call
	wrong   []string // rules that were broken
	answers sync.WaitGroup
}

// call is one call of a keeper.
type call struct {
	at   time.Time
	id   int64
	kind effectKind
	nth  int // of this kind for this id, from 1
}

// verdict is what becomes of a call.
type verdict struct {
	after     time.Duration
	err       error // the operation fails; an unlock fails with its session
	permanent bool  // trying again does not help
	ended     bool  // the session ends with it, and the answer says so
	again     bool  // there was no session to ask on
	hang      bool  // no answer before fakeStore.wakeUp
	unsent    error // the session had ended, for this reason: the operation is never sent
}

// fakeSession implements [Session].
type fakeSession struct {
	pid   uint32
	until atomic.Pointer[time.Time]
	lost  atomic.Pointer[error]
	held  map[int64]*fakeLink // under the store's mu
}

func (s *fakeSession) TrustedUntil() time.Time { return *s.until.Load() }
func (s *fakeSession) PID() uint32             { return s.pid }
func (s *fakeSession) Lost() error {
	if lost := s.lost.Load(); lost != nil {
		return *lost
	}
	return nil
}

func newFakeStore() *fakeStore {
	s := &fakeStore{trust: time.Hour, slice: 2 * time.Second, free: 4,
		owners: map[int64]*fakeLink{}, outside: map[int64]bool{}, readers: map[int64]bool{}, queues: map[int64][]*fakeLink{},
		latest: map[int64]*fakeLink{}, tenure: map[int64]int{}, hung: map[int64]func(error){}}
	s.shared = s.session()
	return s
}

func (s *fakeStore) session() *fakeSession {
	s.pids++
	f := &fakeSession{pid: s.pids, held: map[int64]*fakeLink{}}
	until := time.Now().Add(s.trust)
	f.until.Store(&until)
	return f
}

// told gives a hint on. With mu.
func (s *fakeStore) told(l *fakeLink, n *Hint) {
	if s.hints != nil {
		s.hints(l, n)
	}
}

func (s *fakeStore) complain(format string, args ...any) {
	if len(s.wrong) < 20 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

// later runs f with mu held, as a rule on another goroutine.
func (s *fakeStore) later(after time.Duration, f func()) {
	if s.atOnce && after == 0 {
		f()
		return
	}
	s.answers.Add(1)
	run := func() {
		defer s.answers.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
	}
	if after > 0 {
		time.AfterFunc(after, run)
		return
	}
	go run()
}

// Attach implements [Store].
func (s *fakeStore) Attach(id int64, events chan<- Event) Link {
	if s.attach != nil {
		s.attach(id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &fakeLink{store: s, id: id, events: events, counts: map[effectKind]int{}}
	if old := s.latest[id]; old != nil {
		if !old.atRest() {
			s.complain("key %d: a second keeper came while the first was at work", id)
		}
		l.counts = old.counts
	}
	s.latest[id] = l
	return l
}

// atRest reports whether a keeper may end: nothing is under way, reserved or held. With mu.
func (l *fakeLink) atRest() bool {
	return !l.busy && l.own == nil && (l.asked == nil || l.asked.answered) && l.store.owners[l.id] != l
}

// record writes a call down and says what becomes of it. It checks what holds for every call.
func (s *fakeStore) record(l *fakeLink, kind effectKind) verdict {
	if s.latest[l.id] != l {
		s.complain("key %d: %v by a keeper whose time is over", l.id, kind)
	}
	l.counts[kind]++
	c := call{at: time.Now(), id: l.id, kind: kind, nth: l.counts[kind]}
	s.calls = append(s.calls, c)
	if s.script == nil {
		return verdict{}
	}
	return s.script(c)
}

// lockOutside lets another process take a lock, at once or when its turn comes.
func (s *fakeStore) lockOutside(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owners[id] == nil && !s.outside[id] && !s.readers[id] {
		s.outside[id] = true
		return
	}
	s.queues[id] = append(s.queues[id], nil)
}

// available reports whether the server grants a lock, as it is asked for. Who waits for the exclusive lock is not passed.
func (s *fakeStore) available(l *fakeLink) bool {
	return s.owners[l.id] == nil && !s.outside[l.id] && !slices.Contains(s.queues[l.id], nil) && (l.shared || !s.readers[l.id])
}

// readOutside lets another process share a lock that is free, or ends that.
func (s *fakeStore) readOutside(id int64, reads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reads {
		s.readers[id] = true
		return
	}
	delete(s.readers, id)
	s.grantNext(id)
}

// unlockOutside lets that process release the lock, or give up where it still waits.
func (s *fakeStore) unlockOutside(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outside[id] {
		delete(s.outside, id)
		s.grantNext(id)
	} else if i := slices.Index(s.queues[id], nil); i >= 0 {
		s.queues[id] = slices.Delete(slices.Clone(s.queues[id]), i, i+1)
		s.grantNext(id)
	}
}

// grantNext gives a lock that has come free to the first who waits for it at the server.
func (s *fakeStore) grantNext(id int64) {
	q := s.queues[id]
	if len(q) == 0 || s.owners[id] != nil || s.outside[id] || s.readers[id] && (q[0] == nil || !q[0].shared) {
		return
	}
	s.queues[id] = q[1:]
	if q[0] == nil {
		s.outside[id] = true
		return
	}
	q[0].sliceTimer.Stop()
	q[0].granted(q[0].own)
}

// lose ends a session. What was held on it is free at once.
func (s *fakeStore) lose(f *fakeSession, err error) {
	if f.lost.Load() != nil {
		return
	}
	f.until.Store(new(time.Time))
	f.lost.Store(&err)
	if s.shared == f {
		s.shared = s.session()
	}
	for id, l := range f.held {
		delete(s.owners, id)
		l.send(Lost{f})
		s.grantNext(id)
	}
	clear(f.held)
	for id, q := range s.queues {
		for i, l := range q {
			if l != nil && l.own == f {
				s.queues[id] = append(append([]*fakeLink(nil), q[:i]...), q[i+1:]...)
				l.sliceTimer.Stop()
				l.reply(f, Answer{Err: err, Transient: true})
				break
			}
		}
	}
}

// loseHolder ends the session on which an id is held, and reports whether it is held.
func (s *fakeStore) loseHolder(id int64, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.owners[id]
	if l == nil {
		return false
	}
	s.lose(l.heldOn, err)
	return true
}

// wakeUp answers a call that the script had left hanging: with err, or as if nothing had been wrong.
func (s *fakeStore) wakeUp(id int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.hung[id]
	delete(s.hung, id)
	f(err)
}

// setTrust sets until when the session is trusted that an id is held on.
func (s *fakeStore) setTrust(id int64, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners[id].heldOn.until.Store(&until)
}

func (s *fakeStore) tenures(id int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tenure[id]
}

// tell sends the keeper of a key an event that means nothing to it.
func (s *fakeStore) tell(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest[id].send(Told{})
}

// callsOf lists the calls of some kinds for one id.
func (s *fakeStore) callsOf(id int64, kinds ...effectKind) (found []call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c.id == id && slices.Contains(kinds, c.kind) {
			found = append(found, c)
		}
	}
	return found
}

// forget drops what was written down about keys that are gone.
func (s *fakeStore) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = s.calls[:0]
	clear(s.latest)
	clear(s.tenure)
}

// leftovers says what is not as it was at first, when all keepers have gone.
func (s *fakeStore) leftovers(free int) []string {
	s.answers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.wrong
	for id, l := range s.latest {
		if !l.atRest() {
			left = append(left, fmt.Sprintf("the keeper of %d ended with busy=%v own=%v asked=%+v held=%v", id, l.busy, l.own != nil,
				l.asked, s.owners[id] == l))
		}
	}
	for _, n := range []struct {
		what      string
		got, want int
	}{
		{"locks held", len(s.owners), 0}, {"in the queue for a session", len(s.asking), 0},
		{"sessions free", s.free, free}, {"calls without an answer", len(s.hung), 0},
	} {
		if n.got != n.want {
			left = append(left, fmt.Sprintf("%s: %d, should be %d", n.what, n.got, n.want))
		}
	}
	return left
}
