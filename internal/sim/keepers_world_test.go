package sim_test

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/actor"
	"github.com/lockkeeper/lockkeeper/internal/sim"
)

// callsAStep is more operations than one step of a history can lead to.
const callsAStep = 1000

// world is several processes, each with a supervisor and its keepers, on one server. The history's goroutine is the only
// one that chooses anything, and it waits until all keepers are at rest before it does, so that a history repeats.
type world struct {
	tale
	keys     int
	config   actor.Config // but for the store
	procs    []*process
	all      []*process // those that ended too
	open     []*claim   // not answered, or not settled, in the order in which they came
	past     []*claim
	released []*claim  // in this step, with success
	checked  time.Time // when the rules were checked last

	// With mu, since keepers touch it.
	server     server
	ops        []*op
	asking     []*reservation
	questions  []*question
	calls      int                // of this step
	ended      []*session         // whose clients have yet to find out
	outside    map[int64]*session // programs that do without us
	noes       map[keyOf]int      // how often the server said that a lock is held,
	sharedNoes map[keyOf]int      // and that it is not to be shared
	failures   map[keyOf]int      // errors, of reservations too
	opFailures map[keyOf]int      // errors of operations
	permanent  map[keyOf]bool
	tenures    map[keyOf]*tenure
	hints      []hint // in the order in which the server committed them
	told       int    // of hints: those that have their order
	hintsOnly  bool   // polls are asked once
	overtaken  bool   // a claim has come in the middle of a step, and its order is nobody's choice
}

// keyOf is a key in a process.
type keyOf struct {
	p  *process
	id int64
}

// tenure is what a process does with one grant of the server's.
type tenure struct {
	began  time.Time // when the answer came
	grants int
	first  int // those that are not by hand
}

// process is one program with a lock manager.
type process struct {
	w          *world
	n          int
	sup        *actor.Supervisor
	shared     *session
	free       int // sessions for one key alone
	links      map[int64]*link
	fuses      map[int64]*fuse // what is to happen in the middle of a keeper's step
	injected   map[int64]bool  // it has done so
	failTenure map[int64]int   // the server's grant that a failed incarnation had
	closing    bool
	hints      bool // it tells others, and hears
	heard      int  // of world.hints
	dead       bool // killed: what its claims believe counts no more
	closed     chan struct{}
}

func (p *process) String() string { return fmt.Sprintf("process %d", p.n) }

// injected is the value of a panic that a history wanted.
type injected struct{ step string }

func newWorld(src *sim.Source) *world { return newWorldOf(src, func(*world) {}) }

// newWorldOf is newWorld with a change to its config.
func newWorldOf(src *sim.Source, change func(w *world)) *world {
	w := &world{outside: map[int64]*session{}, noes: map[keyOf]int{}, sharedNoes: map[keyOf]int{},
		failures: map[keyOf]int{}, opFailures: map[keyOf]int{}, permanent: map[keyOf]bool{}, tenures: map[keyOf]*tenure{}}
	w.begin(src)
	w.server = server{w: w, locks: map[int64]*serverLock{}}
	src.Next()
	w.keys = 1 + src.Pick(3)
	w.config = actor.Config{
		Limits: actor.Limits{
			MaxWaiters:    []int{50, 3, 1}[src.Pick(3)],
			HandOffTime:   []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, time.Second}[src.Pick(3)],
			HandOffGrants: []int{100, 1, 2, 3}[src.Pick(4)],
		},
		Intensity:   actor.IntensityLimit{Restarts: 1 + src.Pick(4), Window: 400 * time.Millisecond},
		MaxKeys:     []int{100, 2}[src.Pick(2)],
		IdleTimeout: []time.Duration{time.Second, 50 * time.Millisecond}[src.Pick(2)],
	}
	change(w)
	for range 1 + src.Pick(3) {
		w.procs = append(w.procs, w.newProcess())
	}
	return w
}

func (w *world) newProcess() *process {
	p := &process{w: w, n: len(w.all) + 1, free: 1 + w.src.Pick(2), links: map[int64]*link{}, fuses: map[int64]*fuse{},
		injected: map[int64]bool{}, failTenure: map[int64]int{}, closed: make(chan struct{})}
	w.all = append(w.all, p)
	p.shared = w.server.openShared(p)
	p.hints, p.heard = w.hintsOnly || w.src.Chance(2), len(w.hints)
	c := w.config
	c.Limits.Hints = p.hints
	c.Store, c.Hook, c.Failed = p, p.hook, p.failed
	c.IdleTimeout += time.Duration(p.n) * time.Microsecond // no two look at their keys at one time, which would have no order
	p.sup = actor.NewSupervisor(c)
	return p
}

func (w *world) ids() []int64 {
	ids := make([]int64, w.keys)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	return ids
}

// fuse is something that happens in the middle of a keeper's step, or of the supervisor's that makes the keeper: whatever is sent
// to them then has to wait until they are done.
type fuse struct {
	after int // steps of the keeper's life, from now
	what  fuseKind
	which int // of the key's claims
	claim *claim
}

type fuseKind uint8

const (
	fusePanic fuseKind = iota
	fuseExit
	fuseEnd
	fuseClaim
)

// hook is called at each step of a keeper's life.
func (p *process) hook(id int64, step string) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	f := p.fuses[id]
	if f == nil {
		return
	}
	if f.after--; f.after > 0 {
		return
	}
	delete(p.fuses, id)
	switch {
	case f.what == fuseClaim:
		p.w.say("          in the middle of %q", step)
		f.claim.unordered, p.w.overtaken = true, true
		for _, c := range p.w.open { // and may overtake those that are on their way
			c.unordered = c.unordered || !c.submitted && c.p == p && c.ID == id
		}
		p.w.comes(f.claim)
		go f.claim.submit()
	case f.what == fuseEnd || step == "attach":
		p.w.endOneOf(keyOf{p, id}, f.which, step)
	default:
		p.strike(id, step, f.what == fuseExit)
	}
}

// endOneOf ends the context of one of the claims on a key. With mu.
func (w *world) endOneOf(key keyOf, which int, step string) {
	var claims []*claim
	for _, c := range w.open {
		if c.p == key.p && c.ID == key.id && c.submitted && c.submitErr == nil {
			claims = append(claims, c)
		}
	}
	if len(claims) == 0 {
		return
	}
	c := claims[which%len(claims)]
	w.say("          end the context of %v, in the middle of %q", c, step)
	c.givesUp()
	go c.ContextEnded(errGaveUp)
}

// strike lets the keeper of a key fail, and notes what it had. With mu.
func (p *process) strike(id int64, step string, exit bool) {
	p.injected[id] = true
	if l := p.links[id]; l != nil && l.busy != nil {
		l.busy.tainted = true
	}
	for _, o := range p.w.server.lock(id).owners {
		if o.s.p == p {
			p.failTenure[id] = max(p.failTenure[id], o.tenure)
		}
	}
	p.w.say("          the keeper of %d in %v fails at %q, by a Goexit: %v", id, p, step, exit)
	if exit {
		p.w.seen.add("keeper exits")
		runtime.Goexit()
	}
	p.w.seen.add("keeper panics")
	panic(injected{step})
}

// failed is told of every keeper that failed.
func (p *process) failed(f actor.KeeperFailure) {
	if _, wanted := f.Value.(injected); !wanted && f.Value != "runtime.Goexit was called" {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		p.w.violate("no panic of our own", "%v: the keeper of %d: %v", p, f.ID, f.Value)
	}
}

// await lets everybody act until all wait for the next step.
func (w *world) await() { synctest.Wait() }

// settle lets everybody act until all wait for the next step, and looks at where that has led.
func (w *world) settle() {
	for received := true; received; {
		w.await()
		received = false
		for _, c := range slices.Clone(w.open) {
			received = w.receive(c) || received
		}
	}
	w.mu.Lock()
	w.calls = 0
	w.order()
	w.orderHints()
	// What two keepers did at one time has no order, and a history needs one.
	slices.SortStableFunc(w.ops, func(a, b *op) int { return byKey(a.l, b.l) })
	slices.SortStableFunc(w.asking, func(a, b *reservation) int { return byKey(a.l, b.l) })
	slices.SortStableFunc(w.questions, func(a, b *question) int { return byKey(a.l, b.l) })
	w.server.expire()
	w.mu.Unlock()
	w.look()
	w.ordered = len(w.trace)
}

func byKey(a, b *link) int { return cmp.Or(cmp.Compare(a.p.n, b.p.n), cmp.Compare(a.id, b.id)) }

func (p *process) close() {
	p.closing = true
	go func() {
		_ = p.sup.Close(context.Background())
		close(p.closed)
	}()
}

func (p *process) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}
