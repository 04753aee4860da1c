package pg

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// Sessions: many locks on one connection, in batches.

func TestManyLocksOnOneSession(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	config := quick()
	config.SharedSessions = 1
	p := openDSN(t, d.dsn(), config)
	ids := append(span(-450, 900), math.MinInt64, math.MaxInt64) // fewer than manyLocks: no lone session
	callers := newCallers(ids)
	for _, c := range callers {
		c.ask(p)
	}
	var session Session
	for _, c := range callers {
		a := c.await(t)
		if !a.ok || a.err != nil {
			t.Fatalf("lock %d: %+v", c.r.ID, a)
		}
		session = a.session
	}
	locks := d.locks(t)
	if len(locks) != len(ids) {
		t.Errorf("the server has %d locks, %d were granted", len(locks), len(ids))
	}
	for _, id := range ids {
		if locks[id] != session.PID() {
			t.Errorf("lock %d is held by backend %d, the session's is %d", id, locks[id], session.PID())
		}
	}
	eventually(t, "there is one connection", func() bool { return d.backends(t) == 1 }) // a closed one may be seen for a moment
	stats := p.Stats()
	if stats.Largest > maxBatch || stats.Operations != uint64(len(ids)) || stats.Batches >= stats.Operations {
		t.Errorf("batches: %+v", stats)
	}
	for _, c := range callers {
		c.submit(session, OpUnlock)
	}
	for _, c := range callers {
		if a := c.await(t); !a.ok || a.err != nil {
			t.Errorf("unlock %d: %+v", c.r.ID, a)
		}
		c.quiet(t)
	}
	if locks := d.locks(t); len(locks) != 0 {
		t.Errorf("left at the server: %v", locks)
	}
}

// The answers of a batch are letters in the order of its ids: each client must get its own.
func TestAnswersOfABatchAreInOrder(t *testing.T) {
	noLeaks(t)
	d := newDatabase(t)
	p := openDSN(t, d.dsn(), patient()) // without a health question, which would be among the statements in the air
	other := openDSN(t, d.dsn(), quick())
	random := rand.New(rand.NewPCG(1, 2))
	ids := append(span(0, 300), math.MinInt64, math.MaxInt64, -1)
	for range 200 {
		ids = append(ids, int64(random.Uint64()))
	}
	taken := make(map[int64]bool) // by somebody else
	for _, c := range newCallers(ids) {
		if random.IntN(2) == 0 {
			c.take(t, other)
			taken[c.r.ID] = true
		}
	}
	session := newCaller(1<<40).take(t, p)
	gate := fillAir(t, p, session)
	callers := newCallers(ids)
	for _, c := range callers {
		c.submit(session, OpTry)
	}
	gate()
	for _, c := range callers {
		if a := c.await(t); a.err != nil || a.ok == taken[c.r.ID] {
			t.Errorf("lock %d: granted=%v %v; taken by somebody else: %v", c.r.ID, a.ok, a.err, taken[c.r.ID])
		}
	}
	if largest := p.Stats().Largest; largest < len(ids) {
		t.Errorf("the largest batch had %d of %d locks: they were to go as one", largest, len(ids))
	}
	// Unlocks and tries in one statement: what is unlocked in it can be tried by others in it, and the server agrees.
	more := newCallers(span(5000, 200))
	for i, c := range newCallers(span(5000, 200)) {
		if i%3 == 0 { // some of the tries are refused
			c.take(t, other)
			taken[c.r.ID] = true
		}
	}
	gate = fillAir(t, p, session)
	var released []*caller
	for i, c := range callers {
		if !taken[c.r.ID] {
			released = append(released, c)
			c.submit(session, OpUnlock)
		}
		if i < len(more) {
			more[i].submit(session, OpTry)
		}
	}
	gate()
	for _, c := range slices.Concat(released, more) {
		if a := c.await(t); a.ok == taken[c.r.ID] || a.err != nil {
			t.Errorf("lock %d: %+v; taken by somebody else: %v", c.r.ID, a, taken[c.r.ID])
		}
		c.quiet(t)
	}
	held := d.locks(t)
	for _, c := range released {
		if held[c.r.ID] != 0 {
			t.Errorf("lock %d was released and is held by %d", c.r.ID, held[c.r.ID])
		}
	}
	for _, c := range more {
		if !taken[c.r.ID] && held[c.r.ID] != session.PID() {
			t.Errorf("lock %d was granted and is held by %d", c.r.ID, held[c.r.ID])
		}
	}
}

// stall stops a session's backend, so that requests queue up until the returned function lets it go on.
func stall(t testing.TB, s Session) (resume func()) {
	t.Helper()
	signal(t, s.PID(), syscall.SIGSTOP)
	eventually(t, "the backend has stopped", func() bool { // a signal takes its time
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
		return err != nil || strings.Contains(string(stat), ") T ")
	})
	return func() { signal(t, s.PID(), syscall.SIGCONT) }
}

// fillAir stalls a session and has it send as many statements as may be in the air, so that what is submitted until resume goes as one.
func fillAir(t testing.TB, p *Pool, s Session) (resume func()) {
	t.Helper()
	gate := stall(t, s)
	fillers := newCallers(span(1<<41, maxStatements))
	for _, c := range fillers {
		sent := p.Stats().Batches
		c.submit(s, OpTry)
		eventually(t, "the statement is in the air", func() bool { return p.Stats().Batches > sent })
	}
	return func() {
		gate()
		for _, c := range fillers {
			if a := c.await(t); !a.ok || a.err != nil {
				t.Errorf("lock %d: %+v", c.r.ID, a)
			}
			c.release(t, s)
		}
	}
}

// A batch of one is the plain statement, which the server answers in less time.
func TestABatchOfOneIsThePlainStatement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{})
		var mu sync.Mutex
		var kinds []string
		f.onStatement(func(_ *fakeSession, q *question) {
			mu.Lock()
			defer mu.Unlock()
			kinds = append(kinds, q.Kind)
		})
		c := newCaller(1)
		c.release(t, c.take(t, p))
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(kinds, " "); got != "try unlock" {
			t.Errorf("the statements were %q", got)
		}
	})
}

// One statement carries what has queued, unlocks before tries, and never more than maxBatch.
func TestWhatHasQueuedIsOneStatement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		held := newCallers(span(1, 100))
		var session Session
		for _, c := range held {
			session = c.take(t, p)
		}
		release := make(chan struct{})
		var statements [][2]int // unlocks, tries
		f.onStatement(func(_ *fakeSession, q *question) {
			switch q.Kind {
			case "try":
				<-release
			case "batch":
				statements = append(statements, [2]int{len(q.Unlocks()), len(q.Locks())})
			}
		})
		first := newCallers(span(5000, maxStatements))
		for _, c := range first {
			c.ask(p)
			synctest.Wait() // it is under way, and not answered
		}
		tries := newCallers(span(1000, 600))
		for i, c := range tries {
			c.ask(p)
			if i < len(held) {
				held[i].submit(session, OpUnlock)
			}
		}
		close(release)
		for _, c := range slices.Concat(held, tries, first) {
			if a := c.await(t); !a.ok || a.err != nil {
				t.Errorf("lock %d: %+v", c.r.ID, a)
			}
			c.quiet(t)
		}
		want := [][2]int{{100, maxBatch - 100}, {0, 600 - (maxBatch - 100)}}
		if !slices.Equal(statements, want) {
			t.Errorf("the statements had %v unlocks and tries; expected %v", statements, want)
		}
	})
}

// I9: PostgreSQL stacks a session's own lock without a word, and both callers would believe that they have it.
func TestNoSessionLocksOneIDTwice(t *testing.T) {
	ask := map[string]func(t *testing.T, p *Pool, s Session, second *caller){
		"try of a held id": func(t *testing.T, p *Pool, s Session, second *caller) { second.submit(s, OpTry) },
		"unlock of an id that is not held": func(t *testing.T, p *Pool, s Session, second *caller) {
			second.r.ID = 8
			second.submit(s, OpUnlock)
		},
	}
	for name, ask := range ask {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				p := openPool(t, f.source(t), Config{})
				first, second := newCaller(7), newCaller(7)
				s := first.take(t, p)
				ask(t, p, s, second)
				a := second.await(t)
				if a.ok || a.err == nil || !strings.Contains(a.err.Error(), "BUG: ") {
					t.Errorf("the second caller was told %+v", a)
				}
				first.lost(t, CauseDoubt) // nobody knows how often it is held
				receive(t, ended(s))
				if held := f.held(); len(held) != 0 {
					t.Errorf("held: %v", held)
				}
				first.quiet(t)
				second.quiet(t)
			})
		})
	}
}

func TestOneStatementNeverTriesOneIDTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		s := newCaller(1).take(t, p)
		f.onStatement(func(_ *fakeSession, q *question) {
			if q.Kind == "batch" {
				t.Errorf("it was sent")
			}
		})
		callers := newCallers(append(span(100, 50), 7, 200, 7))
		gather(s, func() {
			for _, c := range callers {
				c.submit(s, OpTry)
			}
		})
		granted := 0
		for _, c := range callers {
			if a := c.await(t); a.ok && c.r.ID == 7 {
				granted++
			}
		}
		if granted > 1 {
			t.Errorf("%d callers were granted one lock", granted)
		}
	})
}

// A lock that the server does not have any more (somebody called pg_advisory_unlock_all, or a proxy switched backends)
// was no lock: all others on that session are in doubt as well.
func TestUnlockOfWhatTheServerDoesNotHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		p := openPool(t, f.source(t), Config{SharedSessions: 1})
		victim, batched, other := newCaller(7), newCaller(8), newCaller(9)
		var s Session
		for _, c := range []*caller{victim, batched, other} {
			s = c.take(t, p)
		}
		f.unlock(f.of(t, s), 7)
		if a := victim.on(t, s, OpUnlock); a.ok || a.err != nil {
			t.Errorf("told %+v about a lock that was not there", a)
		}
		synctest.Wait() // at once, and not when the session is next used
		if s.Lost() == nil {
			t.Error("the session is trusted still")
		}
		for _, c := range []*caller{batched, other} {
			c.lost(t, CauseDoubt)
		}
		if err := s.Lost(); err == nil || !strings.Contains(err.Error(), "did not have the lock 7") {
			t.Errorf("the session ended because %v", err)
		}
		receive(t, ended(s))
		victim.quiet(t)
		// The next lock is on another session.
		if next := victim.take(t, p); next == s {
			t.Error("a session in doubt was used again")
		}
	})
}
