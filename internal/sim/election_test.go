package sim_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/sim"
	"github.com/lockkeeper/lockkeeper/manager"
)

// simulatedElections is how long all elections took together, by their own clock.
var simulatedElections atomic.Int64

// Programs of the stack that campaign for one key, while their sessions end, connections break, servers restart, keepers fail and leaders
// resign: there are never two whose contexts live, and when all goes well there is one.
func TestElections(t *testing.T) {
	seen := newTally("a term begins", "a term ends: lost", "a term ends: resigned", "a term ends: closed", "worked on after its term",
		"session killed", "server restarted", "keeper failed")
	explore(t, "TestElections", 120, seen, func(_ *testing.T, src *sim.Source) error {
		w := newElection(src)
		w.seen = seen
		err := play(w)
		simulatedElections.Add(int64(time.Since(w.start)))
		return err
	})
	t.Logf("%v of simulated time in all", time.Duration(simulatedElections.Load()).Round(time.Second))
}

// election is a stack whose programs do nothing but campaign.
type election struct {
	*stack
	electors []*elector // one for each of programs, in their order; then those of programs that have closed
}

// elector is a call of Elect, and the term that it is in. With the stack's mu, but for what the history alone uses.
type elector struct {
	p        *program
	cancel   context.CancelFunc
	returned chan error

	term     context.Context // of the function that runs; nil if none does
	wire     *wire           // that its lock is on, where that is known
	finish   chan struct{}   // closed when the function may return
	finished bool
	late     bool // it runs, and its context has ended
}

func newElection(src *sim.Source) *election {
	w := &election{stack: newStack(src)}
	for len(w.programs) < 3 {
		w.programs = append(w.programs, w.newProgram())
	}
	for _, p := range w.programs {
		w.electors = append(w.electors, w.campaign(p))
	}
	w.rules = append(w.rules, w.oneLeads)
	return w
}

func (w *election) campaign(p *program) *elector {
	e := &elector{p: p, returned: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() {
		e.returned <- p.m.Elect(ctx, w.keys[0], func(ctx context.Context) error {
			finish := w.begins(ctx, e)
			<-ctx.Done()
			<-finish
			w.mu.Lock()
			defer w.mu.Unlock()
			e.term = nil
			return nil
		})
	}()
	return e
}

func (w *election) begins(ctx context.Context, e *elector) (finish <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.add("a term begins")
	w.say("          %v leads", e.p)
	e.term, e.finish, e.finished, e.late = ctx, make(chan struct{}), false, false
	e.wire = w.lock(e.p.m.Key(w.keys[0]).ID()).of(e.p)
	return e.finish
}

// leads reports whether a term is under way and its context lives.
func (e *elector) leads() bool {
	if e.term == nil {
		return false
	}
	select {
	case <-e.term.Done():
		return false
	default:
		return true
	}
}

// oneLeads is the rule. A leader whose session the server has ended hears of that when it is delivered: until then the server may have
// given the lock to another. With mu.
func (w *election) oneLeads() {
	var leader *elector
	for _, e := range w.electors {
		if e.term != nil && !e.leads() && !e.late {
			e.late = true
			w.endedRightly(e)
		}
		if !e.leads() || e.wire == nil || e.wire.backend.over && !e.wire.told() || e.p.failed[w.keys[0]].calls > 0 {
			continue
		}
		if !e.wire.trusted() {
			w.violate("no silent loss", "%v leads, and nothing was heard of %v for longer than that is trusted", e.p, e.wire)
		}
		if e.wire.told() {
			w.violate("a holder hears", "%v leads, and was not told that %v is gone", e.p, e.wire)
		}
		if leader != nil {
			w.violate("one leads", "%v and %v lead at one time", leader.p, e.p)
		}
		leader = e
	}
}

func (w *election) endedRightly(e *elector) {
	cause := context.Cause(e.term)
	w.say("          the term of %v has ended: %v", e.p, cause)
	switch {
	case errors.Is(cause, manager.ErrResigned):
		w.seen.add("a term ends: resigned")
	case errors.Is(cause, manager.ErrLost):
		w.seen.add("a term ends: lost")
	case errors.Is(cause, manager.ErrClosed) && e.p.closing:
		w.seen.add("a term ends: closed")
	case !errors.Is(cause, context.Canceled):
		w.violate("errors tell the truth", "the term of %v has ended for %v", e.p, cause)
	}
}

var electionActions = []action[*election]{
	{8, func(w *election) { w.calm(time.Second) }},
	{2, func(w *election) { w.calm(time.Minute) }},
	{6, func(w *election) { w.finishSomeTerm(false) }},
	{2, (*election).resignSome},
	{1, (*election).closeSome},
	{8, func(w *election) { w.serveSome() }},
	{2, func(w *election) { w.killBackend() }},
	{2, func(w *election) { w.cutSome() }},
	{1, func(w *election) { w.loseConnection() }},
	{1, func(w *election) { w.lateThenSilent() }},
	{1, func(w *election) { w.slowDown() }},
	{3, func(w *election) { w.hear() }},
	{1, func(w *election) { w.noMoreConnections() }},
	{3, func(w *election) { w.connectionsAgain() }},
	{1, func(w *election) { w.restartServer() }},
	{1, func(w *election) { w.failKeeper() }},
	{3, func(w *election) {
		w.sleep([]time.Duration{11 * time.Millisecond, 110 * time.Millisecond, 260 * time.Millisecond})
	}},
}

func (w *election) step() { choose(w.src, w, electionActions) }

// calm lets time go by in which the server works and nobody disturbs; what is cut off stays so.
func (w *election) calm(d time.Duration) {
	w.say("calm: %v", d)
	for end := time.Now().Add(d); time.Now().Before(end) && w.fine(); {
		w.serve(func(c *wire) bool { return c.canExecute() || c.canDeliver() })
		w.pass(100 * time.Millisecond)
	}
}

// finishSomeTerm lets functions return whose terms have ended; with all, also those whose terms have not.
func (w *election) finishSomeTerm(all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.electors {
		if e.term != nil && !e.finished && (all || e.late && w.src.Chance(2)) {
			w.seen.add("worked on after its term")
			e.finished = true
			close(e.finish)
		}
	}
}

func (w *election) resignSome() {
	e := w.electors[w.src.Pick(len(w.programs))]
	w.say("%v resigns", e.p)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.p.m.Leader(w.keys[0]).Resign(canceled); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, manager.ErrNotLeader) {
		w.violate("errors tell the truth", "Resign: %v", err)
	}
}

// closeSome closes a program's manager, or starts another in the place of one that is closed.
func (w *election) closeSome() {
	i := w.src.Pick(len(w.programs))
	switch p := w.programs[i]; {
	case p.isClosed():
		w.restart(i)
		e := w.campaign(w.programs[i])
		w.mu.Lock()
		w.electors = append(w.electors, w.electors[i])
		w.electors[i] = e
		w.mu.Unlock()
	case !p.closing && w.src.Chance(3):
		w.say("%v closes", p)
		p.close()
	}
}

// goesWell: when all goes well there is a leader; and when the campaigns end each call returns.
func (w *election) goesWell() {
	led := false
	for range 400 {
		w.finishSomeTerm(false)
		w.heal()
		w.pass(50 * time.Millisecond)
		w.mu.Lock()
		led = led || slices.ContainsFunc(w.electors, (*elector).leads)
		w.mu.Unlock()
		if led || !w.fine() {
			break
		}
	}
	if open := slices.ContainsFunc(w.programs, func(p *program) bool { return !p.closing }); open && !led && w.fine() {
		w.violate("recovery", "all is well again, and nobody leads")
	}
	for _, e := range w.electors {
		e.cancel()
	}
	for range 200 {
		w.finishSomeTerm(true)
		w.heal()
		w.pass(30 * time.Millisecond)
		if !slices.ContainsFunc(w.electors, func(e *elector) bool { return len(e.returned) == 0 }) {
			break
		}
	}
	for _, e := range w.electors {
		if len(e.returned) == 0 {
			w.violate("every call returns", "Elect of %v has not, and its context has ended", e.p)
			continue
		}
		if err := <-e.returned; !errors.Is(err, context.Canceled) && !errors.Is(err, manager.ErrClosed) {
			w.violate("errors tell the truth", "Elect of %v: %v", e.p, err)
		}
	}
	w.stack.goesWell()
}
